//! The TLS listener: both HTTP versions inside it, handshakes that fail, certificates that are renewed.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::StatusCode;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use semblance::tls::TlsFiles;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    ASKED,
    wires::{Http2, Raw},
};
use crate::harness::{Setup, TestGateway, eventually, user};

/// A certificate for `localhost` and its key.
struct Pair {
    cert: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Pair {
    fn make() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self { cert: made.cert.der().clone(), key: made.signing_key.serialize_der() }
    }

    fn write(&self, files: &TlsFiles) {
        std::fs::write(&files.cert, pem("CERTIFICATE", &self.cert)).unwrap();
        std::fs::write(&files.key, pem("PRIVATE KEY", &self.key)).unwrap();
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(der))
}

async fn secured(pair: &Pair) -> (TestGateway, TlsFiles, TempDir) {
    let dir = TempDir::new().unwrap();
    let files = TlsFiles { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
    pair.write(&files);
    let gateway = Setup::new().config(|config| config.tls = Some(files.clone())).start().await;
    (gateway, files, dir)
}

/// A connection that trusts `pair` alone and offers these protocols.
async fn connect(gateway: &TestGateway, pair: &Pair, protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(pair.cert.clone()).unwrap();
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let tcp = TcpStream::connect(gateway.app.listen).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), tcp).await
}

fn protocol(stream: &TlsStream<TcpStream>) -> Option<&[u8]> {
    stream.get_ref().1.alpn_protocol()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_http_versions_are_spoken_inside_tls() {
    let pair = Pair::make();
    let (gateway, _, _dir) = secured(&pair).await;
    let stream = connect(&gateway, &pair, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(protocol(&stream), Some(&b"h2"[..]));
    let mut client = Http2::over(stream).await;
    let url = format!("https://localhost:{}/v1/chat/completions", gateway.app.listen.port());
    for expected in ["miss", "hit-exact"] {
        let (head, _) = client.post(&url, &user(ASKED)).await;
        assert_eq!((head.status, &head.headers["x-semblance-cache"]), (StatusCode::OK, &expected.parse().unwrap()));
    }
    for offered in [&["http/1.1"][..], &[]] {
        let stream = connect(&gateway, &pair, offered).await.unwrap();
        let mut client = Raw::over(stream);
        let body = user(ASKED).to_string();
        let announced = format!("content-length: {}\r\nconnection: close\r\n", body.len());
        client.write(super::post_head("/v1/chat/completions", &announced) + &body).await;
        let head = client.head().await;
        assert!(head.starts_with("http/1.1 200 ") && head.contains("x-semblance-cache: hit-exact"), "{head}");
        assert!(client.body_of(&head).await.starts_with('{'));
    }
    assert!(connect(&gateway, &Pair::make(), &["h2"]).await.is_err(), "another certificate is not trusted");
    assert_eq!(
        gateway.client.get(gateway.admin("/livez")).send().await.unwrap().status(),
        200,
        "operators stay on http"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_fail_or_never_end_hold_up_neither_others_nor_the_drain() {
    let pair = Pair::make();
    let (gateway, _, _dir) = secured(&pair).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(Raw::connect(gateway.app.listen).await);
    }
    let mut plain = Raw::connect(gateway.app.listen).await;
    plain.write("GET / HTTP/1.1\r\nhost: gateway\r\n\r\n").await;
    assert!(!plain.rest().await.starts_with(b"HTTP/"), "plain HTTP gets a TLS alert");
    assert!(connect(&gateway, &pair, &["h2"]).await.is_ok());
    assert!(connect(&gateway, &pair, &["gopher"]).await.is_err());
    let drained = tokio::time::timeout(Duration::from_secs(5), gateway.app.drain()).await.unwrap();
    assert_eq!(drained, Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_taken_up_without_a_restart() {
    let (old, new) = (Pair::make(), Pair::make());
    let (gateway, files, _dir) = secured(&old).await;
    let serves = |pair: &Pair| {
        let pair = Pair { cert: pair.cert.clone(), key: Vec::new() };
        let gateway = &gateway;
        async move { connect(gateway, &pair, &["h2"]).await.is_ok() }
    };
    let mut kept = Http2::over(connect(&gateway, &old, &["h2"]).await.unwrap()).await;
    new.write(&files);
    eventually("the new certificate is served", || serves(&new)).await;
    assert!(!serves(&old).await);
    let url = format!("https://localhost:{}/v1/chat/completions", gateway.app.listen.port());
    assert_eq!(kept.post(&url, &user(ASKED)).await.0.status, StatusCode::OK, "connections go on over a renewal");
}
