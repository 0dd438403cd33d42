//! Where the engine is: `redis://`, `rediss://` for TLS, and `+cluster` or `+sentinel` behind either.
//!
//! What is shown of it never holds a password.

use std::fmt;

/// The port of an engine, where none is named.
const PORT: u16 = 6379;
/// The port of a Sentinel, where none is named.
const SENTINEL_PORT: u16 = 26379;

/// Where the engine is and who asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub(super) kind: Kind,
    pub(super) tls: bool,
    pub(super) hosts: Vec<(String, u16)>,
    pub(super) login: Login,
    pub(super) sentinel_login: Login,
    pub(super) database: i64,
}

/// One server, many, or one of several that Sentinel names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    One,
    Cluster,
    Sentinel { master: String },
}

/// A user and a password, each where there is one.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

/// Why a text is no address. The text itself is not shown: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}; write it like redis://127.0.0.1:6379, rediss://user:password@host:6379/0, redis+cluster://a:6379,b:6379 or redis+sentinel://a:26379,b:26379/mymaster"
)]
pub struct NotAnAddress(&'static str);

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// [`NotAnAddress`], with what is wrong.
    pub fn parse(text: &str) -> Result<Self, NotAnAddress> {
        let (scheme, rest) = text.trim().split_once("://").ok_or(NotAnAddress("has no scheme"))?;
        let (scheme, form) = scheme.split_once('+').unwrap_or((scheme, ""));
        let tls = match scheme {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return Err(NotAnAddress("has an unknown scheme")),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (rest, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (kind, path, port) = match form {
            "" => (Kind::One, path, PORT),
            "cluster" => (Kind::Cluster, path, PORT),
            "sentinel" => {
                let (master, path) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return Err(NotAnAddress("names no master that the Sentinels know"));
                }
                (Kind::Sentinel { master: plain(master)? }, path, SENTINEL_PORT)
            }
            _ => return Err(NotAnAddress("has an unknown scheme")),
        };
        let hosts = hosts.split(',').map(|host| self::host(host, port)).collect::<Result<Vec<_>, _>>()?;
        if hosts.len() > 1 && kind == Kind::One {
            return Err(NotAnAddress("names several hosts without +cluster or +sentinel"));
        }
        let database =
            if path.is_empty() { 0 } else { path.parse().map_err(|_| NotAnAddress("has no number of a database"))? };
        if database != 0 && kind == Kind::Cluster {
            return Err(NotAnAddress("names a database, which a cluster has none of"));
        }
        let mut sentinel_login = Login::default();
        for (name, value) in
            query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        {
            match name {
                "sentinel_user" => sentinel_login.user = Some(plain(value)?),
                "sentinel_password" => sentinel_login.password = Some(plain(value)?),
                _ => return Err(NotAnAddress("has an unknown parameter")),
            }
        }
        Ok(Self { kind, tls, hosts, login: self::login(login)?, sentinel_login, database })
    }

    /// Parts that the keys are divided into: each is a slot of its own, and one server needs one only.
    pub(super) const fn parts(&self) -> u16 {
        match self.kind {
            Kind::Cluster => 16,
            Kind::One | Kind::Sentinel { .. } => 1,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self.kind {
            Kind::One => "",
            Kind::Cluster => "+cluster",
            Kind::Sentinel { .. } => "+sentinel",
        };
        write!(f, "redis{}{form}://", if self.tls { "s" } else { "" })?;
        for (at, (host, port)) in self.hosts.iter().enumerate() {
            write!(f, "{}{host}:{port}", if at == 0 { "" } else { "," })?;
        }
        match &self.kind {
            Kind::Sentinel { master } => write!(f, "/{master}"),
            Kind::One | Kind::Cluster => Ok(()),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

fn login(text: &str) -> Result<Login, NotAnAddress> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let given = |text: &str| if text.is_empty() { Ok(None) } else { plain(text).map(Some) };
    Ok(Login { user: given(user)?, password: given(password)? })
}

fn host(text: &str, port: u16) -> Result<(String, u16), NotAnAddress> {
    const NONE: NotAnAddress = NotAnAddress("names no host and port");
    let (name, rest) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or(NONE)?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => port.parse().map_err(|_| NONE)?,
        None if rest.is_empty() => port,
        None => return Err(NONE),
    };
    if name.is_empty() { Err(NONE) } else { Ok((name.to_owned(), port)) }
}

/// Percent-decoded.
fn plain(text: &str) -> Result<String, NotAnAddress> {
    const BENT: NotAnAddress = NotAnAddress("has a percent sign that is not followed by two hex digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or(BENT);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| BENT)?);
    }
    String::from_utf8(bytes).map_err(|_| BENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_address_is_read_and_shown_without_its_password() {
        for (text, shown) in [
            ("redis://localhost", "redis://localhost:6379"),
            ("rediss://app:s%40fe@cache.example.com:6380/2", "rediss://cache.example.com:6380"),
            ("redis://:s%40fe@[::1]:7000", "redis://::1:7000"),
            ("redis+cluster://s%40fe:s%40fe@a:1,b:2", "redis+cluster://a:1,b:2"),
            ("rediss+sentinel://:s%40fe@a,b:2/main/3?sentinel_password=s%40fe", "rediss+sentinel://a:26379,b:2/main"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.to_string(), shown);
            assert!(!format!("{address:?}").contains("s@fe"));
        }
        let full = Address::parse("rediss://app:s%40fe@cache.example.com:6380/2").unwrap();
        assert_eq!((full.login.user.as_deref(), full.login.password.as_deref()), (Some("app"), Some("s@fe")));
        assert_eq!((full.tls, full.database, full.parts()), (true, 2, 1));
        assert_eq!(Address::parse("redis+cluster://a").unwrap().parts(), 16);
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_shown() {
        for text in [
            "",
            "secret",
            "http://secret",
            "redis://",
            "redis://secret:x",
            "redis://a,b",
            "redis+sentinel://secret",
            "redis+cluster://secret/1",
            "redis://secret/x",
            "redis://%zz@secret",
            "redis://secret?x=1",
            "redis+x://secret",
        ] {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{text}: {error}");
        }
    }
}
