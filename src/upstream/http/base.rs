//! Base URLs and how a request's path is put behind one.

use super::ConfigProblem;

/// A provider's base URL, without a trailing slash. Typed with or without `/v1`, as each SDK's manual has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    /// Scheme, host, port and path.
    whole: String,
    /// The same, parsed: a host is read once and not for every request.
    parsed: reqwest::Url,
    /// Length of `whole` without its path.
    root: usize,
    /// Length of `whole` without a version segment at its end, when it has one.
    unversioned: Option<usize>,
    loopback: bool,
}

impl BaseUrl {
    /// Reads a base URL.
    pub fn parse(typed: &str) -> Result<Self, ConfigProblem> {
        let url = reqwest::Url::parse(typed.trim()).map_err(|_| ConfigProblem::NotAUrl { url: typed.to_owned() })?;
        if !matches!(url.scheme(), "http" | "https") {
            // "localhost:8000" parses, with "localhost" as its scheme.
            return Err(match url.host_str() {
                Some(_) => ConfigProblem::Scheme { scheme: url.scheme().to_owned() },
                None => ConfigProblem::NotAUrl { url: typed.to_owned() },
            });
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ConfigProblem::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(ConfigProblem::Query);
        }
        let whole = url.as_str().trim_end_matches('/').to_owned();
        let root = whole.len() - url.path().trim_end_matches('/').len();
        let tail = whole.rfind('/').filter(|slash| *slash >= root);
        let unversioned = tail.filter(|slash| whole.get(slash + 1..).is_some_and(is_version));
        let loopback = match url.host_str() {
            Some("localhost") => true,
            Some(host) => {
                host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            }
            None => false,
        };
        Ok(Self { whole, parsed: url, root, unversioned, loopback })
    }

    /// The URL as text: part of the scope.
    pub fn as_str(&self) -> &str {
        &self.whole
    }

    /// True when it names this machine.
    pub const fn is_loopback(&self) -> bool {
        self.loopback
    }

    /// True when it is reached over TLS.
    pub fn is_encrypted(&self) -> bool {
        self.parsed.scheme() == "https"
    }

    /// Whether both have scheme, host and port in common, so that a credential meant for one may be sent to the other.
    pub fn has_origin_of(&self, other: &Self) -> bool {
        self.parsed.origin() == other.parsed.origin()
    }

    /// The URL of a client's path and query.
    ///
    /// A base without a version segment takes the path as it is. A base that ends in one (`/v1`, `/api/v3`) stands for
    /// our own `/v1`, so the two are not doubled; a path of another version (`/v1beta/...`) replaces it, and so does one
    /// of Ollama's own (`/api/...`), which its servers have beside `/v1`.
    pub fn join(&self, path_and_query: &str) -> String {
        let path = path_and_query.strip_prefix('/').unwrap_or(path_and_query);
        let head_end = path.find(['/', '?']).unwrap_or(path.len());
        let (head, rest) = path.split_at(head_end);
        let (base, rest) = match self.unversioned {
            Some(_) if head == "v1" => (self.whole.as_str(), rest),
            Some(cut) if is_version(head) || head == "api" => (self.whole.get(..cut).unwrap_or(&self.whole), path),
            _ => (self.whole.as_str(), path),
        };
        let slash = if rest.starts_with(['/', '?']) || (rest.is_empty() && !path.is_empty()) { "" } else { "/" };
        format!("{base}{slash}{rest}")
    }

    /// [`Self::join`], parsed.
    pub fn url(&self, path_and_query: &str) -> reqwest::Url {
        let joined = self.join(path_and_query);
        let target = joined.get(self.root..).unwrap_or_default();
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let mut url = self.parsed.clone();
        url.set_path(path);
        url.set_query(query);
        url
    }
}

/// `v1`, `v3`, `v1beta`, `v1beta2`: what providers call their versions.
fn is_version(segment: &str) -> bool {
    let Some(rest) = segment.strip_prefix('v') else { return false };
    rest.starts_with(|c: char| c.is_ascii_digit()) && rest.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_joined_without_doubling_the_version() {
        for (base, path, expected) in [
            ("http://h/v1", "/v1/chat/completions", "http://h/v1/chat/completions"),
            ("http://h/v1/", "/v1/chat/completions", "http://h/v1/chat/completions"),
            ("http://h", "/v1/chat/completions", "http://h/v1/chat/completions"),
            ("http://h/", "/v1/models?after_id=x&limit=2", "http://h/v1/models?after_id=x&limit=2"),
            ("http://h/v1", "/v1?x=1", "http://h/v1?x=1"),
            ("http://h/v1", "/v1", "http://h/v1"),
            ("http://h:81/openai/v1", "/v1/x", "http://h:81/openai/v1/x"),
            ("http://h/api", "/v1/x", "http://h/api/v1/x"),
            ("http://h/api/v3", "/v1/chat/completions", "http://h/api/v3/chat/completions"),
            ("http://h/v1", "/chat/completions", "http://h/v1/chat/completions"),
            ("http://h/v1", "/v1beta/models/m:generateContent", "http://h/v1beta/models/m:generateContent"),
            ("http://h/v1", "/v1beta/x", "http://h/v1beta/x"),
            ("http://h:11434/v1", "/api/chat", "http://h:11434/api/chat"),
            ("http://v1", "/v1/x", "http://v1/v1/x"),
            ("http://h/v1", "/v1/v1/x", "http://h/v1/v1/x"),
            ("http://h", "/", "http://h/"),
            ("http://h", "/api/chat", "http://h/api/chat"),
            ("http://h/velvet", "/v1/x", "http://h/velvet/v1/x"),
            ("http://h/v1", "/v1/files/%2e%2e/a%20b?", "http://h/v1/files/%2e%2e/a%20b?"),
            ("http://h:80/api", "/v1/x?a=?&b=%3f", "http://h/api/v1/x?a=?&b=%3f"),
        ] {
            let base = BaseUrl::parse(base).unwrap();
            assert_eq!(base.join(path), expected, "{base:?} + {path}");
            assert_eq!(base.url(path), reqwest::Url::parse(expected).unwrap(), "{base:?} + {path}");
        }
    }

    #[test]
    fn a_base_that_cannot_work_says_why() {
        let of = |typed: &str| BaseUrl::parse(typed).unwrap_err().to_string();
        assert!(of("api.openai.com/v1").contains("not a URL"));
        assert!(of("localhost:8000").contains("not a URL"));
        assert!(of("ftp://h/v1").contains("https://"));
        assert!(of("https://me:secret@h/v1").contains("leave it out"));
        assert!(!of("https://me:secret@h/v1").contains("secret"));
        assert!(of("https://h/v1?key=1").contains("query"));
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let same = |a: &str, b: &str| BaseUrl::parse(a).unwrap().has_origin_of(&BaseUrl::parse(b).unwrap());
        assert!(same("https://h/v1", "https://H:443/other/v2"));
        for other in ["http://h/v1", "https://h:444/v1", "https://h.example/v1", "https://x.h/v1"] {
            assert!(!same("https://h/v1", other), "{other}");
        }
    }

    #[test]
    fn loopback_is_told_from_the_network() {
        for (base, loopback) in [
            ("http://127.0.0.1:9", true),
            ("http://[::1]:9", true),
            ("http://localhost", true),
            ("http://10.0.0.1", false),
            ("https://api.openai.com", false),
        ] {
            assert_eq!(BaseUrl::parse(base).unwrap().is_loopback(), loopback, "{base}");
        }
    }
}
