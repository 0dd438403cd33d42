//! The keys of each section, and what one key may hold.

use super::{
    FreshnessSection, Harm, Located, MatchSection, PersonalData, PolicyFile, PrivacySection, ReuseSection, Sharing,
    SpellingSection, Tier, VolatileSection, Write, reader::Section,
};

const ROOT: &[&str] =
    &["category", "summary", "owner", "match", "freshness", "reuse", "privacy", "volatile", "spelling"];
const MATCH: &[&str] = &["paths", "models", "system", "phrases", "patterns", "except", "examples", "min_similarity"];
const FRESHNESS: &[&str] = &["ttl", "stale_while_revalidate", "stale_if_error"];
const REUSE: &[&str] = &["tier", "harm", "max_wrong_hits", "scope", "writers", "write", "audit", "cost_of_wrong_usd"];
const PRIVACY: &[&str] = &["questions", "answers", "traffic_text"];
const VOLATILE: &[&str] = &["phrases", "patterns", "ttl"];
const SPELLING: &[&str] = &["shorthand", "words"];

/// Keys of every section, with the section, for the hint on a key that stands in the wrong place.
fn elsewhere() -> Vec<(&'static str, &'static str)> {
    let of = |keys: &'static [&'static str], section: &'static str| keys.iter().map(move |key| (*key, section));
    of(MATCH, "[match]")
        .chain(of(FRESHNESS, "[freshness]"))
        .chain(of(REUSE, "[reuse]"))
        .chain(of(PRIVACY, "[privacy]"))
        .chain(of(&ROOT[..3], "the top of the file, before any [section]"))
        .collect()
}

pub(super) fn file(root: &mut Section<'_>) -> PolicyFile {
    root.reject_unknown(ROOT, &elsewhere());
    PolicyFile {
        name: root.file().to_owned(),
        category: category(root),
        summary: root.text("summary"),
        owner: root.text("owner"),
        matching: root.table("match", matching),
        freshness: root.table("freshness", freshness),
        reuse: root.table("reuse", reuse),
        privacy: root.table("privacy", privacy),
        volatile: root.tables("volatile", |section| Located { line: section.line(), value: volatile(section) }),
        spelling: root.table("spelling", |section| Some(Located { line: section.line(), value: spelling(section) })),
    }
}

/// A category is a header value, a metric label and a file name, so it keeps to what all three can hold.
fn category(root: &mut Section<'_>) -> Option<Located<String>> {
    let found = root.text("category")?;
    let fits = found.value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && found.value.starts_with(|c: char| c.is_ascii_lowercase())
        && found.value.len() <= 64;
    if !fits {
        let message = format!(
            "{:?} is not a category name; use lower-case letters, digits and hyphens, such as \"product-faq\"",
            found.value
        );
        root.note(found.line, "category", message);
        return None;
    }
    Some(found)
}

fn matching(section: &mut Section<'_>) -> MatchSection {
    section.reject_unknown(MATCH, &elsewhere());
    MatchSection {
        line: section.line(),
        paths: section.texts("paths"),
        models: section.texts("models"),
        system: section.texts("system"),
        phrases: section.texts("phrases"),
        patterns: section.texts("patterns"),
        except: section.texts("except"),
        examples: section.texts("examples"),
        min_similarity: section.number("min_similarity", 0.0..1.0),
    }
}

fn freshness(section: &mut Section<'_>) -> FreshnessSection {
    section.reject_unknown(FRESHNESS, &elsewhere());
    FreshnessSection {
        line: section.line(),
        ttl: section.duration("ttl"),
        stale_while_revalidate: section.duration("stale_while_revalidate"),
        stale_if_error: section.duration("stale_if_error"),
    }
}

fn reuse(section: &mut Section<'_>) -> ReuseSection {
    section.reject_unknown(REUSE, &elsewhere());
    ReuseSection {
        tier: section.choice("tier", &[("exact", Tier::Exact), ("semantic", Tier::Semantic)]),
        harm: section
            .choice("harm", &[("annoying", Harm::Annoying), ("harmful", Harm::Harmful), ("liable", Harm::Liable)]),
        max_wrong_hits: section.number("max_wrong_hits", 0.0..1.0),
        scope: section.choice(
            "scope",
            &[("credential", Sharing::Credential), ("tenant", Sharing::Tenant), ("shared", Sharing::Shared)],
        ),
        writers: section.keys().iter().any(|key| key == "writers").then(|| section.texts("writers")),
        write: section
            .choice("write", &[("behind", Write::Behind), ("through", Write::Through), ("around", Write::Around)]),
        audit: section.number("audit", 0.0..1.0),
        cost_of_wrong_usd: section.number("cost_of_wrong_usd", 0.0..f64::INFINITY),
    }
}

fn privacy(section: &mut Section<'_>) -> PrivacySection {
    section.reject_unknown(PRIVACY, &elsewhere());
    let words = [("keep-out", PersonalData::KeepOut), ("exact", PersonalData::Exact), ("allow", PersonalData::Allow)];
    PrivacySection {
        questions: section.choice("questions", &words),
        answers: section.choice("answers", &words),
        traffic_text: section.flag("traffic_text"),
    }
}

fn volatile(section: &mut Section<'_>) -> VolatileSection {
    section.reject_unknown(VOLATILE, &elsewhere());
    VolatileSection {
        phrases: section.texts("phrases"),
        patterns: section.texts("patterns"),
        ttl: section.duration("ttl"),
    }
}

fn spelling(section: &mut Section<'_>) -> SpellingSection {
    section.reject_unknown(SPELLING, &elsewhere());
    let words = section.texts("words");
    let shorthand = section.table("shorthand", |table| {
        let keys = table.keys();
        keys.into_iter().filter_map(|key| table.text(&key).map(|full| (key.to_lowercase(), full))).collect()
    });
    SpellingSection { shorthand, words }
}
