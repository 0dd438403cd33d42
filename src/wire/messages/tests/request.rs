use proptest::prelude::*;

use super::*;
use crate::{
    outcome::BypassReason,
    wire::{ExactOnly, Shape, canonical::strategies},
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

fn refused(body: &str) {
    let parsed = parse(Family::Messages, "", &Bytes::copy_from_slice(body.as_bytes()), &ChatSettings::default());
    assert_eq!(parsed.err(), Some(BypassReason::Unparsable), "{body}");
}

fn turns(turns: &str) -> String {
    with_turns(turns, "")
}

const QUESTION: &str = r#"{"role":"user","content":"Capital?"}"#;

#[test]
fn case_38_the_ways_to_write_one_request_have_one_key() {
    same(
        &with_turns(r#"[{"role":"user","content":"Hi"}]"#, r#""system":"Be brief.","max_tokens":100"#),
        r#"{ "max_tokens":64000, "stream":false, "tools":[], "stop_sequences":[], "temperature":1.0, "mcp_servers":[],
            "system":[{"type":"text","text":"Be brief.","citations":null}], "container":null, "model":"claude-x",
            "messages":[{"content":[{"text":"Hi","type":"text"}],"role":"user"}]}"#,
    );
    same(&asking(""), &asking(r#""system":[],"stream":true"#));
    apart(&asking(""), &asking(r#""system":"Be brief.""#));
    apart(&asking(r#""system":"Be brief!""#), &asking(r#""system":"Be brief.""#));
    let two = r#""system":[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#;
    apart(&asking(two), &asking(r#""system":"a\nb""#));
    assert_eq!((read(&asking(two)).system.as_str(), read(&asking(two)).first_turn), ("a\nb", true));
}

#[test]
fn case_26_cache_control_is_in_no_key() {
    let mark = r#","cache_control":{"type":"ephemeral"}"#;
    let body = |a: &str, b: &str, c: &str, d: &str, e: &str| {
        with_turns(
            &format!(
                r#"[{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"t","content":[{{"type":"text","text":"x"{a}}}]{b}}},
                {{"type":"text","text":"Go"{c}}}]}}]"#
            ),
            &format!(
                r#""system":[{{"type":"text","text":"s"{d}}}],"tools":[{{"name":"f","input_schema":{{"type":"object"}}{e}}}]"#
            ),
        )
    };
    let plain = body("", "", "", "", "");
    same(&plain, &body(mark, mark, mark, mark, mark));
    same(&plain, &plain.replacen('{', r#"{"cache_control":{"type":"ephemeral","ttl":"1h"},"#, 1));
    let schema = |properties: &str| {
        asking(&format!(r#""tools":[{{"name":"f","input_schema":{{"properties":{{{properties}}}}}}}]"#))
    };
    apart(&schema(r#""cache_control":{}"#), &schema(""));
    let called = |input: &str| {
        turns(&format!(
            r#"[{QUESTION},{{"role":"assistant","content":[{{"type":"tool_use","id":"t","name":"f","input":{{{input}}}}}]}},{QUESTION}]"#
        ))
    };
    apart(&called(r#""cache_control":1"#), &called(""));
}

#[test]
fn case_41_accounting_fields_do_not_change_the_key_unless_users_are_kept_apart() {
    let fields = r#""metadata":{"user_id":"u1"},"service_tier":"auto","diagnostics":{"previous_message_id":"msg_0"},"speed":"fast""#;
    same(&asking(fields), &asking(""));
    let settings = ChatSettings { per_user: true, ..ChatSettings::default() };
    let partition = |id: &str| {
        let body = Bytes::from(asking(&format!(r#""metadata":{{"user_id":"{id}"}}"#)));
        parse(Family::Messages, "", &body, &settings).unwrap().partition
    };
    assert_ne!(partition("u1"), partition("u2"));
}

#[test]
fn cases_39_40_whatever_shapes_the_answer_is_in_the_partition() {
    for members in [
        r#""temperature":0"#,
        r#""temperature":0.1"#,
        r#""top_k":5"#,
        r#""top_k":6"#,
        r#""top_p":0.5"#,
        r#""stop_sequences":["x"]"#,
        r#""thinking":{"type":"enabled","budget_tokens":1024}"#,
        r#""thinking":{"type":"disabled"}"#,
        r#""thinking":{"type":"adaptive"}"#,
        r#""output_config":{"effort":"low"}"#,
        r#""inference_geo":"us""#,
        r#""context_management":{"edits":[]}"#,
        r#""not_known_yet":true"#,
        r#""tools":[{"name":"f","input_schema":{"type":"object"}}]"#,
    ] {
        apart(&asking(members), &asking(""));
    }
    apart(&asking(r#""top_k":5"#), &asking(r#""top_k":6"#));
    same(&asking(r#""temperature":0"#), &asking(r#""temperature":0.0"#));
}

#[test]
fn tools_are_keyed_by_what_they_say() {
    let tools = |tool: &str, rest: &str| asking(&format!(r#""tools":[{{"name":"f"{tool}}}]{rest}"#));
    let plain = tools(r#","input_schema":{"type":"object"}"#, "");
    same(
        &plain,
        &tools(
            r#","type":"custom","description":"","input_schema":{"type":"object"}"#,
            r#","tool_choice":{"type":"auto"}"#,
        ),
    );
    apart(&plain, &tools(r#","input_schema":{"type":"object","description":""}"#, ""));
    apart(&plain, &tools(r#","description":"does f","input_schema":{"type":"object"}"#, ""));
    apart(&plain, &tools(r#","input_schema":{"type":"object"}"#, r#","tool_choice":{"type":"any"}"#));
    let serial = r#","tool_choice":{"type":"auto","disable_parallel_tool_use":true}"#;
    apart(&plain, &tools(r#","input_schema":{"type":"object"}"#, serial));
    let bash = asking(r#""tools":[{"type":"bash_20250124","name":"bash"}]"#);
    assert_eq!(read(&bash).bypass, None);
    apart(&bash, &asking(r#""tools":[{"type":"bash_20260101","name":"bash"}]"#));
}

#[test]
fn case_37_what_the_provider_runs_or_keeps_bypasses_with_its_reason() {
    for (members, reason) in [
        (r#""tools":[{"type":"web_search_20250305","name":"web_search"}]"#, BypassReason::WebSearch),
        (r#""tools":[{"type":"web_fetch_20260318","name":"web_fetch"}]"#, BypassReason::WebSearch),
        (r#""tools":[{"type":"code_execution_20260521","name":"code_execution"}]"#, BypassReason::HostedTool),
        (r#""tools":[{"type":"mcp_toolset","mcp_server_name":"m"}]"#, BypassReason::HostedTool),
        (r#""tools":[{"type":"unheard_of_20990101","name":"x"}]"#, BypassReason::HostedTool),
        (r#""tools":[{"type":7,"name":"x"}]"#, BypassReason::HostedTool),
        (r#""mcp_servers":[{"type":"url","url":"https://m.example","name":"m"}]"#, BypassReason::HostedTool),
        (r#""container":"container_1""#, BypassReason::ProviderState),
        (r#""thread":{"type":"create"}"#, BypassReason::ProviderState),
        (r#""max_tokens":0"#, BypassReason::WarmUp),
        (r#""temperature":1.5"#, BypassReason::HotSampling),
    ] {
        assert_eq!(read(&asking(members)).bypass, Some(reason), "{members}");
    }
}

#[test]
fn neighbouring_turns_of_one_role_are_one_turn() {
    same(
        &turns(r#"[{"role":"user","content":"a"},{"role":"user","content":[{"type":"text","text":"b"}]}]"#),
        &turns(r#"[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]"#),
    );
    let request = read(&turns(r#"[{"role":"user","content":"a"},{"role":"user","content":"b"}]"#));
    assert_eq!((request.query.as_deref(), request.first_turn), (Ok("a\nb"), true));
    let named = r#"[{"role":"user","content":"a","x":1},{"role":"user","content":"b"}]"#;
    apart(&turns(named), &turns(&named.replace(r#","x":1"#, "")));
    different(
        &turns(r#"[{"role":"user","content":"a\nb"}]"#),
        &turns(r#"[{"role":"user","content":"a"},{"role":"user","content":"b"}]"#),
    );
}

#[test]
fn case_43_another_history_is_another_partition() {
    let ask = |country: &str, said: &str| {
        turns(&format!(
            r#"[{{"role":"user","content":"{country}?"}},{{"role":"assistant","content":"{said}"}},{{"role":"user","content":"and in Spain?"}}]"#
        ))
    };
    apart(&ask("France", "Paris"), &ask("Italy", "Paris"));
    apart(&ask("France", "Paris"), &ask("France", "Lyon"));
    let request = read(&ask("France", "Paris"));
    assert_eq!((request.query.as_deref(), request.first_turn), (Ok("and in Spain?"), false));
    assert_eq!(request.user_turns, ["France?", "and in Spain?"]);
}

#[test]
fn only_the_last_user_text_leaves_the_partition() {
    let (a, b) = (turns(&format!("[{QUESTION}]")), turns(r#"[{"role":"user","content":"Size?"}]"#));
    assert_eq!(read(&a).partition, read(&b).partition);
    different(&a, &b);
    let system = r#"[{"role":"system","content":"Be brief."},{"role":"user","content":"Capital?"}]"#;
    apart(&a, &turns(system));
    assert_eq!((read(&turns(system)).system.as_str(), read(&turns(system)).first_turn), ("Be brief.", true));
}

#[test]
fn case_46_tool_turns_thinking_and_prefills_are_exact_only() {
    let call = r#"{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"f","input":{"url":"https://x.example"}}]}"#;
    let result = r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"42"}]}"#;
    let exact = |list: &str| {
        let request = read(&turns(list));
        assert_eq!(request.bypass, None, "{list}");
        request.query.unwrap_err()
    };
    assert_eq!(exact(&format!("[{QUESTION},{call},{result}]")), ExactOnly::ToolTurns);
    assert_eq!(exact(&format!("[{QUESTION},{call},{result},{QUESTION}]")), ExactOnly::ToolTurns);
    assert_eq!(exact(&format!(r#"[{QUESTION},{{"role":"assistant","content":"Par"}}]"#)), ExactOnly::LastTurnNotUser);
    let thought = r#"{"role":"assistant","content":[{"type":"thinking","thinking":"Hm","signature":"s"},{"type":"text","text":"Yes"}]}"#;
    assert_eq!(exact(&format!("[{QUESTION},{thought},{QUESTION}]")), ExactOnly::NonText);
    assert_eq!(exact(r#"[{"role":"user","content":" "}]"#), ExactOnly::EmptyQuery);
    let ended = format!("[{QUESTION},{call},{result}]");
    for other in [("42", "43"), ("\"t1\"", "\"t2\""), ("x.example", "y.example")] {
        different(&turns(&ended), &turns(&ended.replace(other.0, other.1)));
    }
    same(&turns(&ended), &turns(&ended.replace(r#""42""#, r#"[{"type":"text","text":"42"}]"#)));
    assert_eq!(read(&turns(&ended)).user_turns, ["Capital?"], "a result is no wording");
}

#[test]
fn case_45_what_is_in_the_body_is_exact_and_what_lies_elsewhere_bypasses() {
    let ask =
        |block: &str| turns(&format!(r#"[{{"role":"user","content":[{{"type":"text","text":"What?"}},{block}]}}]"#));
    let image = |data: &str| {
        ask(&format!(r#"{{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{data}"}}}}"#))
    };
    same(&image("iVBO"), &image("iVBO"));
    different(&image("iVBO"), &image("iVBP"));
    assert_eq!((read(&image("iVBO")).query, read(&image("iVBO")).bypass), (Err(ExactOnly::NonText), None));
    for inline in [
        r#"{"type":"document","source":{"type":"text","media_type":"text/plain","data":"see https://x.example"}}"#,
        r#"{"type":"document","source":{"type":"content","content":[{"type":"text","text":"x"}]},"citations":{"enabled":true}}"#,
        r#"{"type":"search_result","source":"https://x.example","title":"t","content":[{"type":"text","text":"x"}]}"#,
        r#"{"type":"text","text":"x","citations":[{"type":"web_search_result_location","url":"https://x.example"}]}"#,
    ] {
        assert_eq!((read(&ask(inline)).query, read(&ask(inline)).bypass), (Err(ExactOnly::NonText), None), "{inline}");
    }
    for remote in [
        r#"{"type":"image","source":{"type":"url","url":"https://example.com/a.png"}}"#,
        r#"{"type":"document","source":{"type":"url","url":"https://example.com/a.pdf"}}"#,
        r#"{"type":"document","source":{"type":"file","file_id":"file_1"}}"#,
        r#"{"type":"container_upload","file_id":"file_1"}"#,
        r#"{"type":"tool_result","tool_use_id":"t","content":[{"type":"image","source":{"type":"url","url":"https://x.example/a"}}]}"#,
    ] {
        assert_eq!(read(&ask(remote)).bypass, Some(BypassReason::RemoteContent), "{remote}");
    }
}

#[test]
fn case_49_token_limits_are_not_in_the_key() {
    same(&asking(r#""max_tokens":50"#), &asking(r#""max_tokens":128000"#));
    assert_eq!(read(&asking(r#""max_tokens":50"#)).max_tokens, Some(50));
    refused(&asking(r#""max_tokens":-1"#));
}

#[test]
fn case_48_a_schema_is_a_partition_and_wants_json() {
    let schema = |kind: &str| {
        asking(&format!(r#""output_config":{{"format":{{"type":"json_schema","schema":{{"type":"{kind}"}}}}}}"#))
    };
    apart(&schema("object"), &schema("array"));
    assert!(read(&schema("object")).wants_json);
    assert!(read(&asking(r#""output_format":{"type":"json_schema","schema":{}}"#)).wants_json);
    assert!(!read(&asking(r#""output_config":{"effort":"low"}"#)).wants_json);
}

#[test]
fn case_50_and_what_the_upstream_would_refuse_is_left_to_the_upstream() {
    for body in [
        "[]",
        "{}",
        r#"{"model":"m"}"#,
        r#"{"model":"a","model":"b","messages":[{"role":"user","content":"x"}]}"#,
        r#"{"messages":[{"role":"user","content":"x"}]}"#,
        r#"{"model":"m","messages":[]}"#,
        r#"{"model":"m","messages":"hi"}"#,
        r#"{"model":"m","messages":["hi"]}"#,
        r#"{"model":"m","messages":[{"content":"x"}]}"#,
        r#"{"model":"m","messages":[{"role":"user"}]}"#,
        r#"{"model":"m","messages":[{"role":"user","content":null}]}"#,
        r#"{"model":"m","messages":[{"role":"user","content":[]}]}"#,
        r#"{"model":"m","messages":[{"role":"user","content":["x"]}]}"#,
        r#"{"model":"m","messages":[{"role":"user","content":[{"text":"x"}]}]}"#,
        r#"{"model":"m","stream":"yes","messages":[{"role":"user","content":"x"}]}"#,
        r#"{"model":"m","temperature":"hot","messages":[{"role":"user","content":"x"}]}"#,
        r#"{"model":"m","tools":{},"messages":[{"role":"user","content":"x"}]}"#,
        r#"{"model":"m","system":7,"messages":[{"role":"user","content":"x"}]}"#,
    ] {
        refused(body);
    }
}

#[test]
fn the_upstream_gets_the_clients_own_bytes_without_litellms_member() {
    let body =
        " { \"messages\" : [ {\"role\":\"user\",\"content\":\"caf\\u00e9\"} ] , \"model\":\"m\",\"stream\":true }\n";
    let request = read(body);
    assert_eq!((&request.upstream_body[..], request.usage_added), (body.as_bytes(), false));
    assert_eq!(request.shape, Shape::Stream { include_usage: true });
    let request = read(&asking(r#""cache":{"ttl":60,"no-cache":true}"#));
    assert!(request.body_directives.no_cache);
    assert_eq!(request.upstream_body, asking(""));
    same(&asking(r#""cache":{"ttl":60}"#), &asking(""));
}

proptest! {
    #[test]
    fn how_a_body_is_written_and_where_it_is_marked_is_in_no_key(
        vendor in strategies::json(), input in strategies::json(), said in "[a-c \"\\\\é😀]{0,8}", turn in 0_usize..99,
    ) {
        let body = |mark: Option<&serde_json::Value>| {
            let marked = |mut block: serde_json::Value| {
                block["cache_control"] = mark.cloned().unwrap_or_default();
                block
            };
            serde_json::json!({
                "model": "m", "max_tokens": 9, "vendor": vendor, "system": [marked(serde_json::json!({"type": "text", "text": said}))],
                "messages": [
                    {"role": "user", "content": [marked(serde_json::json!({"type": "text", "text": said}))]},
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": input}]},
                    {"role": "user", "content": [marked(serde_json::json!({"type": "tool_result", "tool_use_id": "t", "content": said}))]},
                ],
            })
        };
        let mut written = String::new();
        strategies::written(&body(Some(&serde_json::json!({"type": "ephemeral"}))), turn, &mut written);
        prop_assert_eq!(key(&written), key(&body(None).to_string()));
    }
}
