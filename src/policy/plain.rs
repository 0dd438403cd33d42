//! A policy in plain English, one thought a sentence, for whoever decides what it should say.
//!
//! Pure and deterministic. Each sentence says what the gateway does, not what the file holds: a setting without effect
//! under the others is not promised. A setting that is added to a [`Policy`] does not compile here until it has words.

mod words;

use super::{
    EMBEDDINGS, Freshness, Harm, MatchSection, PersonalData, Policy, PolicyFile, Privacy, Reuse, Sharing, Tier,
    VolatileSection, Write, compile::DEFAULT_CATEGORY, file::Located,
};
pub(super) use words::{count, list, share, some_of, time, times};

/// The smallest budget of wrong hits that the verifier's bars were measured for: below it nothing is reused by meaning.
pub const SMALLEST_BUDGET: f64 = 0.003;
/// Phrases named before the rest are counted.
const NAMED: usize = 2;

/// `policy` in plain English; `typed` is its file, for how its questions are recognised.
pub fn plain(policy: &Policy, typed: &PolicyFile) -> Vec<String> {
    let Policy { category, summary: _, owner: _, freshness, reuse, privacy, min_similarity, revision: _ } = policy;
    let mut said = Vec::new();
    if freshness.is_never() {
        said.push(format!("{} are never stored: every question goes to the model.", answers(category)));
        said.push("Nothing of them is kept: no question, no answer, no vector, no words in the log.".to_owned());
        said.push(harm(reuse.harm).to_owned() + ".");
    } else {
        aging(category, freshness, &mut said);
        reusing(reuse, &mut said);
        personal(*privacy, &mut said);
    }
    said.extend(typed.volatile.iter().filter_map(|section| volatile(&section.value)));
    said.extend(recognised(category, &typed.matching, *min_similarity));
    said
}

/// What the policy is about, as the subject of a sentence.
pub(super) fn answers(category: &str) -> String {
    match category {
        DEFAULT_CATEGORY => "Answers that no other policy covers".to_owned(),
        EMBEDDINGS => "Vectors of texts".to_owned(),
        category => format!("Answers about {}", words::topic(category)),
    }
}

fn answer(category: &str) -> String {
    match category {
        DEFAULT_CATEGORY => "An answer that no other policy covers".to_owned(),
        EMBEDDINGS => "A vector of a text".to_owned(),
        category => format!("An answer about {}", words::topic(category)),
    }
}

fn aging(category: &str, freshness: &Freshness, said: &mut Vec<String>) {
    let Freshness { ttl, stale_while_revalidate, stale_if_error } = *freshness;
    let fresh = format!("{} is fresh for {}", answer(category), time(ttl));
    if stale_while_revalidate.is_zero() {
        said.push(format!("{fresh}; after that the next question fetches a new one."));
    } else {
        let more = words::more(stale_while_revalidate);
        said.push(format!("{fresh}; for {more} the old answer may be shown while a new one is fetched."));
    }
    said.push(match (stale_if_error.is_zero(), stale_while_revalidate.is_zero()) {
        (true, true) => "If the model fails, no old answer is shown: the reader gets the error.".to_owned(),
        (true, false) => "If the model fails, nothing older than that is shown: the reader gets the error.".to_owned(),
        (false, _) => format!(
            "If the model fails, the old answer may be shown for up to {} after it stopped being fresh.",
            time(stale_if_error)
        ),
    });
    let longest = freshness.longest_stale();
    if !longest.is_zero() {
        said.push(format!("Nobody is shown an answer older than {}.", time(ttl.saturating_add(longest))));
    }
}

/// All that is to be said of reuse.
fn reusing(reuse: &Reuse, said: &mut Vec<String>) {
    let Reuse { tier: _, harm: _, max_wrong_hits: _, scope: _, writers: _, write, audit: _, cost_of_wrong_usd: _ } =
        reuse;
    said.extend(reworded(reuse));
    said.extend(cost(reuse));
    said.extend(audit(reuse));
    said.push(sharing(reuse));
    said.push(written(*write).to_owned());
}

/// Whether another wording can get a stored answer at all.
fn is_by_meaning(reuse: &Reuse) -> bool {
    reuse.tier == Tier::Semantic && reuse.max_wrong_hits >= SMALLEST_BUDGET
}

const ONLY_THE_SAME: &str = "Only the same question gets the stored answer; a reworded one goes to the model";

pub(super) const fn harm(harm: Harm) -> &'static str {
    match harm {
        Harm::Annoying => "A wrong answer here annoys: the reader asks again",
        Harm::Harmful => "A wrong answer here does harm: the reader loses time or money",
        Harm::Liable => "A wrong answer here is one that we answer for",
    }
}

