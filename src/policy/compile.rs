//! Policy files as typed in, usable policies out: defaults filled in, what does not fit together named.
//!
//! Pure. A set is made only when no file has a problem: a half-read policy is a looser policy.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    Policy, Privacy, Reuse,
    built_in::EMBEDDINGS,
    file::{Harm, Located, PersonalData, PolicyFile, Problem, Sharing, Tier, Write},
    rules::{Rules, RulesBuilder, Target},
};
use crate::{freshness::Freshness, keys};

/// Name of the category that catches the rest.
pub const DEFAULT_CATEGORY: &str = "default";
/// How near an example must be where a file does not say.
pub const MIN_SIMILARITY: f64 = 0.60;
/// Share of semantic hits asked again upstream where a file does not say.
const AUDIT: f64 = 0.02;

/// Everything a policy set is made of.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) policies: Vec<Arc<Policy>>,
    pub(super) rules: Rules,
    pub(super) examples: Vec<(String, String)>,
}

/// Compiles the files of one set, in order; each comes with its revision. Problems are appended.
pub(super) fn compile(files: &[(PolicyFile, String)], problems: &mut Vec<Problem>) -> Option<Compiled> {
    let before = problems.len();
    unique_categories(files, problems);
    unique_examples(files, problems);
    let mut policies = Vec::new();
    let mut rules = RulesBuilder::default();
    let mut examples = Vec::new();
    for (file, revision) in files {
        let at = Compiler { file, problems };
        let index = policies.len();
        policies.extend(at.policy(revision));
        let mut at = Compiler { file, problems };
        at.matching(index, &mut rules);
        at.wording(&mut rules);
        let category = file.category.as_ref().map(|c| c.value.clone()).unwrap_or_default();
        examples.extend(file.matching.examples.iter().map(|e| (category.clone(), e.value.clone())));
    }
    let rules = rules.build(files.first().map_or("", |(file, _)| &file.name), problems)?;
    (problems.len() == before).then_some(Compiled {
        policies: policies.into_iter().map(Arc::new).collect(),
        rules,
        examples,
    })
}

fn problem(file: &PolicyFile, line: usize, key: &str, message: String) -> Problem {
    Problem { file: file.name.clone(), line: line.max(1), key: key.to_owned(), message }
}

fn unique_categories(files: &[(PolicyFile, String)], problems: &mut Vec<Problem>) {
    let mut seen: HashMap<&str, (&PolicyFile, usize)> = HashMap::new();
    for (file, _) in files {
        let Some(category) = &file.category else { continue };
        match seen.get(category.value.as_str()) {
            Some((first, line)) => {
                let message = format!("{:?} is already the category of {}:{line}", category.value, first.name);
                problems.push(problem(file, category.line, "category", format!("{message}; each file needs its own")));
            }
            None => {
                seen.insert(&category.value, (file, category.line));
            }
        }
    }
}

fn unique_examples(files: &[(PolicyFile, String)], problems: &mut Vec<Problem>) {
    let mut seen: HashMap<&str, (&PolicyFile, usize)> = HashMap::new();
    for (file, _) in files {
        for example in &file.matching.examples {
            if let Some((first, line)) = seen.get(example.value.as_str()) {
                let message = format!("{:?} is also an example of {}:{line}", example.value, first.name);
                problems.push(problem(
                    file,
                    example.line,
                    "match.examples",
                    format!("{message}; keep it in one of them"),
                ));
            } else {
                seen.insert(&example.value, (file, example.line));
            }
        }
    }
}

struct Compiler<'a> {
    file: &'a PolicyFile,
    problems: &'a mut Vec<Problem>,
}

