use super::*;
use crate::{
    outcome::BypassReason,
    wire::{ExactOnly, Shape},
};

/// What identifies the request exactly.
fn key(body: &Value) -> (Vec<u8>, Vec<u8>) {
    let request = read(body);
    assert_eq!(request.bypass, None, "{body}");
    (request.partition, request.last_turn)
}

fn same(a: &Value, b: &Value) {
    assert_eq!(key(a), key(b), "{a}\n{b}");
}

/// Different, and not only in the last turn: meaning may not bridge them.
fn apart(a: &Value, b: &Value) {
    assert_ne!(key(a).0, key(b).0, "{a}\n{b}");
}

fn refused(body: &Value) {
    let parsed = parse(Family::Responses, "", &Bytes::from(body.to_string()), &ChatSettings::default());
    assert_eq!(parsed.err(), Some(BypassReason::Unparsable), "{body}");
}

fn exact(items: &Value) -> ExactOnly {
    read(&of_items(items)).query.unwrap_err()
}

#[test]
fn case_30_what_clients_say_in_their_own_ways_has_one_key() {
    let plain = asking(&json!({"instructions": "Be brief."}));
    let said = json!([{"type": "input_text", "text": "Capital of France?"}]);
    for items in [
        json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": said}]),
        json!([{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Capital of France?"}]),
        json!([
            {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be brief."}]},
            {"type": "message", "role": "user", "content": "Capital of France?", "id": "msg_1", "status": "completed"},
        ]),
    ] {
        same(&plain, &of_items(&items));
        let request = read(&of_items(&items));
        assert_eq!(request.query.as_deref(), Ok("Capital of France?"));
        assert_eq!((request.system.as_str(), request.first_turn), ("Be brief.", true));
        assert_eq!(request.user_turns, ["Capital of France?"]);
    }
    same(
        &asking(&json!({})),
        &of_items(&json!([{"content": "Capital of France?", "role": "user", "type": "message"}])),
    );
}

#[test]
fn case_26_marks_of_the_providers_prompt_cache_do_not_change_the_key() {
    let mark = json!({"mode": "explicit", "ttl": "12h"});
    let said = json!([{"type": "input_text", "text": "Capital of France?", "prompt_cache_breakpoint": mark}]);
    let marked = of_items(&json!([{"role": "user", "content": said}]));
    same(&asking(&json!({"prompt_cache_options": {"mode": "explicit"}})), &marked);
    assert_eq!(read(&marked).query.as_deref(), Ok("Capital of France?"));
}

#[test]
fn instructions_and_what_follows_them_stay_apart_from_other_words() {
    let system = |text: &str| json!({"role": "system", "content": text});
    let user = json!({"role": "user", "content": "Capital of France?"});
    let both = asking(&json!({"instructions": "A"}));
    apart(&both, &asking(&json!({"instructions": "B"})));
    apart(&both, &asking(&json!({})));
    let two = with(of_items(&json!([system("B"), user])), &json!({"instructions": "A"}));
    same(&two, &of_items(&json!([system("A"), system("B"), user])));
    apart(&two, &of_items(&json!([system("B"), system("A"), user])));
    apart(&two, &of_items(&json!([system("AB"), user])));
    let hello = json!({"role": "user", "content": "Hello"});
    let late = json!([hello, system("A"), user]);
    apart(&of_items(&late), &of_items(&json!([system("A"), hello, user])));
    assert!(!read(&of_items(&late)).first_turn);
    let named = json!({"role": "system", "content": "A", "name": "n"});
    apart(&both, &of_items(&json!([named, user])));
}

#[test]
fn earlier_answers_have_one_key_whether_or_not_a_client_keeps_their_labels() {
    let ask = |assistant: &Value| {
        of_items(&json!([{"role": "user", "content": "Hi"}, assistant, {"role": "user", "content": "And Spain?"}]))
    };
    let plain = ask(&json!({"role": "assistant", "content": "Hello"}));
    same(&plain, &ask(&json!({"role": "assistant", "id": "m", "content": [{"type": "output_text", "text": "Hello"}]})));
    same(&plain, &ask(&message("Hello")));
    apart(&plain, &ask(&message("Hello!")));
    apart(&plain, &ask(&json!({"role": "assistant", "content": "Hello", "phase": "commentary"})));
    let noted = json!([{"type": "output_text", "text": "Hello", "annotations": [{"type": "url_citation"}]}]);
    apart(&plain, &ask(&json!({"role": "assistant", "content": noted})));
    assert_eq!(read(&plain).query.as_deref(), Ok("And Spain?"));
    assert!(!read(&plain).first_turn);
}

#[test]
fn case_38_fields_that_equal_their_absence_do_not_change_the_key() {
    let defaults = json!({
        "stream": false, "tools": [], "include": [], "temperature": 1.0, "top_logprobs": 0, "background": false,
        "previous_response_id": null, "conversation": null, "prompt": null, "store": true, "reasoning": {},
        "text": {"format": {"type": "text"}},
    });
    same(&asking(&json!({})), &asking(&defaults));
    same(&asking(&json!({})), &asking(&json!({"stream": true, "stream_options": {"include_obfuscation": false}})));
    let tool = |more: &Value| json!({"tools": [with(json!({"type": "function", "name": "f", "parameters": {"type": "object"}}), more)]});
    same(
        &asking(&tool(&json!({}))),
        &asking(&with(tool(&json!({"description": ""})), &json!({"tool_choice": "auto"}))),
    );
}

#[test]
fn case_39_to_42_what_shapes_the_answer_is_in_the_partition() {
    let system = |text: &str| json!({"instructions": text});
    let variants = [
        json!({}),
        json!({"model": "gpt-5"}),
        json!({"temperature": 0}),
        json!({"temperature": 0.1}),
        json!({"top_p": 0.5}),
        json!({"top_k": 5}),
        json!({"top_k": 6}),
        json!({"truncation": "auto"}),
        json!({"reasoning": {"effort": "low"}}),
        json!({"reasoning": {"effort": "low", "summary": "auto"}}),
        json!({"text": {"verbosity": "low"}}),
        json!({"include": ["reasoning.encrypted_content"]}),
        json!({"parallel_tool_calls": false}),
        json!({"max_tool_calls": 1}),
        system("Be brief."),
        system("Be brief!"),
        json!({"cache": true}),
    ];
    for (at, a) in variants.iter().enumerate() {
        for b in variants.iter().skip(at + 1) {
            apart(&asking(a), &asking(b));
        }
    }
    same(&asking(&json!({"temperature": 0})), &asking(&json!({"temperature": 0.0})));
}

#[test]
fn case_41_accounting_fields_do_not_change_the_key() {
    let fields = json!({
        "user": "u", "metadata": {"a": "b"}, "service_tier": "flex", "prompt_cache_key": "k", "safety_identifier": "s",
        "prompt_cache_retention": "24h", "max_output_tokens": 500,
    });
    same(&asking(&json!({})), &asking(&fields));
    assert_eq!(read(&asking(&fields)).max_tokens, Some(500));
    refused(&asking(&json!({"max_output_tokens": -1})));
}

#[test]
fn answers_kept_by_the_provider_and_others_are_partitions_and_all_have_handles() {
    apart(&asking(&json!({})), &asking(&json!({"store": false})));
    assert!(read(&asking(&json!({"store": false}))).handles.is_some());
    refused(&asking(&json!({"store": "no"})));
}

#[test]
fn case_31_33_34_37_what_rests_on_the_providers_memory_or_tools_bypasses() {
    let tool = |kind: &str| json!({"tools": [{"type": "function", "name": "f"}, {"type": kind}]});
    for (members, reason) in [
        (json!({"previous_response_id": "resp_up1"}), BypassReason::PreviousResponse),
        (json!({"previous_response_id": "resp_up1", "input": null}), BypassReason::PreviousResponse),
        (json!({"conversation": "conv_1"}), BypassReason::Conversation),
        (json!({"conversation": {"id": "conv_1"}}), BypassReason::Conversation),
        (json!({"prompt": {"id": "pmpt_1", "version": "2"}, "model": null}), BypassReason::PromptTemplate),
        (json!({"background": true}), BypassReason::Background),
        (json!({"prompt_cache_options": {"prewarm": true}}), BypassReason::WarmUp),
        (json!({"generate": false}), BypassReason::WarmUp),
        (json!({"include": ["message.output_text.logprobs"]}), BypassReason::Logprobs),
        (json!({"top_logprobs": 3}), BypassReason::Logprobs),
        (tool("web_search"), BypassReason::WebSearch),
        (tool("web_search_preview"), BypassReason::WebSearch),
        (tool("file_search"), BypassReason::HostedTool),
        (tool("mcp"), BypassReason::HostedTool),
        (json!({"temperature": 1.5}), BypassReason::HotSampling),
        (json!({"model": "gpt-4o-search-preview"}), BypassReason::WebSearch),
        (json!({"input": [{"type": "item_reference", "id": "msg_up1"}]}), BypassReason::ItemReference),
        (json!({"input": [{"id": "msg_up1"}, {"role": "user", "content": "x"}]}), BypassReason::ItemReference),
        (json!({"input": [{"type": "web_search_call", "id": "ws_1"}]}), BypassReason::HostedTool),
        (json!({"input": [{"type": "compaction", "encrypted_content": "x"}]}), BypassReason::UnknownItem),
    ] {
        let request = read(&asking(&members));
        assert_eq!(request.bypass, Some(reason), "{members}");
        assert_eq!(request.plain_body, asking(&members).to_string());
    }
    let function = |name: &str| json!({"tools": [{"type": "function", "name": name}]});
    apart(&asking(&function("f")), &asking(&function("g")));
    apart(&asking(&function("f")), &asking(&json!({"tools": [{"type": "custom", "name": "f"}]})));
}

#[test]
fn case_43_another_history_is_another_partition() {
    let ask = |country: &str| {
        of_items(&json!([
            {"role": "user", "content": format!("{country}?")}, message("A city."),
            {"role": "user", "content": "And how big?"},
        ]))
    };
    apart(&ask("France"), &ask("Italy"));
}

#[test]
fn only_the_last_user_text_leaves_the_partition() {
    let user = |text: &str| json!({"role": "user", "content": text});
    let (a, b) = (of_items(&json!([user("Capital?")])), of_items(&json!([user("Size?")])));
    assert_eq!(read(&a).partition, read(&b).partition);
    assert_ne!(read(&a).last_turn, read(&b).last_turn);
    apart(&a, &of_items(&json!([{"role": "user", "content": "Capital?", "name": "ann"}])));
    let two = json!([{"role": "user", "content": [
        {"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"},
    ]}]);
    assert_eq!(read(&of_items(&two)).query.as_deref(), Ok("a\nb"));
    assert_ne!(read(&of_items(&two)).last_turn, read(&of_items(&json!([user("a\nb")]))).last_turn);
}

#[test]
fn case_45_data_images_are_exact_and_remote_content_bypasses() {
    let see =
        |part: Value| of_items(&json!([{"role": "user", "content": [{"type": "input_text", "text": "What?"}, part]}]));
    let image = |url: &str| see(json!({"type": "input_image", "image_url": url}));
    let data = image("data:image/png;base64,iVBO");
    assert_eq!(read(&data).query, Err(ExactOnly::NonText));
    same(&data, &data);
    assert_ne!(read(&data).last_turn, read(&image("data:image/png;base64,iVBP")).last_turn);
    for part in [
        json!({"type": "input_image", "image_url": "https://example.com/a.png"}),
        json!({"type": "input_image", "file_id": "file-1"}),
        json!({"type": "input_file", "file_url": "https://example.com/a.pdf"}),
    ] {
        assert_eq!(read(&see(part)).bypass, Some(BypassReason::RemoteContent));
    }
    let spoken = see(json!({"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}));
    assert_eq!(read(&spoken).bypass, Some(BypassReason::Audio));
    let misplaced = see(json!({"type": "output_text", "text": "not said by the user"}));
    assert_eq!(read(&misplaced).query, Err(ExactOnly::NonText), "its text is not in the query");
}

#[test]
fn case_46_turns_of_tools_prefills_and_reasoning_are_exact_only() {
    let user = json!({"role": "user", "content": "Weather?"});
    let output = |text: &str| json!({"type": "function_call_output", "call_id": "call_1", "output": text});
    assert_eq!(exact(&json!([user, call("f", "{}"), output("42")])), ExactOnly::ToolTurns);
    assert_eq!(exact(&json!([user, call("f", "{}"), output("42"), user])), ExactOnly::ToolTurns);
    assert_eq!(exact(&json!([user, message("Rain")])), ExactOnly::LastTurnNotUser);
    assert_eq!(exact(&json!([user, {"type": "reasoning", "id": "rs_1", "summary": []}, user])), ExactOnly::Reasoning);
    assert_eq!(exact(&json!([{"role": "user", "content": " "}])), ExactOnly::EmptyQuery);
    assert_eq!(read(&asking(&json!({"input": ""}))).query, Err(ExactOnly::EmptyQuery));
    assert_eq!(read(&asking(&json!({"seed": 7}))).query, Err(ExactOnly::PinnedSampling));
    let ended = |text: &str| key(&of_items(&json!([user, call("f", "{}"), output(text)])));
    assert_ne!(ended("42"), ended("43"));
    assert_eq!(ended("42"), ended("42"));
    let seen = json!([{"type": "input_image", "image_url": "https://example.com/a.png"}]);
    let remote = json!([user, call("f", "{}"), {"type": "function_call_output", "call_id": "call_1", "output": seen}]);
    assert_eq!(read(&of_items(&remote)).bypass, Some(BypassReason::RemoteContent));
}

#[test]
fn case_48_formats_are_partitions_and_want_json() {
    let format = |kind: &str| {
        let schema = json!({"type": "json_schema", "name": "s", "schema": {"type": kind}});
        asking(&json!({"text": {"format": schema}}))
    };
    apart(&format("object"), &format("array"));
    assert!(read(&format("object")).wants_json);
    assert!(!read(&asking(&json!({"text": {"format": {"type": "text"}}}))).wants_json);
}

#[test]
fn case_50_what_two_readers_could_understand_differently_is_refused() {
    for body in [
        &br#"{"model":"a","model":"b","input":"x"}"#[..],
        br#"{"model":"a","input":[{"role":"user","content":"x","content":"y"}]}"#,
        b"{\"model\":\"m\",\"input\":\"\xff\"}",
    ] {
        let parsed = parse(Family::Responses, "", &Bytes::copy_from_slice(body), &ChatSettings::default());
        assert_eq!(parsed.err(), Some(BypassReason::Unparsable));
    }
}

#[test]
fn what_the_upstream_would_refuse_is_left_to_the_upstream() {
    for members in [
        json!({"input": null}),
        json!({"input": 7}),
        json!({"input": []}),
        json!({"input": ["x"]}),
        json!({"input": [{}]}),
        json!({"input": [{"type": "message", "content": "x"}]}),
        json!({"input": [{"role": "user"}]}),
        json!({"input": [{"role": "user", "content": []}]}),
        json!({"model": null}),
        json!({"model": 7}),
        json!({"instructions": ["x"]}),
        json!({"stream": "yes"}),
        json!({"background": "yes"}),
        json!({"tools": {}}),
        json!({"temperature": "hot"}),
    ] {
        refused(&asking(&members));
    }
}

#[test]
fn the_upstream_gets_the_clients_own_bytes_without_litellms_cache_member() {
    let body = Bytes::from_static(b" { \"input\" : \"caf\\u00e9\" , \"model\":\"m\",\"stream\":true }\n");
    let request = parse(Family::Responses, "", &body, &ChatSettings::default()).unwrap();
    assert_eq!((&request.upstream_body, &request.plain_body), (&body, &body));
    assert_eq!((request.shape, request.usage_added), (Shape::Stream { include_usage: true }, false));
    let asked = asking(&json!({"cache": {"ttl": 60, "no-cache": true}}));
    let request = read(&asked);
    assert_eq!(request.upstream_body, asking(&json!({})).to_string());
    assert!(request.body_directives.no_cache);
    same(&asked, &asking(&json!({})));
    let continued = read(&asking(&json!({"cache": {"no-store": true}, "previous_response_id": "r"})));
    assert_eq!(continued.plain_body, asking(&json!({"previous_response_id": "r"})).to_string());
}
