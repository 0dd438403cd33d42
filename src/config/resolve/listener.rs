//! What apps meet before any request: the certificate, and the origins whose pages may ask.

use http::HeaderValue;

use super::{
    super::{ConfigFile, args::Typed, value::Texts},
    Check,
};
use crate::tls::TlsFiles;

impl Check<'_> {
    pub(super) fn tls(&mut self, typed: &ConfigFile) -> Option<TlsFiles> {
        let (cert, key) = match (&typed.tls_cert, &typed.tls_key) {
            (None, None) => return None,
            (Some(cert), Some(key)) => (cert, key),
            (Some(cert), None) => {
                self.report("tls.key", cert, "is needed beside tls.cert; set it as well");
                return None;
            }
            (None, Some(key)) => {
                self.report("tls.cert", key, "is needed beside tls.key; set it as well");
                return None;
            }
        };
        let files = TlsFiles { cert: cert.value.clone(), key: key.value.clone() };
        for problem in files.problems() {
            let guilty = if problem.setting() == "tls.cert" { cert } else { key };
            self.report(problem.setting(), guilty, problem.to_string());
        }
        Some(files)
    }

    pub(super) fn origins(&mut self, typed: Option<&Typed<Texts>>) -> Vec<HeaderValue> {
        let Some(typed) = typed else { return Vec::new() };
        let mut origins = Vec::new();
        for text in &typed.value.0 {
            match HeaderValue::from_str(text).ok().filter(|_| is_origin(text)) {
                Some(origin) => origins.push(origin),
                None => {
                    let what = format!(
                        "{text:?} is not an origin; write it as browsers do, such as https://app.example.com, or * for all"
                    );
                    self.report("cors_origins", typed, what);
                }
            }
        }
        origins
    }
}

/// `*`, or scheme and host as browsers write them: in lower case, nothing behind the port.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return text == "*" };
    let plain = |text: &str, more: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c))
    };
    plain(scheme, "+-.") && plain(host, ".-_:[]")
}
