use bytes::Bytes;

use crate::{
    clock::Timestamp,
    outcome::{BypassReason, NotStored},
    wire::{
        Answer, ExactOnly, Family, Finished, Fresh, RecordSettings, Recorder, Request, Shape, chat::ChatSettings,
        parse, sse::Reader,
    },
};

fn read(members: &str) -> Request {
    let body = format!(r#"{{"model":"davinci-002",{members}}}"#);
    parse(Family::Completions, "", &Bytes::from(body), &ChatSettings::default()).expect(members)
}

fn key(members: &str) -> (Vec<u8>, Vec<u8>) {
    let request = read(members);
    (request.partition, request.last_turn)
}

fn record(stream: &str) -> Finished {
    let (mut reader, mut frames) = (Reader::new(1 << 20), Vec::new());
    reader.feed(stream.as_bytes(), &mut frames).unwrap();
    frames.extend(reader.finish().frame);
    let mut recorder = Recorder::new(Family::Completions, RecordSettings::default(), false);
    frames.iter().for_each(|frame| recorder.frame(frame));
    recorder.finish_stream(true)
}

fn chunk(choice: &str) -> String {
    format!(
        "data: {{\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":7,\"model\":\"m\",\"choices\":[{choice}]}}\n\n"
    )
}

fn whole_stream() -> String {
    chunk(r#"{"text":"Once \"upon\" ","index":0,"logprobs":null,"finish_reason":null}"#)
        + &chunk(r#"{"text":"a tïme.","index":0,"logprobs":null,"finish_reason":null}"#)
        + &chunk(r#"{"text":"","index":0,"logprobs":null,"finish_reason":"stop"}"#)
        + "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":7,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":5,\"total_tokens\":7}}\n\n"
        + "data: [DONE]\n\n"
}

#[test]
fn a_prompt_is_found_by_fingerprint_only_and_tells_its_category_by_its_text() {
    let request = read(r#""prompt":"Once upon""#);
    assert_eq!(request.query, Err(ExactOnly::Completion));
    assert_eq!(request.user_turns, ["Once upon"]);
    assert_eq!(key(r#""prompt":"Once upon""#), key(r#""prompt":["Once upon"]"#));
    assert_ne!(key(r#""prompt":"1""#), key(r#""prompt":[1]"#));
    assert!(read(r#""prompt":[1,2]"#).user_turns.is_empty());
}

#[test]
fn fields_part_or_are_ignored_as_the_api_means_them() {
    let plain = key(r#""prompt":"a""#);
    for same in [r#","n":1"#, r#","best_of":1"#, r#","stream":true"#, r#","user":"u""#, r#","echo":false"#] {
        assert_eq!(key(&format!(r#""prompt":"a"{same}"#)), plain, "{same}");
    }
    for other in [r#","suffix":"z""#, r#","echo":true"#, r#","top_k":5"#, r#","temperature":0"#, r#","max_tokens":9"#] {
        assert_ne!(key(&format!(r#""prompt":"a"{other}"#)), plain, "{other}");
    }
    assert_eq!(key(r#""prompt":"a","max_tokens":9"#), key(r#""prompt":"a","max_tokens":90"#));
}

#[test]
fn several_answers_and_probabilities_bypass() {
    for (members, why) in [
        (r#""prompt":"a","n":2"#, BypassReason::SeveralChoices),
        (r#""prompt":"a","best_of":3"#, BypassReason::SeveralChoices),
        (r#""prompt":["a","b"]"#, BypassReason::SeveralChoices),
        (r#""prompt":[[1],[2]]"#, BypassReason::SeveralChoices),
        (r#""prompt":"a","logprobs":0"#, BypassReason::Logprobs),
        (r#""prompt":"a","temperature":1.5"#, BypassReason::HotSampling),
    ] {
        assert_eq!(read(members).bypass, Some(why), "{members}");
    }
    for members in [r#""prompt":[]"#, r#""prompt":3"#, r#""x":1"#, r#""prompt":"a","n":0"#] {
        let body = Bytes::from(format!(r#"{{"model":"m",{members}}}"#));
        assert!(parse(Family::Completions, "", &body, &ChatSettings::default()).is_err(), "{members}");
    }
}

#[test]
fn usage_is_asked_for_on_streams_that_are_recorded() {
    let request = read(r#""prompt":"a","stream":true"#);
    assert!(request.usage_added);
    assert!(request.upstream_body.windows(15).any(|part| part == b"\"include_usage\""));
    assert!(!request.plain_body.windows(15).any(|part| part == b"\"include_usage\""));
}

#[test]
fn a_stream_becomes_an_object_and_a_stream_again() {
    let finished = record(&whole_stream());
    assert_eq!(finished.verdict, Ok(()));
    let answer = finished.answer.unwrap();
    assert_eq!(answer.text, "Once \"upon\" a tïme.");
    assert_eq!(answer.usage.map(|usage| usage.output), Some(5));
    let fresh = Fresh::new(Family::Completions, Timestamp::from_millis(9000));
    let json: serde_json::Value = serde_json::from_slice(&answer.render_json(&fresh)).unwrap();
    assert_eq!(json["object"], "text_completion");
    assert_eq!((&json["id"], &json["created"]), (&fresh.id.clone().into(), &9.into()));
    assert!(answer.can_render(Shape::Json));
    for include_usage in [false, true] {
        let stream = String::from_utf8(answer.render_stream(&fresh, include_usage).to_vec()).unwrap();
        assert_eq!(stream.contains("\"usage\""), include_usage);
        let again = record(&stream);
        assert_eq!((again.verdict, again.answer.unwrap().text), (Ok(()), answer.text.clone()));
    }
}

#[test]
fn only_whole_answers_are_stored() {
    let whole = whole_stream();
    for (stream, why) in [
        (whole.replace("data: [DONE]\n\n", ""), NotStored::Incomplete),
        (whole.replace("\"stop\"", "\"length\""), NotStored::FinishLength),
        (whole.replace("\"stop\"", "\"content_filter\""), NotStored::FinishFilter),
        (whole.replace("\"stop\"", "null"), NotStored::FinishOther),
        (whole.replace("\"index\":0", "\"index\":1"), NotStored::Malformed),
        (whole.replace("Once \\\"upon\\\" ", "").replace("a tïme.", " "), NotStored::EmptyAnswer),
        (whole.replace("data: [DONE]", "data: {\"error\":{\"message\":\"x\"}}"), NotStored::ErrorBody),
    ] {
        assert_eq!(record(&stream).verdict, Err(why), "{stream}");
    }
    let chat = r#"{"id":"x","choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}]}"#;
    assert!(Answer::new(Family::Completions, Bytes::from(chat), None).is_err());
}
