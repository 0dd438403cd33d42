//! Everything that is not cached passes byte for byte (I11).

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use semblance::upstream::scripted::{Reply, Step};

use crate::harness::TestGateway;

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_methods_queries_headers_and_statuses_pass_unchanged() {
    let gateway = TestGateway::start().await;
    let body = Bytes::from_static(b"\x00\x01binary\xff");
    let reply = Reply::steps(StatusCode::IM_A_TEAPOT, [Step::Send(body.clone())])
        .header(HeaderName::from_static("x-upstream"), HeaderValue::from_static("yes"));
    gateway.script.push(reply);
    let url = gateway.url("/v1/files/a%20b?after_id=x&after_id=y");
    let request = gateway.client.put(url).header("x-custom", "kept").header("authorization", "Bearer sk-test");
    let response = request.body(body.clone()).send().await.unwrap();
    assert_eq!(response.status(), 418);
    assert_eq!(response.headers()["x-upstream"], "yes");
    assert_eq!(response.headers()["cache-status"], "semblance; fwd=bypass; detail=passthrough");
    assert_eq!(response.bytes().await.unwrap(), body);
    let received = gateway.script.last().unwrap();
    assert_eq!(received.method, "PUT");
    assert_eq!(received.path_and_query, "/v1/files/a%20b?after_id=x&after_id=y");
    assert_eq!(received.headers["x-custom"], "kept");
    assert_eq!(received.body, body);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_66_other_methods_on_the_chat_path_pass_and_do_not_hang() {
    let gateway = TestGateway::start().await;
    for method in [http::Method::GET, http::Method::OPTIONS, http::Method::HEAD, http::Method::DELETE] {
        gateway.script.push(Reply::steps(StatusCode::NO_CONTENT, []));
        let request = gateway.client.request(method.clone(), gateway.url("/v1/chat/completions"));
        let response = request.header("authorization", "Bearer sk-test").send().await.unwrap();
        assert_eq!(response.status(), 204, "{method}");
        assert_eq!(gateway.script.last().unwrap().method, method);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passed_through_body_that_breaks_is_aborted() {
    let gateway = TestGateway::start().await;
    gateway.script.push(Reply::steps(StatusCode::OK, [Step::Send(Bytes::from_static(b"half")), Step::Break]));
    let request = gateway.client.get(gateway.url("/v1/files/f/content")).header("authorization", "Bearer sk-test");
    let response = request.send().await.unwrap();
    assert!(response.bytes().await.is_err());
}
