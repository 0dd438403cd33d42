//! What a row comes to: whether it meets its bar, and whether it changed against the baseline beyond the noise.

use serde::Serialize;

use crate::rows::{File, Judged, Row};

/// A smaller change of a ratio is none, however quiet the rounds were,
const LEAST_RATIO: f64 = 0.03;
/// nor one of a value, which the machine's own day moves too.
const LEAST_VALUE: f64 = 0.05;
/// Change that counts where a run did not tell its noise.
const UNKNOWN: f64 = 0.15;

/// Where a figure stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Standing {
    /// It reaches the aim, too.
    Aim,
    /// It reaches the bar.
    Met,
    /// It does not.
    Short,
    /// Nothing is asked of it.
    Told,
}

impl Standing {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Aim => "met, aim too",
            Self::Met => "met",
            Self::Short => "short",
            Self::Told => "",
        }
    }
}

/// The figure that bar and aim are about.
pub(crate) fn judged(row: &Row) -> Option<f64> {
    match row.judged {
        Judged::Ratio => row.ratio,
        Judged::Value => Some(row.value),
    }
}

/// Where a row stands; a ratio that was not measured is short of any bar.
pub(crate) fn standing(row: &Row) -> Standing {
    let Some(bar) = row.bar else { return Standing::Told };
    let reaches = |limit: f64| {
        judged(row).is_some_and(|figure| if row.lower_is_better { figure <= limit } else { figure >= limit })
    };
    match (reaches(bar), row.aim.is_some_and(reaches)) {
        (true, true) => Standing::Aim,
        (true, false) => Standing::Met,
        (false, _) => Standing::Short,
    }
}

/// How a row compares with the baseline's of the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Beyond the noise.
    Better,
    /// Beyond the noise.
    Worse,
    /// Inside it.
    Same,
    /// Not in the baseline.
    New,
    /// A value measured on another machine, or a figure that one of the two lacks.
    NotComparable,
}

/// A row and what the baseline says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Change {
    pub(crate) id: String,
    pub(crate) was: Option<f64>,
    pub(crate) is: Option<f64>,
    /// Of what it was; positive when there is more of it, better or worse.
    pub(crate) percent: Option<f64>,
    /// What a change had to exceed, in percent.
    pub(crate) noise_percent: Option<f64>,
    pub(crate) kind: Kind,
}

/// Compares every row with the baseline's.
pub(crate) fn changes(now: &File, baseline: &File) -> Vec<Change> {
    let same_machine = now.machine == baseline.machine;
    let of = |row: &Row| {
        let before = baseline.rows.iter().find(|before| before.id == row.id);
        change(row, before, same_machine || row.judged == Judged::Ratio)
    };
    now.rows.iter().map(of).collect()
}

fn change(row: &Row, before: Option<&Row>, comparable: bool) -> Change {
    let (is, was) = (judged(row), before.and_then(judged));
    let none = Change { id: row.id.clone(), was, is, percent: None, noise_percent: None, kind: Kind::New };
    let Some(before) = before else { return none };
    let (Some(is), Some(was)) = (is, was) else { return Change { kind: Kind::NotComparable, ..none } };
    if !comparable || was == 0.0 || before.judged != row.judged {
        return Change { kind: Kind::NotComparable, ..none };
    }
    let least = if row.judged == Judged::Ratio { LEAST_RATIO } else { LEAST_VALUE };
    // Both runs have to be sure: their middle halves lie apart only when the change exceeds both.
    let noise = match (row.spread, before.spread) {
        (Some(now), Some(then)) => (reach(now, is, is < was) + reach(then, was, is > was)) / was.abs(),
        _ => UNKNOWN,
    };
    let (share, noise) = ((is - was) / was.abs(), noise.max(least));
    let kind = match share {
        share if share.abs() <= noise => Kind::Same,
        share if (share < 0.0) == row.lower_is_better => Kind::Better,
        _ => Kind::Worse,
    };
    Change { percent: Some(share * 100.0), noise_percent: Some(noise * 100.0), kind, ..none }
}

/// How far the middle half of the rounds reaches from its median, up or down.
fn reach([low, high]: [f64; 2], median: f64, up: bool) -> f64 {
    (if up { high - median } else { median - low }).max(0.0)
}

/// The parts of the report in their order, by how the ids of their rows begin; the last takes all others.
const PARTS: &[(&str, &str)] = &[
    ("exact-hit", "Exact hits"),
    ("stream-hit", "Hits as streams"),
    ("semantic-hit", "Hits by meaning"),
    ("alias-hit", "Hits by meaning"),
    ("pass-through", "Pass-through"),
    ("miss", "Misses"),
    ("start", "Start and memory"),
    ("memory", "Start and memory"),
    ("micro", "Parts on their own"),
    ("", "Index and storage"),
];

/// The rows of each part, in order.
pub(crate) fn by_part<'r>(rows: impl IntoIterator<Item = &'r Row>) -> Vec<(&'static str, Vec<&'r Row>)> {
    let place = |row: &Row| PARTS.iter().position(|(prefix, _)| row.id.starts_with(prefix)).unwrap_or(PARTS.len());
    let mut placed: Vec<(usize, &Row)> = rows.into_iter().map(|row| (place(row), row)).collect();
    placed.sort_by_key(|(place, _)| *place);
    let mut parts: Vec<(&'static str, Vec<&Row>)> = Vec::new();
    for (place, row) in placed {
        let name = PARTS.get(place).map_or("", |(_, name)| *name);
        match parts.last_mut().filter(|(known, _)| *known == name) {
            Some((_, rows)) => rows.push(row),
            None => parts.push((name, vec![row])),
        }
    }
    parts
}
