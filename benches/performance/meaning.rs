//! What needs the models, one request at a time and each beside its reference: hits by meaning against embedding and
//! verifying alone, the same wording again against an exact hit, and misses against pass-through.
//!
//! The pairs are paraphrases of the fixtures that the shipped policies serve: each round asks in a namespace of its own,
//! so every wording is new there and every answer that is timed says that it was found by meaning.

use std::{collections::HashSet, ops::RangeInclusive, path::Path, time::Instant};

use anyhow::{bail, ensure};
use semblance::{
    embed::minilm::token_count,
    replay::case::{self, Case, Expect},
};

use crate::{
    alone::Alone,
    figures::{Named, Round},
    gateway::Killed,
    load::{Asked, Client, Kind, Times, new_question},
    options::{Options, Section},
    process::{self, Child},
    rows::Row,
};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");
/// Tokens of both questions of a pair, the two that mark a text's ends included.
const TOKENS: RangeInclusive<usize> = 10..=14;
/// The nearest to so many come first.
const WANTED: usize = 12;
/// Pairs asked in each round.
const PAIRS: usize = 24;

/// A question in the cache and another wording of it.
#[derive(Debug)]
struct Pair {
    cached: String,
    asked: String,
}

/// What one round took.
#[derive(Debug, Default)]
struct Taken {
    semantic: Vec<f64>,
    decision: Vec<f64>,
    alias: Vec<f64>,
    exact: Vec<f64>,
    missed: Vec<f64>,
    passed: Vec<f64>,
    embedding: Vec<f64>,
    semantic_us: f64,
    alias_us: f64,
    missed_us: f64,
}

/// Measures what needs the models.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Vec<Row>> {
    if !options.wants(Section::Semantic) && !options.wants(Section::Miss) {
        return Ok(Vec::new());
    }
    let upstream = Child::role("upstream")?;
    let gateway = process::warm(upstream.address()?, "info")?;
    let mut bench =
        Bench { client: Client::connect(gateway.listen)?, process: &gateway.process, alone: Alone::start()? };
    let pairs = if options.wants(Section::Semantic) { bench.served_pairs(options)? } else { Vec::new() };
    let mut rounds = Vec::new();
    for round in 0..=options.rounds {
        options.tell(&format!("one at a time, round {round} of {}", options.rounds));
        let mut taken = Taken::default();
        if options.wants(Section::Semantic) {
            bench.by_meaning(&pairs, &namespace(round), &mut taken)?;
            bench.known_wordings(&pairs, &namespace(round), options, &mut taken)?;
        }
        if options.wants(Section::Miss) {
            bench.misses(options, &mut taken)?;
        }
        // The first one only warms up.
        if round > 0 {
            rounds.push(taken);
        }
    }
    let tokens = pairs.iter().map(|pair| token_count(&pair.asked)).sum::<usize>() as f64 / pairs.len().max(1) as f64;
    Ok(rows(&rounds, tokens))
}

fn namespace(round: usize) -> String {
    format!("x-semblance-namespace: round-{round}\r\n")
}

struct Bench<'a> {
    client: Client,
    process: &'a Killed,
    alone: Alone,
}

impl Bench<'_> {
    /// The pairs of the fixtures that are served by meaning, found out by asking.
    fn served_pairs(&mut self, options: &Options) -> anyhow::Result<Vec<Pair>> {
        let wanted = if options.quick { 4 } else { PAIRS };
        let header = "x-semblance-namespace: choosing\r\n";
        let mut served = Vec::new();
        for pair in paraphrases()? {
            if served.len() == wanted {
                break;
            }
            let is_new = self.ask(&pair.cached, header)?.is("miss")?;
            let by_meaning = self.ask(&pair.asked, header)?.is("hit-semantic")?;
            // A wording is not remembered where that would loosen what its own category asks for.
            if is_new && by_meaning && self.ask(&pair.asked, header)?.via_alias() {
                served.push(pair);
            }
        }
        ensure!(served.len() == wanted, "only {} paraphrases are served by meaning", served.len());
        Ok(served)
    }

    fn ask(&mut self, question: &str, header: &str) -> anyhow::Result<crate::load::Response> {
        self.client.ask(&Asked { question, header, ..Asked::default() }.request())
    }

    /// Each wording for the first time, and beside it what the models take for it.
    fn by_meaning(&mut self, pairs: &[Pair], header: &str, taken: &mut Taken) -> anyhow::Result<()> {
        for Pair { cached, .. } in pairs {
            self.ask(cached, header)?.was("miss")?;
        }
        let before = process::processor_us(self.process)?;
        for (place, Pair { cached, asked }) in pairs.iter().enumerate() {
            let alone_first = place.is_multiple_of(2);
            if alone_first {
                taken.decision.push(self.alone.decide(cached, asked)?);
            }
            let response = self.ask(asked, header)?;
            response.was("hit-semantic")?;
            taken.semantic.push(response.last_byte);
            if !alone_first {
                taken.decision.push(self.alone.decide(cached, asked)?);
            }
        }
        taken.semantic_us = (process::processor_us(self.process)? - before) / pairs.len() as f64;
        Ok(())
    }

    /// The same wordings again and the questions that they were found by, in turns.
    fn known_wordings(
        &mut self,
        pairs: &[Pair],
        header: &str,
        options: &Options,
        taken: &mut Taken,
    ) -> anyhow::Result<()> {
        let until = Instant::now() + 2 * options.time;
        let before = process::processor_us(self.process)?;
        for Pair { cached, asked } in pairs.iter().cycle() {
            for (question, is_alias) in [(asked, true), (cached, false)] {
                let response = self.ask(question, header)?;
                response.was("hit-exact")?;
                ensure!(response.via_alias() == is_alias, "{question:?} was found otherwise");
                let times = if is_alias { &mut taken.alias } else { &mut taken.exact };
                times.push(response.last_byte);
            }
            if Instant::now() >= until {
                break;
            }
        }
        let spent = process::processor_us(self.process)? - before;
        taken.alias_us = spent / (taken.alias.len() + taken.exact.len()) as f64;
        Ok(())
    }

    /// New questions, the same kind of request past the cache, and the embedding of the question alone.
    fn misses(&mut self, options: &Options, taken: &mut Taken) -> anyhow::Result<()> {
        let until = Instant::now() + 2 * options.time;
        loop {
            let question = new_question();
            taken.embedding.push(self.alone.embed(&question)?);
            let before = process::processor_us(self.process)?;
            let missed = self.ask(&question, "")?;
            missed.was("miss")?;
            taken.missed_us += process::processor_us(self.process)? - before;
            taken.missed.push(missed.first_byte);
            let passed = self.client.ask(&Kind::NoStore.request())?;
            passed.was("bypass")?;
            taken.passed.push(passed.first_byte);
            if Instant::now() >= until {
                return Ok(());
            }
        }
    }
}

