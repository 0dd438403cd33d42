//! E-mail addresses, and passwords inside URLs: what stands around an `@`.

use super::{Finding, Kind};

/// Bytes of a local part, by RFC 5321.
const LOCAL: usize = 64;
/// Bytes of a domain, by RFC 5321.
const DOMAIN: usize = 255;
/// Bytes of the user and password of a URL that are looked at.
const USER_INFO: usize = 200;

/// Names that are nobody's: reserved for examples (RFC 2606), or written where an address is to be filled in.
const NOBODYS_DOMAINS: [&str; 7] =
    ["example.com", "example.net", "example.org", "domain.com", "yourdomain.com", "mydomain.com", "yourcompany.com"];
/// Reserved by RFC 2606 and RFC 6762.
const NOBODYS_ENDINGS: [&str; 5] = ["example", "test", "invalid", "localhost", "local"];
/// Addresses of machines.
const NOBODYS_NAMES: [&str; 6] = ["noreply", "no-reply", "donotreply", "do-not-reply", "git", "postmaster"];
/// Endings of files: `icon@2x.png` is none.
const FILES: [&str; 13] = ["png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "json", "ts", "html", "pdf", "mp4"];
/// Passwords that say where one belongs.
const PLACEHOLDERS: [&str; 6] = ["password", "pass", "passwd", "pwd", "secret", "token"];

/// Everything around the `@`s of `text`.
pub(super) fn find(text: &str) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for (at, _) in text.match_indices('@') {
        found.extend(credentials(text, at).or_else(|| address(text, at, at + 1)));
    }
    for (mark, spoken) in [("(at)", "(dot)"), ("[at]", "[dot]"), (" at ", " dot ")] {
        // Written out to be read by people only.
        for (at, _) in text.match_indices(mark) {
            found.extend(spoken_address(text, at, mark.len(), spoken));
        }
    }
    found
}

fn address(text: &str, local_ends: usize, domain_begins: usize) -> Option<Finding> {
    let before = &text[text.ceil_char_boundary(local_ends.saturating_sub(LOCAL))..local_ends];
    let is_local = |c: char| c.is_alphanumeric() || "._%+-'".contains(c);
    let local = before.rsplit(|c| !is_local(c)).next()?.trim_start_matches(|c: char| !c.is_alphanumeric());
    let after = &text[domain_begins..text.floor_char_boundary(domain_begins + DOMAIN)];
    let domain = after.split(|c: char| !(c.is_alphanumeric() || c == '.' || c == '-')).next()?;
    let domain = domain.trim_end_matches(['.', '-']);
    let is_whose = !local.is_empty() && is_domain(domain) && !is_nobodys(local, domain);
    is_whose.then(|| Finding { kind: Kind::Email, range: local_ends - local.len()..domain_begins + domain.len() })
}

fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| !label.is_empty() && label.len() <= 63 && !label.starts_with('-');
    let Some((host, ending)) = domain.rsplit_once('.') else { return false };
    host.split('.').all(is_label) && ending.chars().count() >= 2 && ending.chars().all(char::is_alphabetic)
}

fn is_nobodys(local: &str, domain: &str) -> bool {
    let domain = domain.to_lowercase();
    let ending = domain.rsplit('.').next().unwrap_or_default();
    let under = |name: &str| domain.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    NOBODYS_DOMAINS.iter().any(|name| under(name))
        || NOBODYS_ENDINGS.contains(&ending)
        || FILES.contains(&ending)
        || NOBODYS_NAMES.iter().any(|name| local.eq_ignore_ascii_case(name))
}

/// `bob (at) gmail (dot) com`: the dot may be a real one, where the at is in brackets.
fn spoken_address(text: &str, at: usize, length: usize, dot: &str) -> Option<Finding> {
    let before = text[..at].trim_end_matches(' ');
    let local = before.rsplit(|c: char| !(c.is_ascii_alphanumeric() || "._+-".contains(c))).next()?;
    let after = &text[at + length..text.floor_char_boundary((at + length + DOMAIN).min(text.len()))];
    let lead = after.len() - after.trim_start_matches(' ').len();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || (c == '.' && dot != " dot ");
    let host = after[lead..].split(|c| !is_name(c)).next()?;
    let mut end = lead + host.len();
    let mut domain = host.trim_end_matches('.').to_owned();
    let rest = after[end..].trim_start_matches(' ');
    let bare = dot.trim();
    if let Some(rest) = rest.strip_prefix(bare).filter(|_| after[end..].starts_with(' ') || dot.starts_with(['(', '[']))
    {
        let ending = rest.trim_start_matches(' ').split(|c: char| !c.is_ascii_alphabetic()).next()?;
        domain = format!("{domain}.{ending}");
        end = after.len() - rest.trim_start_matches(' ').len() + ending.len();
    }
    let is_whose = !local.is_empty() && is_domain(&domain) && !is_nobodys(local, &domain);
    is_whose.then(|| Finding { kind: Kind::Email, range: before.len() - local.len()..at + length + end })
}

/// `scheme://user:password@host`.
fn credentials(text: &str, at: usize) -> Option<Finding> {
    let from = text.ceil_char_boundary(at.saturating_sub(USER_INFO));
    let before = text[from..at].rsplit(|c: char| c.is_whitespace() || c == '"' || c == '\'').next()?;
    let info = before.rsplit_once("://")?.1;
    let (_, password) = info.split_once(':')?;
    let real = password.len() >= 4
        && !password.contains(['/', '$', '{', '<', '['])
        && !PLACEHOLDERS.contains(&password.to_ascii_lowercase().as_str());
    real.then(|| Finding { kind: Kind::Secret, range: at - info.len()..at })
}
