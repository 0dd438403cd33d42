//! Named upstreams: from tables as typed to routes that can be used.

use std::time::Duration;

use super::Check;
use crate::{
    config::{
        NamedUpstream, UpstreamChoice,
        args::Typed,
        table::{SECTION, UpstreamTable},
    },
    upstream::{
        http::{BaseUrl, Settings, Transport, check_authorities},
        routes::{KeyProblem, OwnKey, Route},
    },
    wire::Family,
};

/// Longest name of an upstream: it is a label in logs and metrics.
const LONGEST_NAME: usize = 64;

impl Check<'_> {
    /// Checks the tables one by one, then what they say of each other.
    pub(super) fn upstreams(&mut self, tables: &[UpstreamTable], timeouts: Settings) -> Vec<NamedUpstream> {
        let named: Vec<NamedUpstream> = tables.iter().map(|table| self.named(table, tables, timeouts)).collect();
        self.circles(tables, &named);
        self.forwarding(tables, &named);
        named
    }

    fn named(&mut self, table: &UpstreamTable, tables: &[UpstreamTable], timeouts: Settings) -> NamedUpstream {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if table.name.is_empty() || table.name.len() > LONGEST_NAME || !table.name.chars().all(plain) {
            let what = format!("{:?} is no name; write letters, digits, - and _, at most {LONGEST_NAME}", table.name);
            self.problems.push(table.origin.problem(SECTION, what));
        }
        let choice = self.upstream(&table.key("url"), table.url.as_ref());
        if table.url.is_none() {
            let what = "is needed; write the provider's base URL, or \"demo\" for the built-in model";
            self.problems.push(table.origin.problem(&table.key("url"), what));
        }
        NamedUpstream {
            name: table.name.clone(),
            route: Route {
                families: self.families(table),
                paths: self.patterns(table, "paths", table.paths.as_ref()),
                models: self.patterns(table, "models", table.models.as_ref()),
            },
            own_key: self.own_key(table),
            fallback: self.fallback(table, tables),
            transport: self.transport(table, choice.as_ref(), timeouts),
            choice: choice.unwrap_or(UpstreamChoice::Demo),
        }
    }

    fn families(&mut self, table: &UpstreamTable) -> Vec<Family> {
        let Some(typed) = &table.families else { return Vec::new() };
        let names = self.patterns(table, "families", Some(typed));
        let mut families = Vec::new();
        for name in names {
            match Family::from_name(&name) {
                Some(family) => families.push(family),
                None => {
                    let known: Vec<&str> = Family::ALL.iter().map(|family| family.as_str()).collect();
                    let what = format!("{name:?} is no protocol family; write {}", known.join(" or "));
                    self.report(&table.key("families"), typed, what);
                }
            }
        }
        families
    }

    /// A list of texts of which none is empty, and the list neither: an empty one would hold for nothing.
    fn patterns(&mut self, table: &UpstreamTable, key: &str, typed: Option<&Typed<Vec<String>>>) -> Vec<String> {
        let Some(typed) = typed else { return Vec::new() };
        if typed.value.is_empty() || typed.value.iter().any(|text| text.trim().is_empty()) {
            self.report(&table.key(key), typed, "holds nothing, or an empty text; name what it takes or leave it out");
        }
        if key == "paths"
            && let Some(path) = typed.value.iter().find(|path| !path.starts_with(['/', '*']))
        {
            self.report(&table.key(key), typed, format!("{path:?} is not a path; begin it with /"));
        }
        typed.value.clone()
    }

    fn own_key(&mut self, table: &UpstreamTable) -> Option<OwnKey> {
        let header = table.api_key_header.as_ref();
        let Some(variable) = &table.api_key_env else {
            if let Some(header) = header {
                let what = "is for a key of the gateway's own; set api_key_env as well or remove it";
                self.report(&table.key("api_key_header"), header, what);
            }
            return None;
        };
        if let Some(typed) = table.forward_credentials.as_ref().filter(|typed| typed.value) {
            let what = "has no meaning beside api_key_env, which replaces clients' credentials; remove one of the two";
            self.report(&table.key("forward_credentials"), typed, what);
        }
        let key = self.key_in(&table.key("api_key_env"), Some(variable))?;
        let own_key = OwnKey::new(header.map(|typed| typed.value.as_str()), key.expose());
        match (own_key, header) {
            (Ok(own_key), _) => return Some(own_key),
            (Err(problem @ KeyProblem::Header), Some(header)) => {
                self.report(&table.key("api_key_header"), header, format!("{:?} {problem}", header.value));
            }
            (Err(problem), _) => self.report(&table.key("api_key_env"), variable, problem.to_string()),
        }
        None
    }

    fn fallback(&mut self, table: &UpstreamTable, tables: &[UpstreamTable]) -> Option<usize> {
        let typed = table.fallback.as_ref()?;
        let found = tables.iter().position(|other| other.name == typed.value);
        if found.is_none() {
            let others: Vec<&str> =
                tables.iter().map(|other| other.name.as_str()).filter(|name| *name != table.name).collect();
            let others = if others.is_empty() { "another one".to_owned() } else { others.join(" or ") };
            let what = format!("{:?} is no [{SECTION}.NAME] of this file; write {others}", typed.value);
            self.report(&table.key("fallback"), typed, what);
        }
        found
    }

    fn transport(&mut self, table: &UpstreamTable, choice: Option<&UpstreamChoice>, timeouts: Settings) -> Transport {
        let mut time = |key: &str, typed: Option<&Typed<u64>>, usual: Duration| {
            let usual = u64::try_from(usual.as_millis()).unwrap_or(u64::MAX);
            self.time(&table.key(key), typed, usual, 1)
        };
        let timeouts = Settings {
            connect: time("connect_ms", table.connect_ms.as_ref(), timeouts.connect),
            first_byte: time("first_byte_ms", table.first_byte_ms.as_ref(), timeouts.first_byte),
            idle: time("idle_ms", table.idle_ms.as_ref(), timeouts.idle),
        };
        Transport {
            timeouts,
            http2_prior_knowledge: table.http2_prior_knowledge.as_ref().is_some_and(|typed| typed.value),
            authorities: self.authorities(table, choice),
        }
    }

    fn authorities(&mut self, table: &UpstreamTable, choice: Option<&UpstreamChoice>) -> Option<Vec<u8>> {
        let typed = table.ca_file.as_ref()?;
        let problem = match std::fs::read(&typed.value) {
            _ if !choice.and_then(base).is_none_or(|base| base.is_encrypted()) => {
                "is for an upstream whose url begins with https://; remove it".to_owned()
            }
            Err(error) => format!("{} cannot be read: {error}", typed.value.display()),
            Ok(pem) => match check_authorities(&pem) {
                Ok(()) => return Some(pem),
                Err(problem) => format!("{} {problem}", typed.value.display()),
            },
        };
        self.report(&table.key("ca_file"), typed, problem);
        None
    }

    /// Finds fallbacks that lead back to where they began; each circle is told once.
    fn circles(&mut self, tables: &[UpstreamTable], named: &[NamedUpstream]) {
        for (start, table) in tables.iter().enumerate() {
            let next = |place: &usize| named.get(*place).and_then(|named| named.fallback);
            let walk: Vec<usize> = std::iter::successors(next(&start), next).take(named.len()).collect();
            let Some(end) = walk.iter().position(|place| *place == start) else { continue };
            let circle = walk.get(..=end).unwrap_or_default();
            if let Some(typed) = table.fallback.as_ref().filter(|_| circle.iter().all(|place| *place >= start)) {
                let names = circle.iter().filter_map(|place| tables.get(*place)).map(|table| table.name.as_str());
                let path: Vec<&str> = std::iter::once(table.name.as_str()).chain(names).collect();
                self.report(&table.key("fallback"), typed, format!("leads in a circle: {}", path.join(" -> ")));
            }
        }
    }

    /// Refuses a fallback that would be sent a credential which its client meant for somebody else.
    fn forwarding(&mut self, tables: &[UpstreamTable], named: &[NamedUpstream]) {
        for (table, from) in tables.iter().zip(named) {
            let Some((to_table, to)) = from.fallback.and_then(|place| Some((tables.get(place)?, named.get(place)?)))
            else {
                continue;
            };
            let forwards = to_table.forward_credentials.as_ref().is_some_and(|typed| typed.value);
            if to_table.api_key_env.is_some() || forwards {
                continue;
            }
            let meant_for_it = table.api_key_env.is_none()
                && match (base(&from.choice), base(&to.choice)) {
                    (Some(from), Some(to)) => to.has_origin_of(&from),
                    _ => false,
                };
            // Nothing leaves this process for the built-in model.
            if let Some(typed) = table.fallback.as_ref().filter(|_| to.choice != UpstreamChoice::Demo && !meant_for_it)
            {
                let what = format!(
                    "{} would be sent credentials that clients meant for {}; set {} (or {} = true, if it may have them)",
                    to.name,
                    from.name,
                    to_table.key("api_key_env"),
                    to_table.key("forward_credentials"),
                );
                self.report(&table.key("fallback"), typed, what);
            }
        }
    }
}

fn base(choice: &UpstreamChoice) -> Option<BaseUrl> {
    match choice {
        UpstreamChoice::Url(url) => BaseUrl::parse(url).ok(),
        UpstreamChoice::Demo | UpstreamChoice::Providers => None,
    }
}
