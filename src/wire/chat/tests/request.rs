use super::*;
use crate::{
    outcome::BypassReason,
    wire::{ExactOnly, Shape},
};

/// What identifies the request exactly.
fn key(body: &str) -> (Vec<u8>, Vec<u8>) {
    let request = read(body);
    (request.partition, request.last_turn)
}

fn same(a: &str, b: &str) {
    assert_eq!(key(a), key(b), "{a}\n{b}");
}

fn different(a: &str, b: &str) {
    assert_ne!(key(a), key(b), "{a}\n{b}");
}

/// Different, and not only in the last turn: meaning may not bridge them.
fn apart(a: &str, b: &str) {
    assert_ne!(read(a).partition, read(b).partition, "{a}\n{b}");
}

fn bypass_of(members: &str) -> Option<BypassReason> {
    read(&asking(members)).bypass
}

fn refused(body: &str) {
    let parsed = parse(Family::Chat, "", &Bytes::copy_from_slice(body.as_bytes()), &settings());
    assert_eq!(parsed.err(), Some(BypassReason::Unparsable), "{body}");
}

fn upstream(body: &str) -> (String, bool) {
    let request = read(body);
    (String::from_utf8(request.upstream_body.to_vec()).unwrap(), request.usage_added)
}

const QUESTION: &str = r#"{"role":"user","content":"Capital?"}"#;

