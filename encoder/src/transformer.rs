//! The transformer: hidden states through layers of attention and a two-layer network (Devlin et al. 2019, BERT).
//!
//! Invariants: one text a call, no padding and no mask, one thread; what comes out depends on what goes in alone.

use rten_simd::{Isa, SimdOp, SimdUnaryOp};
use rten_vecmath::{Gelu, Normalize, NormalizeOptions, Softmax, Sum, SumSquareSub};

use crate::linear::{Linear, Scratch};

/// Width of an attention head, the same in all models of this family.
const HEAD: usize = 32;
/// Values of the widest vector there is: rows of attention are filled up to it, so that no loop ends value by value.
const LANES: usize = 16;
/// Added to a variance before its root is taken.
const EPSILON: f32 = 1e-12;

/// Layer normalisation.
#[derive(Debug)]
pub struct Norm {
    /// Factor of each place.
    pub gain: Vec<f32>,
    /// What is added at each place.
    pub shift: Vec<f32>,
}

/// One layer of the encoder. The query's weights hold the division by the root of a head's width already.
#[derive(Debug)]
pub struct Layer {
    /// What a token looks for.
    pub query: Linear,
    /// What a token is found by.
    pub key: Linear,
    /// What a token gives.
    pub value: Linear,
    /// Of what attention mixed.
    pub attended: Linear,
    /// Of that and the layer's input.
    pub attended_norm: Norm,
    /// To the wide states, before the GELU.
    pub inner: Linear,
    /// And back.
    pub outer: Linear,
    /// Of that and its input.
    pub norm: Norm,
}

/// All layers.
#[derive(Debug)]
pub struct Encoder {
    hidden: usize,
    embedded: Norm,
    layers: Vec<Layer>,
}

/// Memory that one thread's calls use again.
#[derive(Debug, Default)]
pub struct Workspace {
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    mixed: Vec<f32>,
    inner: Vec<f32>,
    out: Vec<f32>,
    heads: Heads,
    scratch: Scratch,
}

/// What attention needs of one head.
#[derive(Debug, Default)]
struct Heads {
    /// Keys, place by place; each place's row filled up with zeros.
    turned: Vec<f32>,
    /// How much each token heeds each.
    shares: Vec<f32>,
}

impl Encoder {
    /// An encoder of states of `hidden` places; `embedded` comes before the first layer. `None` when sizes do not fit each
    /// other.
    pub fn new(hidden: usize, embedded: Norm, layers: Vec<Layer>) -> Option<Self> {
        let square = |linear: &Linear| linear.inputs() == hidden && linear.outputs() == hidden;
        let norm = |norm: &Norm| norm.gain.len() == hidden && norm.shift.len() == hidden;
        let fits = |layer: &Layer| {
            [&layer.query, &layer.key, &layer.value, &layer.attended].into_iter().all(square)
                && layer.inner.inputs() == hidden
                && layer.outer.inputs() == layer.inner.outputs()
                && layer.outer.outputs() == hidden
                && norm(&layer.attended_norm)
                && norm(&layer.norm)
        };
        let whole = hidden > 0 && hidden.is_multiple_of(HEAD) && norm(&embedded) && layers.iter().all(fits);
        whole.then_some(Self { hidden, embedded, layers })
    }

    /// The last layer's states of `states`, which are the summed word, position and type vectors of the tokens, token by
    /// token; in place.
    pub fn run(&self, states: &mut [f32], work: &mut Workspace) {
        self.embedded.apply(states);
        for layer in &self.layers {
            self.layer(layer, states, work);
        }
    }

    fn layer(&self, layer: &Layer, states: &mut [f32], work: &mut Workspace) {
        let Workspace { queries, keys, values, mixed, inner, out, heads, scratch } = work;
        layer.query.apply(states, queries, scratch);
        layer.key.apply(states, keys, scratch);
        layer.value.apply(states, values, scratch);
        mixed.resize(states.len(), 0.0);
        for at in (0..self.hidden).step_by(HEAD) {
            Attention { queries, keys, values, mixed, heads, hidden: self.hidden, at }.dispatch();
        }
        layer.attended.apply(mixed, out, scratch);
        layer.attended_norm.apply_to_sum(states, out);
        layer.inner.apply(states, inner, scratch);
        Gelu {}.map_mut(inner);
        layer.outer.apply(inner, out, scratch);
        layer.norm.apply_to_sum(states, out);
    }
}

impl Norm {
    fn apply_to_sum(&self, states: &mut [f32], more: &[f32]) {
        states.iter_mut().zip(more).for_each(|(state, more)| *state += more);
        self.apply(states);
    }

    fn apply(&self, states: &mut [f32]) {
        let width = self.gain.len();
        // Widths are far below what fp32 counts exactly.
        #[expect(clippy::cast_precision_loss, reason = "a width of some hundreds")]
        let count = width as f32;
        for row in states.chunks_exact_mut(width) {
            let mean = Sum::new(row).dispatch() / count;
            let variance = SumSquareSub::new(row, mean).dispatch() / count;
            let options = NormalizeOptions {
                pre_scale_bias: mean,
                scale: (variance + EPSILON).sqrt().recip(),
                element_scale: Some(&self.gain),
                element_bias: Some(&self.shift),
                ..NormalizeOptions::default()
            };
            Normalize::new_mut(row, options).dispatch();
        }
    }
}

/// One head: each token's values mixed by how much it heeds each.
struct Attention<'a> {
    queries: &'a [f32],
    keys: &'a [f32],
    values: &'a [f32],
    mixed: &'a mut [f32],
    heads: &'a mut Heads,
    hidden: usize,
    /// Where the head's places begin in a row.
    at: usize,
}

impl SimdOp for Attention<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let Self { queries, keys, values, mixed, heads: Heads { turned, shares }, hidden, at } = self;
        let tokens = queries.len() / hidden;
        let stride = tokens.next_multiple_of(LANES);
        turned.clear();
        turned.resize(HEAD * stride, 0.0);
        for (token, key) in keys.chunks_exact(hidden).enumerate() {
            for (to, value) in turned[token..].iter_mut().step_by(stride).zip(&key[at..at + HEAD]) {
                *to = *value;
            }
        }
        for (query, mixed) in queries.chunks_exact(hidden).zip(mixed.chunks_exact_mut(hidden)) {
            shares.clear();
            shares.resize(stride, 0.0);
            for (place, keys) in query[at..at + HEAD].iter().zip(turned.chunks_exact(stride)) {
                add_scaled(shares, *place, keys);
            }
            let shares = &mut shares[..tokens];
            Softmax::new_mut(shares).eval(isa);
            let mixed = &mut mixed[at..at + HEAD];
            mixed.fill(0.0);
            for (share, value) in shares.iter().zip(values.chunks_exact(hidden)) {
                add_scaled(mixed, *share, &value[at..at + HEAD]);
            }
        }
    }
}

/// Both as long, in whole lanes.
#[inline(always)]
fn add_scaled(sums: &mut [f32], by: f32, values: &[f32]) {
    for (sums, values) in sums.as_chunks_mut::<LANES>().0.iter_mut().zip(values.as_chunks::<LANES>().0) {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += by * value;
        }
    }
}