fn reworded(reuse: &Reuse) -> [String; 2] {
    let budget = reuse.max_wrong_hits;
    let how = match reuse.tier {
        Tier::Exact => format!("{ONLY_THE_SAME}."),
        Tier::Semantic if budget >= 1.0 => {
            "A reworded question gets the stored answer however many of them are wrong.".to_owned()
        }
        Tier::Semantic if is_by_meaning(reuse) => format!(
            "A reworded question gets the stored answer only if at most {} such answers would be wrong.",
            share(budget)
        ),
        Tier::Semantic if budget > 0.0 => format!(
            "{ONLY_THE_SAME}: {} wrong is less than the program can vouch for ({}).",
            share(budget),
            share(SMALLEST_BUDGET)
        ),
        Tier::Semantic => format!("{ONLY_THE_SAME}, since none may be wrong."),
    };
    [how, format!("{}.", harm(reuse.harm))]
}

fn cost(reuse: &Reuse) -> Option<String> {
    let cost = reuse.cost_of_wrong_usd?;
    let said = format!("A wrong answer is said to cost {}", dollars(cost));
    Some(if !is_by_meaning(reuse) {
        format!("{said}; that changes nothing where only the same question is answered.")
    } else if cost > 0.0 {
        format!(
            "{said}: a reworded question gets the stored answer only where that risk costs less than the hit saves."
        )
    } else {
        format!("{said}, which asks for no more care.")
    })
}

pub(super) fn dollars(cost: f64) -> String {
    if cost > 0.0 && cost < 0.01 { format!("{cost} USD") } else { format!("{cost:.2} USD") }
}

fn audit(reuse: &Reuse) -> Option<String> {
    if !is_by_meaning(reuse) {
        return None;
    }
    if reuse.audit <= 0.0 {
        return Some(
            "None of these is checked in the background: wrong ones are found only when people report them.".to_owned(),
        );
    }
    let checked = if reuse.audit >= 1.0 { "All".to_owned() } else { share(reuse.audit) };
    Some(format!(
        "{checked} answers to reworded questions are asked again in the background and compared; if more are wrong than the limit, reworded questions go to the model until that is mended."
    ))
}

pub(super) fn sharing(reuse: &Reuse) -> String {
    let shared = match reuse.scope {
        Sharing::Credential => {
            return "Answers stay with the API key or login that asked: whoever uses the same one shares them, nobody else does."
                .to_owned();
        }
        Sharing::Tenant => "Everyone of the same tenant shares the answers",
        Sharing::Shared => "Everyone shares the answers, whoever asked first",
    };
    match reuse.writers.as_deref() {
        None => format!(
            "{shared}; they come from apps with a provider's own key, and from gateway keys with the scope \"shared\"."
        ),
        Some([]) => format!("{shared}, but nobody may write them: what is asked now stays with the key that asked."),
        Some(writers) => format!(
            "{shared}; only {} may write them, and what others ask stays with their own key.",
            list(&writers.iter().map(|writer| format!("\"{writer}\"")).collect::<Vec<_>>(), "and")
        ),
    }
}

pub(super) const fn written(write: Write) -> &'static str {
    match write {
        Write::Behind => {
            "An answer is on disk a moment after it was given; a crash may lose the last ones, which are then asked anew."
        }
        Write::Through => "An answer is on disk before its last word is sent: a crash loses none.",
        Write::Around => {
            "This gateway stores none of these answers itself; it only serves what came into its store another way."
        }
    }
}

fn personal(privacy: Privacy, said: &mut Vec<String>) {
    let Privacy { questions, answers, traffic_text } = privacy;
    if traffic_text {
        said.push(records_of(true).to_owned());
    }
    said.push(questions_with(questions).to_owned());
    said.push(answers_with(answers).to_owned());
    let dangerous = match (questions == PersonalData::Exact, answers == PersonalData::Exact) {
        (true, true) => "Passwords, keys and card numbers are never kept.",
        (true, false) => "A question with a password, a key or a card number is never kept.",
        (false, true) => "An answer with a password, a key or a card number is never kept.",
        (false, false) => return,
    };
    said.push(dangerous.to_owned());
}

pub(super) const fn records_of(text: bool) -> &'static str {
    if text {
        "Records of traffic, where they are switched on, may hold the words of questions without personal data."
    } else {
        "Records of traffic hold no words of questions."
    }
}

