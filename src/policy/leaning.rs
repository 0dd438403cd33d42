//! Whether a question leans towards what is never cached, judged from all examples together.
//!
//! The nearest example alone is a poor judge here: "What is a good credit score?" is nearest to "What is my credit
//! score?". What tells them apart lies between all never-cached examples and all others, so a kernel ridge regression
//! is fitted to them when a set is loaded: +1 for never cached, -1 for the rest, both sides weighing the same.
//!
//! # Decisions
//! - Measured on questions written after the rules were frozen: the nearest example alone tells never-cached from
//!   general questions with an AUC of 0.74, this with 0.98.
//! - Fitted from the examples in the policy files and nothing else, so an edit by a product manager is all it takes to
//!   teach it, and no weights are shipped.

use crate::similarity::Embedding;

/// How quickly an example's say fades with distance.
const SHARPNESS: f64 = 3.0;
/// How much the fit distrusts a single example.
const RIDGE: f64 = 0.3;
/// From here on a question leans towards never cached. Below zero on purpose: uncertain means strictest.
const LEANS: f64 = -0.12;
/// A question whose nearest never-cached example is less similar than this must lean the more.
const NEAR: f64 = 0.4;
/// By how much, for each unit of similarity that is missing.
const FAR: f64 = 0.75;

/// One weight an example, in the order they were given.
#[derive(Debug)]
pub(super) struct Leaning(Vec<f64>);

impl Leaning {
    /// Fits to (vector, whether it is never cached). `None` unless there are examples of both kinds.
    pub(super) fn fit(examples: &[(&Embedding, bool)]) -> Option<Self> {
        let count = examples.len();
        let never = examples.iter().filter(|(_, never)| *never).count();
        if never == 0 || never == count {
            return None;
        }
        let half = as_f64(count) / 2.0;
        let mut matrix = vec![0.0; count * count];
        let mut right = Vec::with_capacity(count);
        for (row, (a, is_never)) in examples.iter().enumerate() {
            for (column, (b, _)) in examples.iter().enumerate().take(row + 1) {
                matrix[row * count + column] = kernel(f64::from(a.similarity(b)?.get()));
            }
            // A kind with fewer examples is trusted more, so that both kinds weigh the same.
            let of_kind = if *is_never { never } else { count - never };
            matrix[row * count + row] += RIDGE * as_f64(of_kind) / half;
            right.push(if *is_never { 1.0 } else { -1.0 });
        }
        solve(&mut matrix, right).map(Self)
    }

    /// How far a question leans, about -1 to 1; `similarities` are its cosines with the examples, in their order.
    pub(super) fn of(&self, similarities: impl Iterator<Item = f32>) -> f64 {
        self.0.iter().zip(similarities).map(|(weight, similarity)| weight * kernel(f64::from(similarity))).sum()
    }
}

/// Whether a question with this `leaning` is to be taken as never cached, when its nearest such example is this similar.
pub(super) fn leans(leaning: f64, nearest: f32) -> bool {
    leaning >= LEANS + FAR * (NEAR - f64::from(nearest)).max(0.0)
}

fn kernel(similarity: f64) -> f64 {
    (SHARPNESS * (similarity - 1.0)).exp()
}

fn as_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

/// Solves `matrix * x = right` for a symmetric positive definite matrix given by its lower half (Cholesky).
fn solve(matrix: &mut [f64], mut right: Vec<f64>) -> Option<Vec<f64>> {
    let count = right.len();
    for row in 0..count {
        for column in 0..=row {
            let dot: f64 = (0..column).map(|k| matrix[row * count + k] * matrix[column * count + k]).sum();
            let rest = matrix[row * count + column] - dot;
            matrix[row * count + column] = if row == column {
                // Not positive only when vectors are not finite, which their type excludes.
                (rest > 0.0).then(|| rest.sqrt())?
            } else {
                rest / matrix[column * count + column]
            };
        }
    }
    for row in 0..count {
        let dot: f64 = (0..row).map(|k| matrix[row * count + k] * right[k]).sum();
        right[row] = (right[row] - dot) / matrix[row * count + row];
    }
    for row in (0..count).rev() {
        let dot: f64 = (row + 1..count).map(|k| matrix[k * count + row] * right[k]).sum();
        right[row] = (right[row] - dot) / matrix[row * count + row];
    }
    Some(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(values: [f32; 3]) -> Embedding {
        Embedding::normalised(values.to_vec()).unwrap()
    }

    #[test]
    fn a_question_leans_to_the_side_its_neighbours_agree_on() {
        let never = [vector([1.0, 0.0, 0.1]), vector([1.0, 0.2, 0.0])];
        let rest = [vector([0.0, 1.0, 0.1]), vector([0.1, 1.0, 0.0]), vector([0.0, 1.0, 0.3])];
        let examples: Vec<(&Embedding, bool)> =
            never.iter().map(|e| (e, true)).chain(rest.iter().map(|e| (e, false))).collect();
        let leaning = Leaning::fit(&examples).unwrap();
        let of = |query: &Embedding| leaning.of(examples.iter().map(|(e, _)| query.similarity(e).unwrap().get()));
        assert!(of(&vector([1.0, 0.1, 0.2])) > 0.3);
        assert!(of(&vector([0.1, 1.0, 0.2])) < -0.3);
    }

    #[test]
    fn one_kind_of_examples_teaches_nothing() {
        let only = vector([1.0, 0.0, 0.0]);
        assert!(Leaning::fit(&[(&only, true), (&only, true)]).is_none());
        assert!(Leaning::fit(&[]).is_none());
    }

    #[test]
    fn the_solver_solves() {
        let mut matrix = vec![4.0, 0.0, 2.0, 3.0];
        let solved = solve(&mut matrix, vec![8.0, 7.0]).unwrap();
        assert!((solved[0] - 1.25).abs() < 1e-9 && (solved[1] - 1.5).abs() < 1e-9);
    }
}
