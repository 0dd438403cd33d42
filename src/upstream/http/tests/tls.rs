//! TLS and HTTP/2 towards the upstream: whose certificates are believed, and which version is spoken.

use http::Version;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio_rustls::TlsAcceptor;

use super::*;

/// A server that says which version it was asked in, with a certificate for `localhost` that its own authority signed.
struct TlsServer {
    address: SocketAddr,
    /// The authority, in PEM form.
    authority: Vec<u8>,
    _tasks: JoinSet<()>,
}

impl TlsServer {
    async fn start(protocols: &[&str]) -> Self {
        install_tls();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let signed = authority.self_signed(&key).unwrap();
        let issuer = rcgen::Issuer::new(authority, key);
        let own_key = rcgen::KeyPair::generate().unwrap();
        let own = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let own = own.signed_by(&own_key, &issuer).unwrap();
        let mut config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![own.der().clone()], own_key.serialize_der().try_into().unwrap())
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                // A client that does not believe the certificate hangs up.
                let Ok(stream) = acceptor.accept(socket).await else { continue };
                let service = TowerToHyperService::new(version());
                let builder = Builder::new(TokioExecutor::new());
                // A client that has its answer may hang up as it likes.
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            }
        });
        Self { address, authority: signed.pem().into_bytes(), _tasks: tasks }
    }

    fn upstream(&self, authorities: Option<Vec<u8>>) -> HttpUpstream {
        let base_url = format!("https://localhost:{}/v1", self.address.port());
        HttpUpstream::over(&base_url, &Transport { authorities, ..Transport::default() }).unwrap()
    }
}

fn version() -> Router {
    Router::new().fallback(any(|request: Request| async move { format!("{:?}", request.version()) }))
}

#[tokio::test]
async fn a_private_authority_is_believed_where_it_is_named_and_nowhere_else() {
    let server = TlsServer::start(&["h2", "http/1.1"]).await;
    let answer = server.upstream(Some(server.authority.clone())).send(post(b"{}")).await.unwrap();
    assert_eq!(read(answer).await.unwrap(), "HTTP/2.0");
    for authorities in [None, Some(TlsServer::start(&[]).await.authority)] {
        let error = server.upstream(authorities).send(post(b"{}")).await.unwrap_err();
        assert!(matches!(&error, UpstreamError::Connect(why) if why.contains("certificate")), "{error}");
    }
}

#[tokio::test]
async fn the_handshake_decides_the_version() {
    for (protocols, version) in [(&["http/1.1"][..], "HTTP/1.1"), (&[], "HTTP/1.1"), (&["h2"], "HTTP/2.0")] {
        let server = TlsServer::start(protocols).await;
        let answer = server.upstream(Some(server.authority.clone())).send(post(b"{}")).await.unwrap();
        assert_eq!(read(answer).await.unwrap(), version, "{protocols:?}");
    }
}

#[tokio::test]
async fn cleartext_is_http_1_unless_http_2_is_known_beforehand() {
    let server = Server::start(version()).await;
    for (http2_prior_knowledge, version) in [(false, Version::HTTP_11), (true, Version::HTTP_2)] {
        let transport = Transport { http2_prior_knowledge, ..Transport::default() };
        let upstream = HttpUpstream::over(&format!("http://{}", server.address), &transport).unwrap();
        for _ in 0..2 {
            let answer = upstream.send(post(b"{}")).await.unwrap();
            assert_eq!(read(answer).await.unwrap(), format!("{version:?}"));
        }
    }
}
