//! First turns that lean on a context the cache cannot see.

use super::text;

/// Whether `text` cannot be understood on its own: "and in Spain?", "how old is he?", "do the same for X".
pub fn leans_on_context(text: &str) -> bool {
    let tokens = text::tokens(text);
    let words: Vec<&str> = tokens.iter().map(|t| t.word.as_str()).collect();
    let Some(first) = words.first() else { return true };
    if matches!(*first, "and" | "but" | "also" | "so" | "then" | "or") && words.len() <= 8 {
        return true;
    }
    let opening = |phrase: &[&str]| words.starts_with(phrase);
    if opening(&["what", "about"])
        || opening(&["how", "about"])
        || opening(&["same", "for"])
        || opening(&["what", "if"]) && words.len() <= 5
    {
        return words.len() <= 8;
    }
    if words.windows(2).any(|w| matches!(w, ["the", "same"])) && matches!(*first, "do" | "same" | "the" | "now") {
        return true;
    }
    if words.len() <= 2
        && matches!(
            *first,
            "why" | "how" | "more" | "continue" | "again" | "explain" | "yes" | "no" | "when" | "where" | "who"
        )
    {
        return true;
    }
    pronoun_without_noun(&tokens)
}

/// A pronoun as the subject matter, and no noun before it that it could stand for.
fn pronoun_without_noun(tokens: &[text::Token]) -> bool {
    let pronoun = |w: &str| {
        matches!(
            w,
            "he" | "she"
                | "him"
                | "her"
                | "his"
                | "hers"
                | "they"
                | "them"
                | "their"
                | "it"
                | "its"
                | "that"
                | "this"
                | "those"
                | "these"
        )
    };
    let Some(at) = tokens.iter().position(|t| pronoun(&t.word)) else { return false };
    let word = |i: usize| tokens.get(i).map_or("", |t| t.word.as_str());
    let content =
        |part: &[text::Token]| text::units(part).iter().filter(|u| u.is_content() || u.number.is_some()).count();
    let pointing = matches!(word(at), "that" | "this" | "those" | "these");
    if pointing && !matches!(word(at + 1), "" | "mean" | "work" | "true" | "happen" | "one" | "called" | "again") {
        return false;
    }
    // "is it legal to": the pronoun stands for what follows.
    let dummy = word(at) == "it"
        && tokens[at..]
            .iter()
            .any(|t| matches!(t.word.as_str(), "to" | "if" | "that" | "when" | "take" | "in" | "for"));
    let object = matches!(word(at), "his" | "her" | "its" | "their") || tokens.len() - at <= 4;
    !dummy && object && content(&tokens[..at]) <= 1
}
