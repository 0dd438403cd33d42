//! How two questions lie on each other: which words they share, in which order, and which are left over.

use super::reading::Reading;
use super::text::Unit;

/// The alignment of two readings.
#[derive(Debug)]
pub(super) struct Frame {
    /// Content units of the left side without a partner.
    pub(super) left: Vec<usize>,
    /// Content units of the right side without a partner.
    pub(super) right: Vec<usize>,
    /// Content units with a partner, as (left, right).
    pub(super) pairs: Vec<(usize, usize)>,
    /// Share of all units in the longest common subsequence, in [0, 1].
    pub(super) order: f32,
    /// Function units outside the common subsequence.
    pub(super) loose: usize,
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
            let near = (0..b.units.len()).find(|&j| !taken[j] && b.units[j].is_content() && alike(&a.units[i], &b.units[j]));
            if let Some(j) = near {
                taken[j] = true;
                pairs.push((i, j));
            }
            near.is_none()
        });
        let right = (0..b.units.len())
            .filter(|&j| b.units[j].is_content() && !taken[j])
            .filter(|&j| !a.units.iter().any(|u| u.key == b.units[j].key))
            .collect();
        let common = common(&a.units, &b.units);
        let total = (a.units.len() + b.units.len()).max(1);
        let loose = a.units.len() + b.units.len() - 2 * common;
        #[expect(clippy::cast_precision_loss, reason = "token counts are small")]
        let order = 2.0 * common as f32 / total as f32;
        Self { left, right, pairs, order, loose }
    }

    /// Share of content units that have a partner, in [0, 1].
    #[expect(clippy::cast_precision_loss, reason = "token counts are small")]
    pub(super) fn shared(&self) -> f32 {
        let paired = 2 * self.pairs.len();
        paired as f32 / (paired + self.left.len() + self.right.len()).max(1) as f32
    }
}

/// One word typed or derived in two ways. A word that any list knows is never guessed at.
pub(super) fn alike(a: &Unit, b: &Unit) -> bool {
    if !(a.tags.is_empty() && b.tags.is_empty()) || a.shown.contains(' ') || b.shown.contains(' ') {
        return false;
    }
    let (x, y) = (a.shown.as_str(), b.shown.as_str());
    let prefix = x.chars().zip(y.chars()).take_while(|(p, q)| p == q).count();
    let (n, m) = (x.chars().count(), y.chars().count());
    (prefix >= 5 && n.max(m) - prefix <= 4 && prefix * 10 >= n.max(m) * 6) || (n.min(m) >= 5 && one_edit(x, y))
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
fn common(a: &[Unit], b: &[Unit]) -> usize {
    let mut row = vec![0usize; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x.key == y.key { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row.last().copied().unwrap_or(0)
}
