//! `semblance check`: every problem of a policy directory, or a summary a product manager can read.

use std::{fmt, path::Path};

use super::{Harm, Policy, PolicySet, Problem, Sharing, Source, Tier, in_words, plain};

/// The result of checking a directory.
#[derive(Debug, serde::Serialize)]
pub struct CheckReport {
    /// Whether the directory can be used.
    pub ok: bool,
    /// Short digest of the set; empty when it cannot be used.
    pub revision: String,
    /// What each category promises, in the order of the files' names.
    pub categories: Vec<Summary>,
    /// Everything that is wrong, sorted by file and line.
    pub problems: Vec<Problem>,
}

/// One line of the summary.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Name of the category.
    pub category: String,
    /// How long an answer is fresh, such as `24h`; `0s` is never cached.
    pub ttl: String,
    /// Time past the ttl in which it may be served while a refresh runs.
    pub stale_while_revalidate: String,
    /// Time past the ttl in which it may be served when the upstream fails.
    pub stale_if_error: String,
    /// Other wordings too, or the same question only.
    pub tier: Tier,
    /// What a wrong answer costs.
    pub harm: Harm,
    /// Who may be served.
    pub scope: Sharing,
    /// Names of the keys whose answers others may be served; left out where everybody's are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writers: Option<Vec<String>>,
    /// What the category is.
    pub summary: String,
    /// Who answers for it.
    pub owner: String,
    /// Name of its file.
    pub file: String,
    /// The whole policy in plain English, a sentence each.
    pub plain: Vec<String>,
}

/// Checks the policies of `dir`.
pub fn check(dir: &Path) -> CheckReport {
    match PolicySet::load(dir) {
        Ok(set) => CheckReport {
            ok: true,
            revision: set.revision().to_owned(),
            categories: set.with_sources().map(|(policy, source)| Summary::of(policy, source)).collect(),
            problems: Vec::new(),
        },
        Err(problems) => CheckReport { ok: false, revision: String::new(), categories: Vec::new(), problems },
    }
}

impl CheckReport {
    /// 0 when the directory can be used, 1 otherwise.
    pub const fn exit_code(&self) -> u8 {
        if self.ok { 0 } else { 1 }
    }
}

impl Summary {
    /// The summary of the policy in this file.
    pub fn of(policy: &Policy, source: &Source) -> Self {
        Self {
            category: policy.category.clone(),
            ttl: in_words(policy.freshness.ttl),
            stale_while_revalidate: in_words(policy.freshness.stale_while_revalidate),
            stale_if_error: in_words(policy.freshness.stale_if_error),
            tier: policy.reuse.tier,
            harm: policy.reuse.harm,
            scope: policy.reuse.scope,
            writers: policy.reuse.writers.clone(),
            summary: policy.summary.clone(),
            owner: policy.owner.clone(),
            file: source.file.clone(),
            plain: plain(policy, &source.typed),
        }
    }

    const fn never(&self) -> bool {
        matches!(self.ttl.as_bytes(), b"0s")
    }

    fn fresh(&self) -> String {
        if self.never() { "never cached".to_owned() } else { format!("fresh for {}", self.ttl) }
    }

    const fn reuse(&self) -> &'static str {
        match self.tier {
            _ if self.never() => "asked each time",
            Tier::Semantic => "other wordings too",
            Tier::Exact => "same question only",
        }
    }

    const fn harm(&self) -> &'static str {
        match self.harm {
            Harm::Annoying => "a wrong answer annoys",
            Harm::Harmful => "a wrong answer does harm",
            Harm::Liable => "we answer for a wrong answer",
        }
    }
}

/// A report with every policy in plain English instead of the table.
#[derive(Debug)]
pub struct Explained<'r>(pub &'r CheckReport);

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for policy in &self.0.categories {
            write!(f, "{policy}\n\n")?;
        }
        let line = self.0.to_string();
        // What is wrong is all there is to say of a directory that cannot be used.
        f.write_str(if self.0.ok { line.lines().last().unwrap_or_default() } else { &line })
    }
}

impl fmt::Display for Summary {
    /// The category, what it is and who answers for it; then a sentence a line. No trailing newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  ({})", self.category, self.file)?;
        if !self.summary.is_empty() {
            write!(f, "\n  {}", self.summary)?;
        }
        if !self.owner.is_empty() {
            write!(f, " Owner: {}", self.owner)?;
        }
        self.plain.iter().try_for_each(|sentence| write!(f, "\n  - {sentence}"))
    }
}

impl fmt::Display for CheckReport {
    /// One problem a line, or a table; a count last. No trailing newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        if !self.ok {
            let count = self.problems.len();
            return write!(f, "{count} {}", if count == 1 { "problem" } else { "problems" });
        }
        let width = self.categories.iter().map(|c| c.category.len()).max().unwrap_or(0);
        for line in &self.categories {
            let (fresh, reuse, harm) = (line.fresh(), line.reuse(), line.harm());
            writeln!(f, "{:width$}  {fresh:16}  {reuse:18}  {harm}", line.category)?;
        }
        write!(f, "ok: {} categories, revision {}", self.categories.len(), self.revision)
    }
}
