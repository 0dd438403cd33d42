use base64::{Engine, prelude::BASE64_STANDARD};
use tempfile::TempDir;

use super::*;

/// A certificate for `localhost` and its key, both in PEM.
struct Pair {
    cert: String,
    key: String,
}

impl Pair {
    fn make() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self { cert: pem("CERTIFICATE", made.cert.der()), key: pem("PRIVATE KEY", &made.signing_key.serialize_der()) }
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(der))
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

fn files_in(dir: &TempDir) -> TlsFiles {
    TlsFiles { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") }
}

/// A usable pair in `dir`.
pub(crate) fn written_in(dir: &TempDir) -> TlsFiles {
    let (files, pair) = (files_in(dir), Pair::make());
    write(&files.cert, &pair.cert);
    write(&files.key, &pair.key);
    files
}

#[test]
fn a_change_is_taken_up_once_when_it_has_settled() {
    let [old, half, new] = [b"old", b"haf", b"new"].map(|content| blake3::hash(content));
    let mut changes = Changes { settled: old, last_seen: old };
    let looks = [old, half, new, new, new, old, old, old];
    let due: Vec<bool> = looks.into_iter().map(|seen| changes.due(seen)).collect();
    assert_eq!(due, [false, false, false, true, false, false, true, false]);
}

#[tokio::test(start_paused = true)]
async fn half_a_renewal_and_a_broken_one_leave_the_old_certificate_in_use() {
    let dir = TempDir::new().unwrap();
    let files = written_in(&dir);
    let certificates = Certificates::load(&files).unwrap();
    let served = || certificates.current.load().cert.clone();
    let (old, new, stop) = (served(), Pair::make(), CancellationToken::new());
    let tasks = crate::tasks::Tasks::new();
    tasks.spawn("watch-certificates", Arc::clone(&certificates).watch(stop.clone()));
    for (path, text) in [(&files.cert, new.cert.as_str()), (&files.key, "no key"), (&files.cert, "")] {
        write(path, text);
        tokio::time::sleep(EVERY * 5).await;
        assert_eq!(served(), old);
    }
    std::fs::remove_file(&files.key).unwrap();
    tokio::time::sleep(EVERY * 5).await;
    assert_eq!(served(), old);
    write(&files.cert, &new.cert);
    write(&files.key, &new.key);
    tokio::time::sleep(EVERY * 5).await;
    assert_ne!(served(), old);
    stop.cancel();
    assert!(tasks.drain(EVERY * 10).await.is_empty());
}

#[test]
fn everything_wrong_with_the_files_is_told_with_its_setting() {
    let dir = TempDir::new().unwrap();
    let (files, one, other) = (files_in(&dir), Pair::make(), Pair::make());
    let told = || files.problems().into_iter().map(|problem| (problem.setting(), problem.to_string())).collect();
    let both_missing: Vec<(&str, String)> = told();
    assert_eq!(both_missing.iter().map(|(setting, _)| *setting).collect::<Vec<_>>(), ["tls.cert", "tls.key"]);
    let garbled = [pem("CERTIFICATE", b"nonsense"), pem("PRIVATE KEY", b"nonsense")];
    for (cert, key, expected) in [
        (&one.cert, &one.key, None),
        (&one.cert, &other.key, Some(("tls.key", "does not belong to the certificate"))),
        (&one.cert, &one.cert, Some(("tls.key", "holds no private key"))),
        (&one.cert, &garbled[1], Some(("tls.key", "cannot be used"))),
        (&garbled[0], &one.key, Some(("tls.cert", "cannot be used"))),
        (&one.key, &one.key, Some(("tls.cert", "holds no certificate"))),
    ] {
        write(&files.cert, cert);
        write(&files.key, key);
        let problems: Vec<(&str, String)> = told();
        assert_eq!(problems.len(), usize::from(expected.is_some()), "{problems:?}");
        if let (Some((setting, what)), [(told, text)]) = (expected, &problems[..]) {
            assert!(*told == setting && text.contains(what), "{what}: {problems:?}");
        }
    }
}
