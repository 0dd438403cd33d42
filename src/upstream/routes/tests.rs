use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use http::HeaderValue;

use super::*;
use crate::upstream::scripted::{Reply, Script, Scripted};

const CHAT: &str = "/v1/chat/completions";

/// Routes over scripted upstreams: the default, Anthropic's, and those named here.
struct Rig {
    routes: Routes,
    metrics: Arc<Metrics>,
    default: Script,
    scripts: Vec<Script>,
}

fn named(name: &str, route: Route, fallback: Option<usize>) -> Named {
    Named { name: name.to_owned(), route, upstream: Arc::new(Scripted::programmable().0), own_key: None, fallback }
}

fn rig(named: Vec<Named>) -> Rig {
    let metrics = Arc::new(Metrics::new());
    let (default, script) = Scripted::programmable();
    let (anthropic, _) = Scripted::programmable();
    let mut scripts = Vec::new();
    let scripted = |named: Named| {
        let (upstream, script) = Scripted::programmable();
        scripts.push(script);
        let upstream: Arc<dyn Upstream> = Arc::new(upstream.with_base_url(&named.name));
        Named { upstream, ..named }
    };
    let named = named.into_iter().map(scripted).collect();
    let routes = Routes::new(Arc::new(default.with_base_url("openai")), Arc::clone(&metrics))
        .family(Family::Messages, Arc::new(anthropic.with_base_url("anthropic")))
        .named(named);
    Rig { routes, metrics, default: script, scripts }
}

impl Rig {
    /// Sends a chat request; the status of the answer, and whether it came from a fallback.
    async fn send(&self) -> Result<(u16, bool), UpstreamError> {
        self.routes.send(request(CHAT, None)).await.map(|response| (response.status.as_u16(), response.stand_in))
    }

    fn calls(&self) -> Vec<usize> {
        self.scripts.iter().map(Script::calls).collect()
    }

    fn base_url(&self, path_and_query: &str, model: Option<&str>) -> &str {
        self.routes.base_url(&Target { path_and_query, headers: &HeaderMap::new(), model })
    }
}

