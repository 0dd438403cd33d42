use super::*;

fn case(line: &str) -> Case {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("case.jsonl");
    std::fs::write(&file, line).unwrap();
    case::read(&[file]).unwrap().remove(0)
}

#[test]
fn a_pool_knows_which_questions_are_one() {
    let cases = [
        case(r#"{"seed":"a","ask":"a2","expect":"hit"}"#),
        case(r#"{"seed":"a2","ask":"a3","expect":"hit"}"#),
        case(r#"{"seed":"a","ask":"b","expect":"miss"}"#),
    ];
    let questions = Questions::of(&cases);
    assert!(questions.are_one("a", "a3") && questions.are_one("x", "x"));
    assert!(!questions.are_one("a", "b") && !questions.are_one("x", "y"));
    assert_eq!(questions.asked_for(Some(&answer_of("a2"))), Some("a2"));
    assert_eq!(questions.asked_for(Some("else")), None);
}

#[test]
fn a_case_becomes_the_request_an_sdk_would_send() {
    let case = case(
        r#"{"seed":"s","ask":"a","expect":"hit","system":"Be brief.","turns":["q","r"],"sources":["doc:1@v1"],"principal":"ann","category":"documentation"}"#,
    );
    let call = call(&case.ask, "case-1", Errand::Ask).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&call.body).unwrap();
    let roles: Vec<_> = body["messages"].as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user"]);
    assert_eq!(call.headers["authorization"], "Bearer ann");
    assert_eq!(call.headers["x-semblance-sources"], "doc:1@v1");
    assert_eq!(call.headers["x-semblance-category"], "documentation");
    assert!(!call.headers.contains_key("cache-control"));
}

#[test]
fn the_reason_is_read_from_the_status() {
    assert_eq!(reason("semblance; fwd=uri-miss; stored; detail=guard-rejected"), "guard-rejected");
    assert_eq!(reason("semblance; fwd=bypass; detail=zero-ttl"), "zero-ttl");
    assert_eq!(reason("semblance; fwd=uri-miss"), "uri-miss");
}