/// Paraphrases of plain first questions, of about as many tokens as wanted, no question twice.
fn paraphrases() -> anyhow::Result<Vec<Pair>> {
    let cases = match case::read(&[Path::new(FIXTURES).to_path_buf()]) {
        Ok(cases) => cases,
        Err(problems) => bail!("{} problems in the fixtures", problems.len()),
    };
    let mut seen = HashSet::new();
    let fits = |text: &str| TOKENS.contains(&token_count(text));
    let plain = |case: &&Case| {
        let alone = case::Side { text: case.ask.text.clone(), ..case.seed.clone() };
        let bare = case.seed.system.is_none() && case.seed.turns.is_empty() && case.seed.sources.is_empty();
        let same = alone == case.ask && case.seed.category.is_none() && case.advance.is_zero();
        case.expect == Expect::Hit && bare && same && fits(&case.seed.text) && fits(&case.ask.text)
    };
    let pairs = cases.iter().filter(plain).map(|case| (&case.seed.text, &case.ask.text));
    let pairs = pairs.filter(|(cached, asked)| cached != asked && seen.insert(*cached) && seen.insert(*asked));
    let mut pairs: Vec<Pair> =
        pairs.map(|(cached, asked)| Pair { cached: cached.clone(), asked: asked.clone() }).collect();
    pairs.sort_by_key(|pair| token_count(&pair.asked).abs_diff(WANTED));
    Ok(pairs)
}

/// A list of times of a round.
type Of = fn(&Taken) -> &Vec<f64>;

fn rows(rounds: &[Taken], tokens: f64) -> Vec<Row> {
    let p50 = |times: &Vec<f64>| Times::of(times.clone()).quantile(0.5);
    let both = |own: Of, other: Of| -> Vec<Round> {
        rounds.iter().map(|round| Round { value: p50(own(round)), reference: Some(p50(other(round))) }).collect()
    };
    let p99 = |own: Of| {
        let all = rounds.iter().flat_map(|round| own(round).iter().copied()).collect();
        Some(Times::of(all).quantile(0.99)).filter(|time| time.is_finite())
    };
    let cpu = |of: fn(&Taken) -> f64| {
        let spent: f64 = rounds.iter().map(of).sum();
        Some(spent / rounds.len().max(1) as f64).filter(|spent| *spent > 0.0)
    };
    let mut rows = Vec::new();
    let title = format!("First hit by meaning, p50 at 1 connection, {tokens:.0} tokens");
    let semantic = Named::ratio("semantic-hit-p50-1", &title, "us", "embedding and one verification alone");
    let row = semantic.row(&both(|round| &round.semantic, |round| &round.decision));
    rows.extend(row.map(|row| Row { p99: p99(|r| &r.semantic), cpu_us_per_request: cpu(|r| r.semantic_us), ..row }));
    let alias = Named::ratio("alias-hit-p50-1", "The same wording again, p50 at 1 connection", "us", "exact hit");
    let row = alias.row(&both(|round| &round.alias, |round| &round.exact));
    rows.extend(row.map(|row| Row { p99: p99(|r| &r.alias), cpu_us_per_request: cpu(|r| r.alias_us), ..row }));
    let missed = Named::ratio("miss-first-byte", "Miss, first byte, p50 at 1 connection", "us", "pass-through");
    let row = missed.row(&both(|round| &round.missed, |round| &round.passed));
    let missed_us = cpu(|round| round.missed_us / round.missed.len().max(1) as f64);
    rows.extend(row.map(|row| Row { p99: p99(|r| &r.missed), cpu_us_per_request: missed_us, ..row }));
    let title = "Miss, first byte over pass-through, p50 at 1 connection";
    let added = Named::value("miss-first-byte-added", title, "ms", "the embedding alone");
    let differences = rounds.iter().map(|round| Round {
        value: (p50(&round.missed) - p50(&round.passed)) / 1e3,
        reference: Some(p50(&round.embedding) / 1e3),
    });
    rows.extend(added.row(&differences.collect::<Vec<_>>()));
    let title = "Miss, first byte over pass-through and the embedding alone";
    let rest = Named::value("miss-first-byte-rest", title, "ms", "");
    let rests = rounds.iter().map(|round| Round {
        value: (p50(&round.missed) - p50(&round.passed) - p50(&round.embedding)) / 1e3,
        reference: None,
    });
    rows.extend(rest.row(&rests.collect::<Vec<_>>()));
    rows
}
