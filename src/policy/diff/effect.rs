//! What a change of one setting does, in a sentence or two. Pure.

use std::{collections::BTreeMap, time::Duration};

use super::super::{
    Tier,
    plain::{SMALLEST_BUDGET, dollars, share, some_of, time, times},
};

/// Texts named before the rest are counted.
const NAMED: usize = 3;

pub(super) fn category(to: &str) -> String {
    format!(
        "The policy is for another category now: apps name it as \"{to}\", and what is stored is kept under that name."
    )
}

pub(super) fn ttl(from: Duration, to: Duration) -> String {
    let instead = format!("each is fresh for {} instead of {}", time(to), time(from));
    if to.is_zero() {
        "Answers are no longer stored: every question goes to the model, and what is stored already is not served any more."
            .to_owned()
    } else if from.is_zero() {
        format!("Answers are stored from now on: each is fresh for {}.", time(to))
    } else if to < from {
        format!("Answers are fetched anew up to {} as often: {instead}.", times(from.as_secs_f64(), to.as_secs_f64()))
    } else {
        format!("Answers may be {} as old: {instead}.", times(to.as_secs_f64(), from.as_secs_f64()))
    }
}

pub(super) fn while_refreshing(from: Duration, to: Duration) -> String {
    if to.is_zero() {
        "No old answer is shown while a new one is fetched: readers wait for the new one.".to_owned()
    } else if from.is_zero() {
        format!(
            "For {} after that the old answer may be shown while a new one is fetched: faster, and older.",
            time(to)
        )
    } else {
        format!("The old answer may be shown for {} instead of {} while a new one is fetched.", time(to), time(from))
    }
}

pub(super) fn while_failing(from: Duration, to: Duration) -> String {
    if to.is_zero() {
        "If the model fails, readers get the error instead of an old answer.".to_owned()
    } else if from.is_zero() {
        format!("If the model fails, the old answer may be shown for up to {} instead of the error.", time(to))
    } else {
        format!("If the model fails, the old answer may be shown for up to {} instead of {}.", time(to), time(from))
    }
}

pub(super) const fn tier(to: Tier) -> &'static str {
    match to {
        Tier::Exact => "Reworded questions go to the model: only the same question gets the stored answer.",
        Tier::Semantic => {
            "Reworded questions may get the stored answer too: fewer calls, and now and then a wrong answer."
        }
    }
}

pub(super) fn budget(from: f64, to: f64) -> String {
    match (from >= SMALLEST_BUDGET, to >= SMALLEST_BUDGET) {
        (false, false) => "Reworded questions go to the model, as before.".to_owned(),
        (true, false) => {
            "Reworded questions go to the model: only the same question gets the stored answer.".to_owned()
        }
        (false, true) => {
            format!(
                "Reworded questions may get the stored answer, if at most {} such answers would be wrong.",
                share(to)
            )
        }
        (true, true) => {
            let then = if to < from { "fewer" } else { "more" };
            let (from, to) = (share(from), share(to));
            format!(
                "Of the answers to reworded questions {to} may be wrong instead of {from}: {then} of them come from the store."
            )
        }
    }
}

pub(super) fn audit(from: f64, to: f64) -> String {
    if to <= 0.0 {
        return "Answers to reworded questions are no longer checked in the background: wrong ones are found only when people report them.".to_owned();
    }
    let then = if to > from {
        "more calls, and wrong ones are found sooner"
    } else {
        "fewer calls, and wrong ones are found later"
    };
    let from = if from <= 0.0 { "none".to_owned() } else { share(from) };
    format!(
        "Of the answers to reworded questions {} are asked again in the background instead of {from}: {then}.",
        share(to)
    )
}

pub(super) fn cost(from: Option<f64>, to: Option<f64>) -> String {
    let Some(cost) = to else {
        return "What a wrong answer costs counts no longer; only the limit on wrong ones does.".to_owned();
    };
    let then = if from.is_none_or(|from| from < cost) { "fewer" } else { "more" };
    format!("A wrong answer counts as {}: {then} reworded questions are answered from the store.", dollars(cost))
}

pub(super) fn nearness(from: f64, to: f64) -> String {
    let then = if to < from { "more questions" } else { "fewer questions" };
    format!("The examples catch {then}: one belongs here from a similarity of {to} to an example, instead of {from}.")
}

pub(super) fn recognised(key: &str, added: &[&str], removed: &[&str]) -> String {
    let named = |texts: &[&str]| some_of(texts.iter().copied(), NAMED, "and");
    let (now, no_longer) = if key == "match.except" {
        (
            "The examples are no longer asked about questions that fit",
            "The examples are asked again about questions that fit",
        )
    } else {
        ("Questions are now recognised by", "Questions are no longer recognised by")
    };
    let told = [(now, added), (no_longer, removed)];
    let told =
        told.iter().filter(|(_, texts)| !texts.is_empty()).map(|(said, texts)| format!("{said} {}.", named(texts)));
    told.collect::<Vec<_>>().join(" ")
}

pub(super) fn volatile(old: &BTreeMap<&str, Duration>, new: &BTreeMap<&str, Duration>) -> String {
    let mut by_cap: BTreeMap<Duration, Vec<&str>> = BTreeMap::new();
    for (text, cap) in new.iter().filter(|(text, cap)| old.get(*text) != Some(cap)) {
        by_cap.entry(*cap).or_default().push(text);
    }
    let named = |texts: &[&str]| some_of(texts.iter().copied(), NAMED, "or");
    let mut told: Vec<String> = by_cap
        .iter()
        .map(|(cap, texts)| {
            if cap.is_zero() {
                format!("In any category, a question with {} always goes to the model.", named(texts))
            } else {
                let most = time(*cap);
                format!("In any category, an answer to a question with {} is fresh for {most} at most.", named(texts))
            }
        })
        .collect();
    let gone: Vec<&str> = old.keys().filter(|text| !new.contains_key(*text)).copied().collect();
    if !gone.is_empty() {
        told.push(format!("A question with {} is treated like any other of its category.", named(&gone)));
    }
    told.join(" ")
}

pub(super) fn spelling(added: &[&str], removed: &[&str]) -> String {
    let named = |texts: &[&str]| some_of(texts.iter().copied(), NAMED, "and");
    let told = [("Hurried writing is now read with", added), ("Hurried writing is no longer read with", removed)];
    let told =
        told.iter().filter(|(_, texts)| !texts.is_empty()).map(|(said, texts)| format!("{said} {}.", named(texts)));
    told.collect::<Vec<_>>().join(" ")
}
