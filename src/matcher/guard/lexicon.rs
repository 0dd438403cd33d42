//! The word lists, compiled once into one table: phrase of stems -> class, canonical word and tags.
//!
//! A list is text: `[section]` opens a group whose lines are its values; a line with `|` is a group of its own whose
//! sides are its values; commas part the wordings of one value; after a semicolon stand narrower names, which share the
//! value but not the meaning. `#` opens a comment.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::text::{self, Class, Key};

/// Which list a tag comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Family {
    Antonym,
    Comparison,
    Conjunction,
    Currency,
    Date,
    Entity,
    Format,
    Language,
    Order,
    Person,
    Quantifier,
    Role,
    Synonym,
    Tense,
    Tier,
    Unit,
}

/// One meaning of a phrase: a value of a group of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) family: Family,
    pub(super) group: u16,
    pub(super) value: u16,
}

/// What the lists say about one phrase.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) class: Option<Class>,
    pub(super) canonical: Option<Key>,
    pub(super) tags: Vec<Tag>,
}

/// The stems of a phrase after its first.
type Tail = Box<[Key]>;

#[derive(Debug, Default)]
struct Table {
    /// First stem -> phrases, longest first.
    phrases: HashMap<Key, Vec<(Tail, Entry)>>,
    next_group: u16,
}

const LISTS: &[(Family, &str)] = &[
    (Family::Synonym, include_str!("data/synonyms.txt")),
    (Family::Entity, include_str!("data/entities.txt")),
    (Family::Language, include_str!("data/languages.txt")),
    (Family::Antonym, include_str!("data/antonyms.txt")),
    (Family::Order, super::order::LIST),
    (Family::Date, super::dates::LIST),
    (Family::Unit, super::units::LIST),
    (Family::Currency, super::units::CURRENCIES),
    (Family::Format, super::formats::LIST),
    (Family::Quantifier, super::quantifiers::LIST),
    (Family::Conjunction, super::quantifiers::CONJUNCTIONS),
    (Family::Tier, super::tiers::LIST),
    (Family::Role, super::roles::LIST),
    (Family::Person, super::roles::PERSONS),
    (Family::Tense, super::tense::LIST),
    (Family::Comparison, super::comparison::LIST),
];

static TABLE: LazyLock<Table> = LazyLock::new(build);
static EXPANSIONS: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| pairs(include_str!("data/expansions.txt")));
static IRREGULAR: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| pairs(include_str!("data/irregular.txt")));

fn lines(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'))
}

/// `form: expansion` lines.
fn pairs(list: &'static str) -> HashMap<&'static str, &'static str> {
    lines(list)
        .filter_map(|line| line.split_once(':'))
        .flat_map(|(forms, to)| forms.split(',').map(move |form| (form.trim(), to.trim())))
        .collect()
}

/// The words a short form stands for, such as `w/o` or `cant`.
pub(super) fn expansion(word: &str) -> Option<&'static str> {
    EXPANSIONS.get(word).copied()
}

/// The base of an irregular inflection.
pub(super) fn irregular(word: &str) -> Option<&'static str> {
    IRREGULAR.get(word).copied()
}

/// Whether `'s` after `word` is the verb, not a possessive.
pub(super) fn takes_is(word: &str) -> bool {
    matches!(
        word,
        "what"
            | "where"
            | "who"
            | "when"
            | "how"
            | "why"
            | "that"
            | "there"
            | "here"
            | "it"
            | "he"
            | "she"
            | "let"
            | "which"
    )
}

/// The longest phrase known at `at`, and its length in tokens.
pub(super) fn longest(stems: &[Key], at: usize) -> Option<(&'static Entry, usize)> {
    let first = stems.get(at)?;
    let rest = &stems[at + 1..];
    TABLE
        .phrases
        .get(first)?
        .iter()
        .find(|(tail, _)| rest.starts_with(tail))
        .map(|(tail, entry)| (entry, tail.len() + 1))
}

fn build() -> Table {
    let mut table = Table::default();
    add_class(&mut table, include_str!("data/function.txt"), Class::Function);
    add_class(&mut table, include_str!("data/filler.txt"), Class::Filler);
    for (family, list) in LISTS {
        add_list(&mut table, *family, list);
    }
    for phrases in table.phrases.values_mut() {
        phrases.sort_by_key(|(tail, _)| std::cmp::Reverse(tail.len()));
    }
    table
}

fn add_class(table: &mut Table, list: &'static str, class: Class) {
    for phrase in lines(list).flat_map(|l| l.split(',')) {
        if let Some(entry) = entry(table, phrase) {
            entry.class = Some(class);
        }
    }
}

fn add_list(table: &mut Table, family: Family, list: &'static str) {
    let (mut group, mut value) = (table.next_group, 0);
    for line in lines(list) {
        if line.starts_with('[') {
            table.next_group += 1;
            group = table.next_group;
            value = 0;
            continue;
        }
        let own_group = line.contains('|');
        let in_group = if own_group {
            table.next_group += 1;
            table.next_group
        } else {
            group
        };
        for (side, wordings) in (0..).zip(line.split('|')) {
            let value = if own_group { side } else { value };
            add_value(table, Tag { family, group: in_group, value }, wordings);
        }
        value += 1;
    }
    table.next_group += 1;
}

fn add_value(table: &mut Table, tag: Tag, wordings: &str) {
    let canonical = text::hash(&format!("{:?}/{}/{}", tag.family, tag.group, tag.value));
    let (same, within) = wordings.split_once(';').unwrap_or((wordings, ""));
    let wordings = same.split(',').map(|w| (w, true)).chain(within.split(',').map(|w| (w, false)));
    for (phrase, is_same) in wordings {
        let Some(entry) = entry(table, phrase) else { continue };
        if entry.canonical.is_none() && is_same {
            entry.canonical = Some(canonical);
        }
        if tag.family != Family::Synonym {
            entry.tags.push(tag);
        }
    }
}

fn entry<'t>(table: &'t mut Table, phrase: &str) -> Option<&'t mut Entry> {
    let stems: Vec<Key> = text::tokens(phrase.trim()).iter().map(|t| text::hash(&text::stem(&t.word))).collect();
    let (first, tail) = stems.split_first()?;
    let phrases = table.phrases.entry(*first).or_default();
    let at = match phrases.iter().position(|(known, _)| **known == *tail) {
        Some(at) => at,
        None => {
            phrases.push((tail.into(), Entry::default()));
            phrases.len() - 1
        }
    };
    phrases.get_mut(at).map(|(_, entry)| entry)
}

#[cfg(test)]
mod tests {
    use super::{LISTS, lines};

    #[test]
    fn every_line_of_every_list_is_a_section_or_holds_wordings() {
        for (family, list) in LISTS {
            for line in lines(list) {
                let section = line.starts_with('[') && line.ends_with(']');
                let sides: Vec<&str> = line.split('|').collect();
                let filled = sides.iter().all(|s| s.split([',', ';']).all(|w| !w.trim().is_empty()));
                assert!(section || filled, "{family:?}: {line}");
            }
        }
    }
}
