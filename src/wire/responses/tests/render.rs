use proptest::prelude::*;

use super::*;
use crate::wire::canonical::strategies;

/// What a client adds up from the deltas of a part: (output index, part index, text).
fn added_up(events: &[Value], kind: &str, part: &str) -> Vec<(u64, u64, String)> {
    let mut texts: Vec<(u64, u64, String)> = Vec::new();
    for event in events.iter().filter(|event| event["type"] == format!("response.{kind}.delta")) {
        let (at, index) = (event["output_index"].as_u64().unwrap(), event[part].as_u64().unwrap_or(0));
        let delta = event["delta"].as_str().unwrap();
        match texts.last_mut() {
            Some((last, part, text)) if (*last, *part) == (at, index) => text.push_str(delta),
            _ => texts.push((at, index, delta.to_owned())),
        }
    }
    texts
}

#[test]
fn case_36_a_text_answer_is_streamed_as_the_api_streams_it() {
    let text = "The capital of France is Paris, a city on the river Seine.";
    let whole = response(&json!([message(text)]), &json!({}));
    let events = events_of(&answer(&whole).render_stream(&fresh(), true));
    let deltas = events.len() - 8;
    assert!(deltas > 1, "{deltas} deltas");
    let mut expected = vec!["created", "in_progress", "output_item.added", "content_part.added"];
    expected.extend(vec!["output_text.delta"; deltas]);
    expected.extend(["output_text.done", "content_part.done", "output_item.done", "completed"]);
    assert_eq!(kinds(&events), expected);
    let begun =
        with(whole.clone(), &json!({"status": "in_progress", "output": [], "usage": null, "completed_at": null}));
    assert_eq!((&events[0]["response"], &events[1]["response"]), (&begun, &begun));
    let empty = with(message(""), &json!({"status": "in_progress", "content": []}));
    assert_eq!((&events[2]["item"], &events[2]["output_index"]), (&empty, &json!(0)));
    let part = json!({"type": "output_text", "text": "", "annotations": [], "logprobs": []});
    assert_eq!((&events[3]["part"], &events[3]["item_id"]), (&part, &json!("msg_up1")));
    assert_eq!(added_up(&events, "output_text", "content_index"), [(0, 0, text.to_owned())]);
    let done = &events[4 + deltas];
    assert_eq!((&done["text"], &done["content_index"], &done["logprobs"]), (&json!(text), &json!(0), &json!([])));
    assert_eq!(events[5 + deltas]["part"], message(text)["content"][0]);
    assert_eq!(events[6 + deltas]["item"], message(text));
    assert_eq!(events[7 + deltas]["response"], whole);
}

#[test]
fn function_calls_reasoning_and_notes_have_their_events() {
    let summary =
        json!([{"type": "summary_text", "text": "First, think."}, {"type": "summary_text", "text": "Then do."}]);
    let reasoning = json!({"id": "rs_1", "type": "reasoning", "summary": summary, "encrypted_content": "xyz",
        "content": [{"type": "reasoning_text", "text": "Hmm."}]});
    let custom = json!({"id": "ctc_1", "type": "custom_tool_call", "status": "completed", "call_id": "c2", "name": "g",
        "input": "say \"hi\""});
    let note = json!({"type": "url_citation", "url": "https://example.com", "start_index": 0, "end_index": 1});
    let mut noted = message("Hi");
    noted["content"][0]["annotations"] = json!([note]);
    let whole = response(&json!([reasoning, call("f", "{\"x\": 1}"), custom, noted]), &json!({}));
    let events = events_of(&answer(&whole).render_stream(&fresh(), true));
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.annotation.added",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(kinds(&events), expected);
    let added =
        |at: usize| &events.iter().filter(|e| e["type"] == "response.output_item.added").nth(at).unwrap()["item"];
    assert_eq!(*added(0), with(reasoning, &json!({"summary": [], "content": []})));
    assert_eq!(*added(1), with(call("f", ""), &json!({"status": "in_progress"})));
    assert_eq!(*added(2), with(custom, &json!({"status": "in_progress", "input": ""})));
    let find = |kind: &str| events.iter().find(|event| event["type"] == format!("response.{kind}")).unwrap();
    assert_eq!(find("reasoning_summary_text.done")["summary_index"], 0);
    let arguments = find("function_call_arguments.done");
    assert_eq!((&arguments["arguments"], &arguments["item_id"]), (&json!("{\"x\": 1}"), &json!("fc_up1")));
    assert_eq!(arguments["name"], "f", "the SDKs' types require it");
    assert_eq!(find("custom_tool_call_input.done")["input"], "say \"hi\"");
    assert_eq!(find("output_text.annotation.added")["annotation"], note);
    assert_eq!(events.last().unwrap()["response"], whole);
}