impl Compiler<'_> {
    fn note(&mut self, line: usize, key: &str, message: impl Into<String>) {
        self.problems.push(problem(self.file, line, key, message.into()));
    }

    /// `None` when the name or the ttl is missing, which is noted unless the reader has noted it already.
    fn policy(mut self, revision: &str) -> Option<Policy> {
        let file = self.file;
        let freshness = self.freshness();
        let reuse = self.reuse();
        self.missing(
            file.category.is_none(),
            "category",
            "write a name of its own, such as category = \"product-faq\"",
        );
        let text = |field: &Option<Located<String>>| field.as_ref().map(|f| f.value.clone()).unwrap_or_default();
        Some(Policy {
            category: file.category.as_ref()?.value.clone(),
            summary: text(&file.summary),
            owner: text(&file.owner),
            freshness: freshness?,
            reuse,
            privacy: self.privacy(),
            min_similarity: file.matching.min_similarity.as_ref().map_or(MIN_SIMILARITY, |s| s.value),
            revision: revision.to_owned(),
        })
    }

    fn missing(&mut self, absent: bool, key: &str, right: &str) {
        let file = self.file;
        let noted = self.problems.iter().any(|p| p.file == file.name && (p.key == key || p.key.is_empty()));
        if absent && !noted {
            let line = if key.starts_with("freshness") { file.freshness.line } else { 1 };
            self.note(line, key, format!("is missing; {right}"));
        }
    }

    fn freshness(&mut self) -> Option<Freshness> {
        let section = &self.file.freshness;
        let right = "say how long an answer is fresh, such as ttl = \"24h\", or ttl = \"0s\" for never cached";
        self.missing(section.ttl.is_none(), "freshness.ttl", right);
        let windows = [
            ("freshness.stale_while_revalidate", &section.stale_while_revalidate),
            ("freshness.stale_if_error", &section.stale_if_error),
        ];
        if section.ttl.as_ref().is_some_and(|ttl| ttl.value.is_zero()) {
            for (key, window) in windows {
                if let Some(window) = window.as_ref().filter(|w| !w.value.is_zero()) {
                    let message =
                        "cannot be given with ttl = \"0s\": what is never stored is never served stale; remove it";
                    self.note(window.line, key, message);
                }
            }
        }
        let window = |field: &Option<Located<Duration>>| field.as_ref().map_or(Duration::ZERO, |w| w.value);
        Some(Freshness {
            ttl: section.ttl.as_ref()?.value,
            stale_while_revalidate: window(&section.stale_while_revalidate),
            stale_if_error: window(&section.stale_if_error),
        })
    }

    fn reuse(&mut self) -> Reuse {
        let section = &self.file.reuse;
        let harm = section.harm.as_ref().map_or(Harm::Annoying, |h| h.value);
        let liable = harm == Harm::Liable;
        if let Some(tier) = section.tier.as_ref().filter(|t| liable && t.value == Tier::Semantic) {
            let message =
                "cannot be \"semantic\" with harm = \"liable\": nobody can answer for a guess; write tier = \"exact\"";
            self.note(tier.line, "reuse.tier", message);
        }
        if let Some(share) = section.max_wrong_hits.as_ref().filter(|s| liable && s.value > 0.0) {
            let message = "must be 0 or absent with harm = \"liable\", which is exact only";
            self.note(share.line, "reuse.max_wrong_hits", message);
        }
        let scope = section.scope.as_ref().map_or(Sharing::Credential, |s| s.value);
        for writer in section.writers.iter().flatten() {
            if scope == Sharing::Credential {
                let message =
                    "is for what is shared: with scope = \"credential\" nobody else is served; remove one of the two";
                self.note(writer.line, "reuse.writers", message);
            } else if !keys::is_name(&writer.value) {
                let message =
                    format!("{:?} is no name of a key; write one that `semblance keys list` shows", writer.value);
                self.note(writer.line, "reuse.writers", message);
            }
        }
        let names = |writers: &Vec<Located<String>>| writers.iter().map(|writer| writer.value.clone()).collect();
        let by_harm = match harm {
            Harm::Annoying => 0.02,
            Harm::Harmful => 0.005,
            Harm::Liable => 0.0,
        };
        let tier = section.tier.as_ref().map_or(if liable { Tier::Exact } else { Tier::Semantic }, |t| t.value);
        Reuse {
            tier,
            harm,
            max_wrong_hits: section.max_wrong_hits.as_ref().map_or(by_harm, |s| s.value),
            scope,
            writers: section.writers.as_ref().map(names),
            write: section.write.as_ref().map_or(Write::Behind, |w| w.value),
            audit: section.audit.as_ref().map_or(if tier == Tier::Exact { 0.0 } else { AUDIT }, |a| a.value),
            cost_of_wrong_usd: section.cost_of_wrong_usd.as_ref().map(|c| c.value),
        }
    }

    /// Where a file says nothing, personal data is found by its own question only: no paraphrase and no other credential
    /// gets it, and who asks the same again still has a hit. Keeping it out would cost those hits and hide nothing more.
    fn privacy(&self) -> Privacy {
        let section = &self.file.privacy;
        let typed = |field: &Option<Located<PersonalData>>| field.as_ref().map_or(PersonalData::Exact, |f| f.value);
        Privacy {
            questions: typed(&section.questions),
            answers: typed(&section.answers),
            traffic_text: section.traffic_text.as_ref().is_some_and(|typed| typed.value),
        }
    }

    fn matching(&mut self, policy: usize, rules: &mut RulesBuilder) {
        let file = self.file;
        let section = &file.matching;
        let is_default = file.category.as_ref().is_some_and(|c| c.value == DEFAULT_CATEGORY);
        let lists =
            [&section.paths, &section.models, &section.system, &section.phrases, &section.patterns, &section.examples];
        let is_built_in = file.category.as_ref().is_some_and(|category| category.value == EMBEDDINGS);
        if lists.iter().all(|list| list.is_empty()) && !is_default && !is_built_in && file.category.is_some() {
            let right =
                "give phrases, patterns, examples, paths, models or system; only the default category catches the rest";
            self.note(section.line, "match", format!("nothing can match this category; {right}"));
        }
        for path in section.paths.iter().filter(|p| !p.value.starts_with('/')) {
            self.note(path.line, "match.paths", format!("{:?} is not a path; write \"/v1/...\"", path.value));
        }
        self.phrases("match.phrases", &section.phrases, Target::Policy(policy), rules);
        self.patterns("match.patterns", &section.patterns, Target::Policy(policy), rules);
        self.patterns("match.except", &section.except, Target::NoExamples(policy), rules);
        let bad: Vec<usize> = rules.add_route(policy, section);
        for line in bad {
            self.note(line, "match.system", "holds no word; write the words to look for");
        }
        for example in &section.examples {
            rules.spelling.add_correct(&example.value);
        }
    }

    /// `[[volatile]]` and `[spelling]` are looked at in any category, so only the default file may hold them.
    fn wording(&mut self, rules: &mut RulesBuilder) {
        let file = self.file;
        let is_default = file.category.as_ref().is_some_and(|c| c.value == DEFAULT_CATEGORY);
        let spelling_line = file.spelling.as_ref().map(|s| ("spelling", s.line));
        let volatile_lines = file.volatile.iter().map(|v| ("volatile", v.line));
        for (key, line) in volatile_lines.chain(spelling_line) {
            if !is_default {
                self.note(line, key, "is looked at in every category; it belongs in the file of category \"default\"");
            }
        }
        for section in &file.volatile {
            let Some(ttl) = &section.value.ttl else {
                self.missing(
                    true,
                    "volatile.ttl",
                    "say how long answers to such wording may live, such as ttl = \"0s\"",
                );
                continue;
            };
            let target = Target::Volatile(ttl.value);
            self.phrases("volatile.phrases", &section.value.phrases, target, rules);
            self.patterns("volatile.patterns", &section.value.patterns, target, rules);
        }
        if let Some(spelling) = &file.spelling {
            for (short, full) in &spelling.value.shorthand {
                rules.spelling.add_shorthand(short, &full.value);
            }
            for word in &spelling.value.words {
                rules.spelling.add_word(&word.value);
            }
        }
    }

    fn phrases(&mut self, key: &str, list: &[Located<String>], target: Target, rules: &mut RulesBuilder) {
        for phrase in list {
            if !rules.add_phrase(&phrase.value, target) {
                self.note(phrase.line, key, format!("{:?} holds no word; write the words to look for", phrase.value));
            }
        }
    }

    fn patterns(&mut self, key: &str, list: &[Located<String>], target: Target, rules: &mut RulesBuilder) {
        for pattern in list {
            if let Err(refused) = rules.add_pattern(&pattern.value, target) {
                self.note(pattern.line, key, format!("{:?} {refused}", pattern.value));
            }
        }
    }
}
