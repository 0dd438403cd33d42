//! Requests that are refused before anything else is asked of them: two readers could take them for different ones.
//!
//! What the HTTP library lets through although a provider, or a proxy before it, may read it otherwise than this gateway
//! (RFC 9112, section 3.2 and 11; the URL standard's path parsing).

use http::{Method, Request, Version, header};

use super::{error::ClientError, framing::FramedTwice};

/// Why a request is not sound, if it is not.
pub(super) fn fault<B>(request: &Request<B>) -> Option<ClientError> {
    let unsound = |why| Some(ClientError::Unsound(why));
    if request.method() == Method::CONNECT {
        return unsound("CONNECT asks for a tunnel, and this gateway is no forward proxy; send the request itself");
    }
    // The library leaves the coding; lines that look like a head may stand in a body too.
    let coded = request.headers().contains_key(header::TRANSFER_ENCODING);
    if coded && request.extensions().get::<FramedTwice>().is_some() {
        return unsound("the request has both Content-Length and Transfer-Encoding; send one of them");
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next(), request.version()) {
        (_, Some(_), _) => return unsound("there is more than one Host header; send one"),
        (None, None, Version::HTTP_11) => return unsound("HTTP/1.1 needs a Host header; send one"),
        _ => {}
    }
    if is_read_otherwise(request.uri().path()) {
        return unsound(
            "the path has a `.` or `..` segment or a backslash, which URL libraries change; send the path that is meant",
        );
    }
    None
}

/// Whether a URL library would change this path: so could a client reach, under the gateway's own key, what lies above the
/// base URL, or another route's paths. A backslash is a slash to them.
fn is_read_otherwise(path: &str) -> bool {
    let is_dots = |segment: &str| {
        segment.len() <= 6 && matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
    };
    path.contains('\\') || path.split('/').any(is_dots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &str, path: &str, hosts: &[&str], version: Version) -> Option<ClientError> {
        let mut request = Request::builder().method(method).uri(path).version(version);
        for host in hosts {
            request = request.header("host", *host);
        }
        fault(&request.body(()).unwrap())
    }

    #[test]
    fn hosts_are_one_where_the_version_has_them() {
        assert!(of("GET", "/v1/models", &["x"], Version::HTTP_11).is_none());
        assert!(of("GET", "/v1/models", &[], Version::HTTP_10).is_none());
        assert!(of("GET", "http://x/v1/models", &[], Version::HTTP_2).is_none());
        assert!(of("GET", "/v1/models", &[], Version::HTTP_11).is_some());
        assert!(of("GET", "/v1/models", &["x", "y"], Version::HTTP_11).is_some());
        assert!(of("GET", "/v1/models", &["x", "x"], Version::HTTP_10).is_some());
    }

    #[test]
    fn paths_that_libraries_change_are_found_however_they_are_written() {
        for path in ["/v1/../x", "/v1/./x", "/..", "/v1/%2e%2E/x", "/v1/.%2e", "/v1/%2e?a", "/v1/a\\..\\x", "/v1\\x"] {
            assert!(of("GET", path, &["x"], Version::HTTP_11).is_some(), "{path}");
        }
        for path in ["/v1/files/a..b", "/v1/...", "/v1/.hidden", "/v1/x?a=../b", "//v1//x", "/v1/%252e%252e/x", "*"] {
            assert!(of("OPTIONS", path, &["x"], Version::HTTP_11).is_none(), "{path}");
        }
    }

    #[test]
    fn tunnels_are_not_dug() {
        assert!(of("CONNECT", "example.com:443", &["example.com:443"], Version::HTTP_11).is_some());
    }
}