fn request(path: &str, model: Option<&str>) -> UpstreamRequest {
    UpstreamRequest {
        method: Method::POST,
        path_and_query: path.to_owned(),
        headers: HeaderMap::new(),
        model: model.map(str::to_owned),
        may_fall_back: true,
        needs_own_key: false,
        body: UpstreamBody::Whole(Bytes::from_static(br#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#)),
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn status(status: u16) -> Reply {
    Reply::json(StatusCode::from_u16(status).unwrap(), &serde_json::json!({"error": {"message": "no"}}))
}

#[test]
fn without_named_upstreams_the_protocol_decides() {
    let rig = rig(Vec::new());
    let mut version = HeaderMap::new();
    version.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
    for (path, headers, base_url) in [
        (CHAT, &HeaderMap::new(), "openai"),
        ("/v1/models", &HeaderMap::new(), "openai"),
        ("/v1/models?after_id=x", &version, "anthropic"),
        ("/v1/messages?beta=true", &HeaderMap::new(), "anthropic"),
        ("/messages/batches", &HeaderMap::new(), "anthropic"),
        (CHAT, &version, "openai"), // a path of its own says more than a header
    ] {
        let target = Target { path_and_query: path, headers, model: None };
        assert_eq!(rig.routes.base_url(&target), base_url, "{path}");
    }
}

#[tokio::test]
async fn the_first_named_upstream_whose_conditions_all_hold_takes_the_request() {
    let by_model = Route { models: texts(&["gpt-4o*", "o3"]), ..Route::default() };
    let by_both = Route { families: vec![Family::Chat], models: texts(&["llama*"]), ..Route::default() };
    let by_path = Route { paths: texts(&["/v1/audio/*", "/v1/images/edits"]), ..Route::default() };
    let by_family = Route { families: vec![Family::Responses, Family::Embeddings], ..Route::default() };
    let rig = rig(vec![
        named("model", by_model, None),
        named("both", by_both, None),
        named("path", by_path, None),
        named("family", by_family, None),
    ]);
    let cases = [
        (CHAT, Some("gpt-4o-mini"), "model"),
        (CHAT, Some("o3"), "model"),
        (CHAT, Some("o3-mini"), "openai"),
        (CHAT, None, "openai"),
        (CHAT, Some("llama3"), "both"),
        ("/v1/responses", Some("llama3"), "family"),
        ("/v1/responses", Some("gpt-4o"), "model"),
        ("/v1/responses/resp_1/input_items", None, "family"),
        ("/embeddings", Some("e"), "family"),
        ("/v1/audio/speech?x=1", None, "path"),
        ("/v1/images/edits", None, "path"),
        ("/v1/images", None, "openai"),
        ("/v1/messages", Some("claude"), "anthropic"),
        ("/v1/messages", Some("gpt-4o"), "model"),
        ("/v1beta/models/gpt-4o:generateContent", None, "model"),
    ];
    for (path, model, base_url) in cases {
        assert_eq!(rig.base_url(path, model), base_url, "{path} {model:?}");
        rig.routes.send(request(path, model)).await.unwrap();
    }
    let sent = |name: &str| cases.iter().filter(|(_, _, to)| *to == name).count();
    assert_eq!(rig.calls(), ["model", "both", "path", "family"].map(sent), "scope and sending choose alike");
    assert_eq!(rig.default.calls(), sent("openai"));
}

#[test]
fn an_upstream_without_conditions_takes_all_unless_it_only_stands_in() {
    let chat = Route { families: vec![Family::Chat], ..Route::default() };
    let open = rig(vec![named("chat", chat.clone(), None), named("rest", Route::default(), None)]);
    assert_eq!((open.base_url(CHAT, None), open.base_url("/v1/messages", None)), ("chat", "rest"));
    let stands_in = rig(vec![named("chat", chat, Some(1)), named("spare", Route::default(), None)]);
    assert_eq!((stands_in.base_url(CHAT, None), stands_in.base_url("/v1/embeddings", None)), ("chat", "openai"));
}

#[test]
fn an_account_of_ours_makes_a_scope_of_its_own() {
    let own_key = OwnKey::new(None, "k").ok();
    let rig = rig(vec![Named { own_key, ..named("azure", Route::default(), None) }]);
    assert_eq!(rig.base_url(CHAT, None), "azure#azure");
}

#[tokio::test]
async fn a_failure_goes_down_the_chain_until_somebody_succeeds() {
    let chain = || {
        rig(vec![
            named("a", Route::default(), Some(1)),
            named("b", Route::default(), Some(2)),
            named("c", Route::default(), None),
        ])
    };
    for failure in [429, 500, 502, 503, 504, 529].map(status).into_iter().chain([
        Reply::connect_error(),
        Reply::timeout(),
        Reply::broken(),
    ]) {
        let rig = chain();
        rig.scripts[0].push(failure);
        assert_eq!(rig.send().await.unwrap(), (200, true));
        assert_eq!(rig.calls(), [1, 1, 0]);
    }
    for answer in [200, 400, 401, 404, 422, 501] {
        let rig = chain();
        rig.scripts[0].push(status(answer));
        assert_eq!(rig.send().await.unwrap(), (answer, false));
        assert_eq!(rig.calls(), [1, 0, 0], "{answer} is the upstream's word");
    }
    let rig = chain();
    rig.scripts[0].push(status(503));
    rig.scripts[1].push(status(404));
    assert_eq!(rig.send().await.unwrap(), (200, true), "a fallback that does not know the model does not stand in");
    assert_eq!(rig.calls(), [1, 1, 1]);
    let text = rig.metrics.render();
    assert!(text.contains("semblance_upstream_fallbacks_total{upstream=\"a\",fallback=\"b\"} 1"), "{text}");
    assert!(text.contains("semblance_upstream_fallbacks_total{upstream=\"b\",fallback=\"c\"} 1"), "{text}");
}

#[tokio::test]
async fn when_all_fail_the_first_failure_is_the_answer() {
    let rig = rig(vec![named("a", Route::default(), Some(1)), named("b", Route::default(), None)]);
    rig.scripts[0].push(status(429));
    rig.scripts[1].push(Reply::connect_error());
    assert_eq!(rig.send().await.unwrap(), (429, false));
    rig.scripts[0].push(Reply::timeout());
    rig.scripts[1].push(status(401));
    assert!(matches!(rig.send().await, Err(UpstreamError::Timeout)));
}

#[tokio::test]
async fn a_circle_is_walked_once() {
    let rig = rig(vec![
        named("a", Route { families: vec![Family::Chat], ..Route::default() }, Some(1)),
        named("b", Route::default(), Some(0)),
    ]);
    rig.scripts.iter().for_each(|script| script.always(status(500)));
    assert_eq!(rig.send().await.unwrap(), (500, false));
    assert_eq!(rig.calls(), [1, 1]);
}

#[tokio::test]
async fn only_a_post_with_a_whole_body_that_somebody_waits_for_falls_back() {
    let rig = rig(vec![
        named("a", Route { families: vec![Family::Chat], ..Route::default() }, Some(1)),
        named("b", Route::default(), None),
    ]);
    rig.scripts[0].always(status(503));
    let body = || UpstreamBody::Stream(stream::iter([Ok(Bytes::from_static(b"{}"))]).boxed());
    for unrepeatable in [
        UpstreamRequest { body: body(), ..request(CHAT, None) },
        UpstreamRequest { method: Method::GET, ..request("/v1/files/f", None) },
        UpstreamRequest { method: Method::DELETE, ..request("/v1/files/f", None) },
        UpstreamRequest { may_fall_back: false, ..request(CHAT, None) },
    ] {
        let response = rig.routes.send(unrepeatable).await.unwrap();
        assert_eq!((response.status.as_u16(), response.stand_in), (503, false));
    }
    assert_eq!(rig.calls(), [4, 0]);
}

#[tokio::test]
async fn each_upstream_gets_its_own_key_and_never_anothers() {
    let key = |key: &str| OwnKey::new(None, key).ok();
    let rig = rig(vec![
        named("a", Route { families: vec![Family::Chat], ..Route::default() }, Some(1)),
        Named { own_key: key("own-b"), ..named("b", Route::default(), Some(2)) },
        Named { own_key: key("own-c"), ..named("c", Route::default(), None) },
    ]);
    rig.scripts.iter().for_each(|script| script.always(status(503)));
    let mut sent = request(CHAT, None);
    sent.headers.insert("authorization", HeaderValue::from_static("Bearer client"));
    rig.routes.send(sent).now_or_never().unwrap().unwrap();
    let got = |script: &Script| script.last().unwrap().headers["authorization"].to_str().unwrap().to_owned();
    let got: Vec<String> = rig.scripts.iter().map(got).collect();
    assert_eq!(got, ["Bearer client", "Bearer own-b", "Bearer own-c"]);
}

/// As [`Scripted`], but it asks for a key.
#[derive(Debug)]
struct Guarded(Scripted);

impl Upstream for Guarded {
    fn send(&self, request: UpstreamRequest) -> BoxFuture<'_, Result<UpstreamResponse, UpstreamError>> {
        self.0.send(request)
    }

    fn base_url(&self, target: &Target<'_>) -> &str {
        self.0.base_url(target)
    }
}

#[tokio::test]
async fn a_request_that_needs_our_key_goes_to_nobody_without_one_neither_first_nor_as_a_fallback() {
    let (model, script) = Scripted::programmable();
    let guarded = || Arc::new(Guarded(model.clone())) as Arc<dyn Upstream>;
    let named = |name: &str, own_key, fallback| Named {
        name: name.to_owned(),
        route: Route { models: texts(&[name]), ..Route::default() },
        upstream: guarded(),
        own_key,
        fallback,
    };
    let ours = OwnKey::new(None, "ours").ok();
    let routes =
        Routes::new(guarded(), Arc::default()).named(vec![named("with", ours, Some(1)), named("without", None, None)]);
    let send = |model| routes.send(UpstreamRequest { needs_own_key: true, ..request(CHAT, Some(model)) });
    script.push(status(503));
    assert_eq!(send("with").await.unwrap().status, 503, "the fallback has no key");
    assert_eq!(script.last().unwrap().headers["authorization"], "Bearer ours");
    for model in ["without", "anything else"] {
        assert!(matches!(send(model).await, Err(UpstreamError::NoKey { .. })), "{model}");
    }
    assert_eq!(script.calls(), 1);
}

#[tokio::test]
async fn the_built_in_model_asks_for_no_key() {
    let rig = rig(vec![named("own", Route { models: texts(&["o"]), ..Route::default() }, None)]);
    for model in [None, Some("o")] {
        let sent = rig.routes.send(UpstreamRequest { needs_own_key: true, ..request(CHAT, model) }).await;
        assert_eq!(sent.unwrap().status, 200, "{model:?}");
    }
}
