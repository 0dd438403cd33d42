//! How two questions lie on each other: which words they share, in which order, and which are left over.

use super::reading::Reading;
use super::text::{Key, Unit};

/// How a pair of questions is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Two sentences.
    Sentences,
    /// Two notes of hardly any function words.
    Notes,
    /// One of each.
    Mixed,
}

impl Style {
    fn of(a: &Reading, b: &Reading) -> Self {
        let (x, y) = (a.function_share(), b.function_share());
        if x.min(y) < 1.0 / 3.0 && (x - y).abs() >= 0.15 {
            Self::Mixed
        } else if x.max(y) < 0.3 {
            Self::Notes
        } else {
            Self::Sentences
        }
    }
}

/// The alignment of two readings.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) style: Style,
    /// Content units of the left side without a partner.
    pub(super) left: Vec<usize>,
    /// Content units of the right side without a partner.
    pub(super) right: Vec<usize>,
    /// Content units with a partner, as (left, right).
    pub(super) pairs: Vec<(usize, usize)>,
    /// Units of either side, function words too, whose word the other side lacks.
    pub(super) strangers: usize,
    /// Share of all units in the longest common subsequence, in [0, 1].
    pub(super) order: f32,
    /// Units of the left side outside the common subsequence, its unpaired content left out of the count.
    pub(super) left_loose: usize,
    /// The same of the right side.
    pub(super) right_loose: usize,
}

impl Frame {
    pub(super) fn of(a: &Reading, b: &Reading) -> Self {
        let (mut left, mut pairs) = (Vec::new(), Vec::new());
        let mut taken = vec![false; b.units.len()];
        for (i, unit) in a.units.iter().enumerate().filter(|(_, u)| u.is_content()) {
            let exact = (0..b.units.len()).find(|&j| !taken[j] && b.units[j].key == unit.key);
            if let Some(j) = exact {
                taken[j] = true;
                pairs.push((i, j));
            } else if !b.units.iter().any(|u| u.key == unit.key) {
                left.push(i);
            }
        }
        left.retain(|&i| {
            let near =
                (0..b.units.len()).find(|&j| !taken[j] && b.units[j].is_content() && alike(&a.units[i], &b.units[j]));
            if let Some(j) = near {
                taken[j] = true;
                pairs.push((i, j));
            }
            near.is_none()
        });
        let right: Vec<usize> = (0..b.units.len())
            .filter(|&j| b.units[j].is_content() && !taken[j])
            .filter(|&j| !a.units.iter().any(|u| u.key == b.units[j].key))
            .collect();
        let lacks =
            |x: &Reading, y: &Reading| x.units.iter().filter(|u| !y.units.iter().any(|v| v.key == u.key)).count();
        let strangers = lacks(a, b) + lacks(b, a);
        let keys: Vec<Key> = a.units.iter().map(|u| u.key).collect();
        let common = common_keys(&keys, &b.units);
        let total = (a.units.len() + b.units.len()).max(1);
        let left_loose = (a.units.len() - common).saturating_sub(left.len());
        let right_loose = (b.units.len() - common).saturating_sub(right.len());
        #[expect(clippy::cast_precision_loss, reason = "token counts are small")]
        let order = 2.0 * common as f32 / total as f32;
        Self { style: Style::of(a, b), left, right, pairs, order, strangers, left_loose, right_loose }
    }

    /// Whether the two are the same sentence but for up to `loose` units a side and two content words a side.
    pub(super) fn is_minimal(&self, loose: usize) -> bool {
        self.left_loose <= loose
            && self.right_loose <= loose
            && self.left.len() <= 2
            && self.right.len() <= 2
            && !self.pairs.is_empty()
    }

    /// Share of content units that have a partner, in [0, 1]; 1 when there are none.
    #[expect(clippy::cast_precision_loss, reason = "token counts are small")]
    pub(super) fn shared(&self) -> f32 {
        let paired = 2 * self.pairs.len();
        let all = paired + self.left.len() + self.right.len();
        if all == 0 { 1.0 } else { paired as f32 / all as f32 }
    }
}

/// One word typed or derived in two ways. A word that any list knows is never guessed at.
pub(super) fn alike(a: &Unit, b: &Unit) -> bool {
    if !(a.tags.is_empty() || b.tags.is_empty()) || a.shown.contains(' ') || b.shown.contains(' ') {
        return false;
    }
    let (x, y) = (a.shown.as_str(), b.shown.as_str());
    if !(a.tags.is_empty() && b.tags.is_empty()) {
        // A known word and an unknown one: a slip of the pen, or nothing.
        return x.chars().count().min(y.chars().count()) >= 6 && one_edit(x, y);
    }
    let prefix = x.chars().zip(y.chars()).take_while(|(p, q)| p == q).count();
    let (n, m) = (x.chars().count(), y.chars().count());
    shortens(x, y)
        || shortens(y, x)
        || (prefix >= 5 && n.max(m) - prefix <= 4 && prefix * 10 >= n.max(m) * 6)
        || (n.min(m) >= 5 && one_edit(x, y))
}

/// Whether `short` abbreviates `long`: a clipped beginning (`sec`) or consonants only (`ldn`).
fn shortens(short: &str, long: &str) -> bool {
    let (n, m) = (short.chars().count(), long.chars().count());
    if !(2..=5).contains(&n) || m < n + 3 || short.chars().next() != long.chars().next() {
        return false;
    }
    let mut rest = long.chars();
    let inside = short.chars().all(|c| rest.any(|d| c == d));
    let bare = !short.chars().any(|c| matches!(c, 'a' | 'e' | 'i' | 'o' | 'u'));
    inside && ((n >= 3 && long.starts_with(short)) || bare)
}

/// Damerau-Levenshtein distance of at most one.
fn one_edit(x: &str, y: &str) -> bool {
    let (x, y): (Vec<char>, Vec<char>) = (x.chars().collect(), y.chars().collect());
    let head = x.iter().zip(&y).take_while(|(p, q)| p == q).count();
    let (x, y) = (&x[head..], &y[head..]);
    match (x, y) {
        ([], []) => true,
        ([_, rest @ ..], other) | (other, [_, rest @ ..]) if rest == other => true,
        ([_, p @ ..], [_, q @ ..]) if p == q => true,
        ([a, b, p @ ..], [c, d, q @ ..]) => a == d && b == c && p == q,
        _ => false,
    }
}

/// Length of the longest common subsequence of keys.
pub(super) fn common_keys(a: &[Key], b: &[Unit]) -> usize {
    let mut row = vec![0usize; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if *x == y.key { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row.last().copied().unwrap_or(0)
}