#[test]
fn case_38_key_order_whitespace_and_defaults_do_not_change_the_key() {
    let raw = r#"{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"}],"model":"m"}"#;
    let langchain = r#"{ "model" : "m", "stream":false, "tools":[], "n":1, "temperature":1.0, "logit_bias":{}, "stop":null,
        "logprobs":false, "messages":[{"content":"Be brief.","role":"system","name":null},{"content":[{"text":"Hi","type":"text"}],"role":"user"}]}"#;
    same(raw, langchain);
    same(&asking(""), &asking(r#""stream":true,"stream_options":{"include_usage":true}"#));
}

#[test]
fn case_38_tool_defaults_do_not_change_the_key_but_tools_do() {
    let tool = |function: &str| format!(r#""tools":[{{"type":"function","function":{{"name":"f"{function}}}}}]"#);
    same(
        &asking(&tool("")),
        &asking(&format!(r#"{},"tool_choice":"auto""#, tool(r#","description":"","strict":null"#))),
    );
    apart(&asking(""), &asking(&tool("")));
    apart(&asking(&tool("")), &asking(&format!(r#"{},"tool_choice":"none""#, tool(""))));
    apart(&asking(&tool("")), &asking(&tool(r#","description":"does f""#)));
}

#[test]
fn inside_a_schema_nothing_is_a_default() {
    let tool = |schema: &str| {
        asking(&format!(r#""tools":[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}]"#))
    };
    apart(&tool(r#"{"const":null}"#), &tool("{}"));
    apart(&tool(r#"{"properties":{"cache_control":{}}}"#), &tool(r#"{"properties":{}}"#));
    apart(&tool(r#"{"description":""}"#), &tool("{}"));
}

#[test]
fn case_39_temperatures_are_partitions_and_zero_is_zero() {
    same(&asking(r#""temperature":0"#), &asking(r#""temperature":0.0"#));
    apart(&asking(r#""temperature":0"#), &asking(r#""temperature":0.1"#));
    apart(&asking(r#""temperature":0"#), &asking(""));
    apart(&asking(r#""temperature":0.1"#), &asking(""));
}

#[test]
fn case_40_unknown_fields_are_in_the_partition() {
    apart(&asking(r#""top_k":5"#), &asking(r#""top_k":6"#));
    apart(&asking(r#""top_k":5"#), &asking(""));
    apart(&asking(r#""chat_template_kwargs":{"x":null}"#), &asking(r#""chat_template_kwargs":{}"#));
    apart(&asking(r#""cache":true"#), &asking(""));
}

#[test]
fn case_41_accounting_fields_do_not_change_the_key() {
    let fields = r#""user":"u1","metadata":{"a":"b"},"service_tier":"flex","prompt_cache_key":"k","safety_identifier":"s","store":false"#;
    same(&asking(fields), &asking(""));
}

#[test]
fn users_are_kept_apart_where_the_operator_says_so() {
    let settings = ChatSettings { per_user: true, ..settings() };
    let partition = |user: &str| parse(Family::Chat, "", &Bytes::from(asking(user)), &settings).unwrap().partition;
    assert_ne!(partition(r#""user":"u1""#), partition(r#""user":"u2""#));
    assert_ne!(partition(r#""metadata":{"a":"1"}"#), partition(r#""metadata":{"a":"2"}"#));
}

#[test]
fn case_42_one_letter_of_the_system_prompt_is_another_partition() {
    let ask =
        |role: &str, system: &str| with_messages(&format!(r#"[{{"role":"{role}","content":"{system}"}},{QUESTION}]"#));
    apart(&ask("system", "Be brief."), &ask("system", "Be brief!"));
    apart(&ask("system", "Be brief."), &ask("developer", "Be brief."));
    let request = read(&with_messages(&format!(
        r#"[{{"role":"system","content":"A"}},{{"role":"developer","content":[{{"type":"text","text":"B"}}]}},{QUESTION}]"#
    )));
    assert_eq!((request.system.as_str(), request.first_turn), ("A\nB", true));
}

#[test]
fn case_43_another_history_is_another_partition() {
    let ask = |country: &str, answer: &str| {
        with_messages(&format!(
            r#"[{{"role":"user","content":"{country}?"}},{{"role":"assistant","content":"{answer}"}},{{"role":"user","content":"and in Spain?"}}]"#
        ))
    };
    apart(&ask("France", "Paris"), &ask("Italy", "Paris"));
    apart(&ask("France", "Paris"), &ask("France", "Lyon"));
    let request = read(&ask("France", "Paris"));
    assert_eq!(request.query.as_deref(), Ok("and in Spain?"));
    assert!(!request.first_turn);
}

#[test]
fn only_the_last_user_text_leaves_the_partition() {
    let (a, b) = (with_messages(&format!("[{QUESTION}]")), with_messages(r#"[{"role":"user","content":"Size?"}]"#));
    assert_eq!(read(&a).partition, read(&b).partition);
    different(&a, &b);
    apart(&a, &with_messages(r#"[{"role":"user","content":"Capital?","name":"ann"}]"#));
}

#[test]
fn text_parts_are_joined_for_the_query_and_kept_apart_in_the_key() {
    let parts = with_messages(
        r#"[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b","cache_control":{"type":"ephemeral"}}]}]"#,
    );
    assert_eq!(read(&parts).query.as_deref(), Ok("a\nb"));
    same(
        &parts,
        &with_messages(
            r#"[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"cache_control":{}}]"#,
        ),
    );
    different(&parts, &with_messages(r#"[{"role":"user","content":"a\nb"}]"#));
}

#[test]
fn case_45_data_images_are_exact_and_remote_ones_bypass() {
    let ask = |url: &str| {
        with_messages(&format!(
            r#"[{{"role":"user","content":[{{"type":"text","text":"What?"}},{{"type":"image_url","image_url":{{"url":"{url}"}}}}]}}]"#
        ))
    };
    let data = ask("data:image/png;base64,iVBO");
    same(&data, &data);
    different(&data, &ask("data:image/png;base64,iVBP"));
    assert_eq!(read(&data).query, Err(ExactOnly::NonText));
    assert_eq!(read(&data).bypass, None);
    assert_eq!(read(&ask("https://example.com/a.png")).bypass, Some(BypassReason::RemoteContent));
    let file = r#"[{"role":"user","content":[{"type":"file","file":{"file_id":"file-1"}}]}]"#;
    assert_eq!(read(&with_messages(file)).bypass, Some(BypassReason::RemoteContent));
}

#[test]
fn case_46_tool_turns_and_prefills_are_exact_only() {
    let call = r#"{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]}"#;
    let tool = r#"{"role":"tool","tool_call_id":"c1","content":"42"}"#;
    let exact = |messages: &str| read(&with_messages(messages)).query.unwrap_err();
    assert_eq!(exact(&format!("[{QUESTION},{call},{tool}]")), ExactOnly::ToolTurns);
    assert_eq!(exact(&format!("[{QUESTION},{call},{tool},{QUESTION}]")), ExactOnly::ToolTurns);
    assert_eq!(exact(&format!(r#"[{QUESTION},{{"role":"assistant","content":"Par"}}]"#)), ExactOnly::LastTurnNotUser);
    assert_eq!(exact(r#"[{"role":"user","content":" "}]"#), ExactOnly::EmptyQuery);
    different(
        &with_messages(&format!("[{QUESTION},{call},{tool}]")),
        &with_messages(&format!("[{QUESTION},{call},{}]", tool.replace("42", "43"))),
    );
    different(
        &with_messages(&format!("[{QUESTION},{call},{tool}]")),
        &with_messages(&format!("[{QUESTION},{call},{}]", tool.replace("c1", "c2"))),
    );
}

#[test]
fn pinned_sampling_is_exact_only() {
    assert_eq!(read(&asking(r#""seed":7"#)).query, Err(ExactOnly::PinnedSampling));
    assert_eq!(read(&asking(r#""logit_bias":{"50256":-100}"#)).query, Err(ExactOnly::PinnedSampling));
    assert!(read(&asking(r#""logit_bias":{}"#)).query.is_ok());
    apart(&asking(r#""seed":18446744073709551616"#), &asking(r#""seed":18446744073709551617"#));
}

#[test]
fn case_47_what_is_never_cached_bypasses_with_its_reason() {
    for (members, reason) in [
        (r#""n":2"#, BypassReason::SeveralChoices),
        (r#""logprobs":true"#, BypassReason::Logprobs),
        (r#""top_logprobs":3"#, BypassReason::Logprobs),
        (r#""modalities":["text","audio"]"#, BypassReason::Audio),
        (r#""audio":{"voice":"alloy"}"#, BypassReason::Audio),
        (r#""prediction":{"type":"content","content":"x"}"#, BypassReason::Prediction),
        (r#""web_search_options":{}"#, BypassReason::WebSearch),
        (r#""tools":[{"type":"web_search"}]"#, BypassReason::WebSearch),
        (r#""store":true"#, BypassReason::ProviderStore),
        (r#""temperature":1.5"#, BypassReason::HotSampling),
    ] {
        assert_eq!(bypass_of(members), Some(reason), "{members}");
    }
    let body = asking("").replace("gpt-4o-mini", "gpt-4o-search-preview");
    assert_eq!(read(&body).bypass, Some(BypassReason::WebSearch));
    let spoken = r#"[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"UklG","format":"wav"}}]}]"#;
    assert_eq!(read(&with_messages(spoken)).bypass, Some(BypassReason::Audio));
    for members in ["", r#""temperature":1"#, r#""store":null"#, r#""n":1"#, r#""modalities":["text"]"#] {
        assert_eq!(bypass_of(members), None, "{members}");
    }
}

#[test]
fn case_48_response_formats_are_partitions_and_want_json() {
    let format = |kind: &str| {
        asking(&format!(
            r#""response_format":{{"type":"json_schema","json_schema":{{"name":"s","schema":{{"type":"{kind}"}}}}}}"#
        ))
    };
    apart(&format("object"), &format("array"));
    assert!(read(&format("object")).wants_json);
    assert!(!read(&asking(r#""response_format":{"type":"text"}"#)).wants_json);
}

#[test]
fn case_49_token_limits_are_not_in_the_key() {
    same(&asking(r#""max_tokens":50"#), &asking(r#""max_completion_tokens":64000"#));
    same(&asking(r#""max_tokens":50"#), &asking(""));
    assert_eq!(read(&asking(r#""max_tokens":50,"max_completion_tokens":40"#)).max_tokens, Some(40));
    assert_eq!(read(&asking("")).max_tokens, None);
    refused(&asking(r#""max_tokens":-1"#));
}

#[test]
fn case_50_what_two_readers_could_understand_differently_is_refused() {
    refused(r#"{"model":"a","model":"b","messages":[{"role":"user","content":"x"}]}"#);
    refused(&with_messages(r#"[{"role":"user","content":"x","content":"y"}]"#));
    let bytes = Bytes::from_static(b"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}");
    assert_eq!(parse(Family::Chat, "", &bytes, &settings()).err(), Some(BypassReason::Unparsable));
}

#[test]
fn what_the_upstream_would_refuse_is_left_to_the_upstream() {
    for body in [
        "[]",
        "{}",
        r#"{"model":"m"}"#,
        r#"{"model":"m","messages":[]}"#,
        r#"{"model":"m","messages":null}"#,
        r#"{"model":"m","messages":"hi"}"#,
        r#"{"model":"m","messages":["hi"]}"#,
        r#"{"model":7,"messages":[{"role":"user","content":"x"}]}"#,
        r#"{"messages":[{"role":"user","content":"x"}]}"#,
        r#"{"model":"m","messages":[{"content":"x"}]}"#,
        r#"{"model":"m","messages":[{"role":"user","content":null}]}"#,
        r#"{"model":"m","messages":[{"role":"user"}]}"#,
        r#"{"model":"m","messages":[{"role":"user","content":[]}]}"#,
        r#"{"model":"m","messages":[{"role":"assistant","content":null},{"role":"user","content":"x"}]}"#,
        r#"{"model":"m","stream":"yes","messages":[{"role":"user","content":"x"}]}"#,
        r#"{"model":"m","n":0,"messages":[{"role":"user","content":"x"}]}"#,
        r#"{"model":"m","temperature":"hot","messages":[{"role":"user","content":"x"}]}"#,
    ] {
        refused(body);
    }
}

#[test]
fn the_shape_follows_the_body() {
    assert_eq!(read(&asking("")).shape, Shape::Json);
    assert_eq!(read(&asking(r#""stream":true"#)).shape, Shape::Stream { include_usage: false });
    let asked = r#""stream":true,"stream_options":{"include_usage":true}"#;
    assert_eq!(read(&asking(asked)).shape, Shape::Stream { include_usage: true });
}

#[test]
fn the_upstream_gets_the_clients_own_bytes() {
    let body = " { \"messages\" : [ {\"role\":\"user\",\"content\":\"caf\\u00e9\"} ] , \"model\":\"m\",\"temperature\":0.10 }\n";
    assert_eq!(upstream(body), (body.to_owned(), false));
    let asked = asking(r#""stream":true,"stream_options":{"include_usage":true}"#);
    assert_eq!(upstream(&asked), (asked, false));
}

#[test]
fn usage_is_asked_for_by_splice_in_every_form_of_stream_options() {
    let added = r#"{"stream_options":{"include_usage":true},"model""#;
    let body = asking(r#""stream":true"#);
    assert_eq!(upstream(&body), (body.replacen(r#"{"model""#, added, 1), true));
    for (options, becomes) in [
        ("null", r#"{"include_usage":true}"#),
        ("{}", r#"{"include_usage":true}"#),
        (r#"{"include_usage":false}"#, r#"{"include_usage":true}"#),
        (r#"{"include_usage":null,"x":1}"#, r#"{"include_usage":true,"x":1}"#),
        (r#"{ "include_obfuscation":false }"#, r#"{"include_usage":true, "include_obfuscation":false }"#),
    ] {
        let ask = |options: &str| asking(&format!(r#""stream_options": {options} ,"stream":true"#));
        assert_eq!(upstream(&ask(options)), (ask(becomes), true), "{options}");
    }
}

#[test]
fn usage_is_not_asked_for_where_the_operator_or_a_bypass_forbids() {
    let body = Bytes::from(asking(r#""stream":true"#));
    let off = ChatSettings { add_usage: false, ..settings() };
    let request = parse(Family::Chat, "", &body, &off).unwrap();
    assert_eq!((&request.upstream_body, request.usage_added), (&body, false));
    let bypassed = asking(r#""stream":true,"n":3"#);
    assert_eq!(upstream(&bypassed), (bypassed, false));
}

#[test]
fn litellms_cache_member_is_stripped_and_understood() {
    let body = asking(r#""cache":{"ttl":60,"no-cache":true},"stream":true"#);
    let (sent, added) = upstream(&body);
    assert!(added);
    assert_eq!(sent, asking(r#""stream":true"#).replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1));
    let request = read(&body);
    assert!(request.body_directives.no_cache);
    same(&body, &asking(""));
    let last = asking(r#""cache":{"no-store":true}"#);
    assert_eq!(upstream(&last).0, asking(""));
}
