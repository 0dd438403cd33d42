//! `[upstreams.NAME]` as typed. Tables have no flags and no variables: they stand in the settings file only.

use super::{
    args::Typed,
    problem::{Origin, Problem},
    value::Setting,
};

/// The section that holds them.
pub(super) const SECTION: &str = "upstreams";

macro_rules! table {
    ($($(#[$doc:meta])* $field:ident: $kind:ty = $key:literal,)+) => {
        /// One named upstream as typed: every field optional, each with its line.
        #[derive(Debug, Clone)]
        pub(super) struct UpstreamTable {
            pub(super) name: String,
            /// Where its head stands.
            pub(super) origin: Origin,
            $($(#[$doc])* pub(super) $field: Option<Typed<$kind>>,)+
        }

        impl UpstreamTable {
            /// Every key.
            pub(super) const KEYS: &'static [&'static str] = &[$($key,)+];

            /// A table of which nothing has been read yet.
            pub(super) const fn new(name: String, origin: Origin) -> Self {
                Self { name, origin, $($field: None,)+ }
            }

            /// Takes the value of `key`, which must be one of [`Self::KEYS`].
            pub(super) fn take(&mut self, key: &str, value: &toml_edit::Value, origin: Origin) -> Result<(), Problem> {
                let full = self.key(key);
                match key {
                    $($key => match <$kind>::from_toml(value) {
                        Some(value) => self.$field = Some(Typed { value, origin }),
                        None => {
                            let what = format!("{value} is not {}", <$kind>::WANTS);
                            return Err(origin.problem(&full, what.trim_start()));
                        }
                    },)+
                    _ => return Err(origin.problem(&full, "unknown key")),
                }
                Ok(())
            }
        }
    };
}

table! {
    /// Base URL, or "demo".
    url: String = "url",
    /// Protocols it takes.
    families: Vec<String> = "families",
    /// Paths it takes.
    paths: Vec<String> = "paths",
    /// Models it takes.
    models: Vec<String> = "models",
    /// Name of the variable that holds the gateway's own key.
    api_key_env: String = "api_key_env",
    /// Header that carries that key.
    api_key_header: String = "api_key_header",
    /// Name of the upstream that is asked when it fails.
    fallback: String = "fallback",
    /// Send it clients' credentials that were meant for the upstream it stands in for.
    forward_credentials: bool = "forward_credentials",
    /// As `timeouts.connect_ms`.
    connect_ms: u64 = "connect_ms",
    /// As `timeouts.first_byte_ms`.
    first_byte_ms: u64 = "first_byte_ms",
    /// As `timeouts.idle_ms`.
    idle_ms: u64 = "idle_ms",
    /// Speak HTTP/2 from the first byte.
    http2_prior_knowledge: bool = "http2_prior_knowledge",
    /// File of certificates trusted beside the system's.
    ca_file: std::path::PathBuf = "ca_file",
}

impl UpstreamTable {
    /// The dotted name of one of its keys.
    pub(super) fn key(&self, key: &str) -> String {
        format!("{SECTION}.{}.{key}", self.name)
    }
}