pub(super) const fn questions_with(privacy: PersonalData) -> &'static str {
    match privacy {
        PersonalData::KeepOut => "A question with personal data is neither looked up nor kept.",
        PersonalData::Exact => {
            "A question with personal data gets a stored answer only in the same words and with the same API key or login."
        }
        PersonalData::Allow => "Personal data in a question changes nothing.",
    }
}

pub(super) const fn answers_with(privacy: PersonalData) -> &'static str {
    match privacy {
        PersonalData::KeepOut => "An answer with personal data is not kept.",
        PersonalData::Exact => {
            "An answer with personal data is given again only for the same words, to the same API key or login."
        }
        PersonalData::Allow => "Personal data in an answer changes nothing.",
    }
}

/// Wording that shortens the life of an answer in any category; `None` for a section without a ttl or wording.
fn volatile(section: &VolatileSection) -> Option<String> {
    let (ttl, wording) = (section.ttl.as_ref()?.value, wording(section)?);
    Some(if ttl.is_zero() {
        format!("In any category, a question that {wording} is never answered from the store.")
    } else {
        format!("In any category, an answer to a question that {wording} is fresh for {} at most.", time(ttl))
    })
}

fn wording(section: &VolatileSection) -> Option<String> {
    let said = (!section.phrases.is_empty()).then(|| says(&section.phrases, "phrase", 3));
    let fits = (!section.patterns.is_empty()).then(|| fits(&section.patterns));
    let either: Vec<String> = [said, fits].into_iter().flatten().collect();
    (!either.is_empty()).then(|| either.join(" or "))
}

fn texts(list: &[Located<String>]) -> impl ExactSizeIterator<Item = &str> {
    list.iter().map(|text| text.value.as_str())
}

fn says(phrases: &[Located<String>], of: &str, named: usize) -> String {
    let beyond = phrases.len().saturating_sub(named);
    let mut shown: Vec<String> = texts(phrases).take(named).map(|text| format!("\"{text}\"")).collect();
    match beyond {
        0 => {}
        1 => shown.push(format!("one more {of}")),
        beyond => shown.push(format!("one of {beyond} more {of}s")),
    }
    format!("says {}", list(&shown, "or"))
}

fn fits(patterns: &[Located<String>]) -> String {
    match patterns.len() {
        1 => "fits a pattern".to_owned(),
        many => format!("fits one of {many} patterns"),
    }
}

/// How a question is known to belong here; `None` when nothing but the header can say so.
fn recognised(category: &str, matching: &MatchSection, min_similarity: f64) -> Option<String> {
    // Exceptions only keep the examples from being asked, and are too long to be told.
    let MatchSection {
        line: _,
        paths: _,
        models: _,
        system: _,
        phrases,
        patterns,
        except: _,
        examples,
        min_similarity: _,
    } = matching;
    let mut ways = Vec::new();
    ways.extend(route(matching));
    if !phrases.is_empty() {
        ways.push(format!("it {}", says(phrases, "phrase", NAMED)));
    }
    if !patterns.is_empty() {
        ways.push(format!("it {}", fits(patterns)));
    }
    if let Some(first) = examples.first() {
        let like = match examples.len() {
            1 => format!("its example \"{}\"", first.value),
            many => format!("one of {many} examples, such as \"{}\"", first.value.trim_end_matches('.')),
        };
        ways.push(format!("its meaning is near (similarity {min_similarity:.2} or more) to {like}"));
    }
    match (category, ways.is_empty()) {
        (DEFAULT_CATEGORY, true) => Some("A question belongs here when no other policy recognises it.".to_owned()),
        (DEFAULT_CATEGORY, false) => {
            Some(format!("A question belongs here when no other policy recognises it, or when {}.", ways.join(", or ")))
        }
        (EMBEDDINGS, true) => Some("Requests for embeddings belong here.".to_owned()),
        (_, true) => None,
        (_, false) => Some(format!("A question belongs here when {}.", ways.join(", or "))),
    }
}

/// Routes of a request: one of each kind must match.
fn route(matching: &MatchSection) -> Option<String> {
    let one_of = |list: &[Located<String>], before: &str, after: &str| {
        (!list.is_empty()).then(|| format!("{before} {}{after}", some_of(texts(list), NAMED, "or")))
    };
    let kinds = [
        one_of(&matching.paths, "goes to", ""),
        one_of(&matching.models, "asks the model", ""),
        one_of(&matching.system, "has", " in its system prompt"),
    ];
    let kinds: Vec<String> = kinds.into_iter().flatten().collect();
    (!kinds.is_empty()).then(|| format!("its request {}", list(&kinds, "and")))
}

#[cfg(test)]
mod tests;