#[test]
fn what_may_not_be_stored_can_still_change_its_shape_and_says_how_it_ended() {
    let cut = json!({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}});
    let failed = json!({"status": "failed", "error": {"code": "server_error", "message": "no"}, "output": []});
    for (members, last) in [(cut, "incomplete"), (failed, "failed")] {
        let whole = response(&json!([message("Par")]), &members);
        let events = events_of(&answer(&whole).render_stream(&fresh(), true));
        assert_eq!(kinds(&events).last(), Some(&last));
        assert_eq!(events.last().unwrap()["response"], whole);
        assert_eq!(
            (&events[0]["response"]["error"], &events[0]["response"]["incomplete_details"]),
            (&json!(null), &json!(null))
        );
    }
    let refusal = json!([{"type": "refusal", "refusal": "I cannot."}]);
    let refused = response(&json!([with(message(""), &json!({"content": refusal}))]), &json!({}));
    let events = events_of(&answer(&refused).render_stream(&fresh(), true));
    assert_eq!(added_up(&events, "refusal", "content_index"), [(0, 0, "I cannot.".to_owned())]);
}

#[test]
fn ids_are_replayed_as_they_came() {
    let whole = response(&json!([message("Paris.")]), &json!({}));
    assert_eq!(answer(&whole).render_json(&fresh()), whole.to_string());
}

#[test]
fn a_hit_repeats_the_askers_own_words_and_leaves_out_what_the_provider_left_out() {
    let whole = response(&json!([message("Paris.")]), &json!({"safety_identifier": "first"}));
    let asked =
        asking(&json!({"metadata": {"who": "second"}, "user": "u2", "max_output_tokens": 99, "prompt_cache_key": "k"}));
    let fresh = fresh().echoing(read(&asked).echo);
    let expected = with(
        whole.clone(),
        &json!({
            "metadata": {"who": "second"}, "user": "u2", "max_output_tokens": 99, "instructions": null,
            "safety_identifier": null,
        }),
    );
    assert_eq!(parsed(&answer(&whole).render_json(&fresh)), expected);
    let events = events_of(&answer(&whole).render_stream(&fresh, true));
    assert_eq!(events.last().unwrap()["response"], expected);
    assert_eq!(events[0]["response"]["metadata"], json!({"who": "second"}));
    let silent = Fresh::new(Family::Responses, Timestamp::from_millis(0)).echoing(read(&asking(&json!({}))).echo);
    assert_eq!(parsed(&answer(&whole).render_json(&silent))["metadata"], json!({}));
}

fn text() -> impl Strategy<Value = String> {
    "[a-z \"\\\\\n\t\u{1}é€😀]{0,120}"
}

fn part() -> impl Strategy<Value = Value> {
    (text(), prop::collection::vec(strategies::json(), 0..2))
        .prop_map(|(text, notes)| json!({"type": "output_text", "text": text, "annotations": notes}))
}

fn item() -> impl Strategy<Value = Value> {
    let summaries = prop::collection::vec(text().prop_map(|text| json!({"type": "summary_text", "text": text})), 0..3);
    prop_oneof![
        (prop::collection::vec(part(), 0..3), strategies::json()).prop_map(|(parts, vendor)| {
            json!({"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": parts,
                "vendor": vendor})
        }),
        summaries.prop_map(|summary| json!({"id": "rs_1", "type": "reasoning", "summary": summary})),
        text().prop_map(|arguments| call("f", &arguments)),
        text().prop_map(|input| json!({"type": "custom_tool_call", "call_id": "c", "name": "g", "input": input})),
    ]
}

proptest! {
    #[test]
    fn record_render_record_is_the_same_answer_in_both_shapes(
        items in prop::collection::vec(item(), 0..4), vendor in strategies::json(), turn in 0_usize..99,
    ) {
        let mut output = items;
        output.push(message("said something"));
        let body = response(&json!(output), &json!({"vendor": vendor}));
        let mut written = String::new();
        strategies::written(&body, turn, &mut written);
        let first = record_json(&written, tools_allowed(), false).recorded().unwrap();

        let stream = first.render_stream(&fresh(), true);
        let events = events_of(&stream);
        let second = record_stream(&stream, tools_allowed()).recorded().unwrap();
        prop_assert_eq!(parsed(&second.body), body);
        prop_assert_eq!((&second.text, second.usage), (&first.text, first.usage));
        prop_assert_eq!(second.render_stream(&fresh(), true), stream);
        prop_assert_eq!(second.render_json(&fresh()), second.body);

        let said: String = added_up(&events, "output_text", "content_index").into_iter().map(|(_, _, text)| text).collect();
        prop_assert_eq!(said, second.text);
    }
}
