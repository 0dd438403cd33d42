//! Weights times hidden states, straight from int8 codes.
//!
//! A weight stays the byte it is in the file: a block of them becomes fp32 in the first-level cache, is multiplied with
//! every token there, and is forgotten. So a model takes a quarter of the memory that fp32 weights do, and as little of
//! the memory's bandwidth, which for a dozen tokens is what a product waits for. All arithmetic is fp32 and one
//! thread's; the sums of an output are taken in one order whatever else is asked.

use rten_simd::{
    Isa, SimdOp,
    ops::{BitOps, NumOps},
};

/// Outputs that are made together: their codes lie side by side, input by input.
pub const PANEL: usize = 32;
/// Inputs of a panel that are unpacked at a time: 16 kB, half of a small first-level cache.
const DEPTH: usize = 128;

/// x W + b of a layer.
#[derive(Debug)]
pub struct Linear {
    /// Panel by panel, in each input by input.
    codes: Vec<[i8; PANEL]>,
    /// Of each output.
    scales: Vec<f32>,
    bias: Vec<f32>,
    inputs: usize,
}

/// Memory that products of one thread use again.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    left: Vec<f32>,
    right: Vec<[f32; PANEL]>,
}

impl Linear {
    /// Of codes as the file has them, row by row: inputs by outputs. `None` when the sizes do not fit each other, or the
    /// outputs are no whole panels.
    pub fn new(codes: &[u8], scales: Vec<f32>, bias: Vec<f32>) -> Option<Self> {
        let outputs = scales.len();
        let fits = outputs > 0 && outputs.is_multiple_of(PANEL) && bias.len() == outputs;
        if !fits || codes.is_empty() || !codes.len().is_multiple_of(outputs) {
            return None;
        }
        let inputs = codes.len() / outputs;
        let mut panels = vec![[0; PANEL]; codes.len() / PANEL];
        for (input, row) in codes.chunks_exact(outputs).enumerate() {
            for (panel, some) in row.as_chunks::<PANEL>().0.iter().enumerate() {
                panels[panel * inputs + input] = some.map(u8::cast_signed);
            }
        }
        Some(Self { codes: panels, scales, bias, inputs })
    }

    /// Length of a row that goes in.
    pub const fn inputs(&self) -> usize {
        self.inputs
    }

    /// Length of a row that comes out.
    pub const fn outputs(&self) -> usize {
        self.scales.len()
    }

    /// Rows of `x` to rows of `out`, which is made as long as it must be.
    pub(crate) fn apply(&self, x: &[f32], out: &mut Vec<f32>, scratch: &mut Scratch) {
        // Every value is written before it is read.
        out.resize(x.len() / self.inputs * self.outputs(), 0.0);
        Product { layer: self, x, out, scratch }.dispatch();
    }
}

struct Product<'a> {
    layer: &'a Linear,
    x: &'a [f32],
    out: &'a mut [f32],
    scratch: &'a mut Scratch,
}

impl SimdOp for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        // Two vectors of sums for each row, two of weights: AVX2 has 16 registers, the others 32.
        match isa.f32().len() {
            8 => multiply::<I, 6>(isa, self),
            _ => multiply::<I, 14>(isa, self),
        }
    }
}

/// In blocks of up to `H` rows, all about as tall.
#[inline(always)]
fn multiply<I: Isa, const H: usize>(isa: I, product: Product<'_>) {
    let Product { layer, x, out, scratch } = product;
    let (inputs, outputs) = (layer.inputs, layer.outputs());
    let rows = x.len() / inputs;
    let blocks = rows.div_ceil(H).max(1);
    let tall = rows.div_ceil(blocks).max(1);
    turn::<H>(x, inputs, tall, &mut scratch.left);
    scratch.right.resize(DEPTH.min(inputs), [0.0; PANEL]);
    for (panel, codes) in layer.codes.chunks_exact(inputs).enumerate() {
        for (depth, codes) in codes.chunks(DEPTH).enumerate() {
            let right = &mut scratch.right[..codes.len()];
            unpack(codes, right);
            for (block, left) in scratch.left.chunks_exact(inputs * H).enumerate() {
                let left = &left[depth * DEPTH * H..][..codes.len() * H];
                let tile = Tile { left: left.as_chunks::<H>().0, right, outputs, adds: depth > 0 };
                tile.of_height(isa, tall.min(rows - block * tall), &mut out[block * tall * outputs + panel * PANEL..]);
            }
        }
    }
    for row in out.chunks_exact_mut(outputs) {
        for ((value, scale), bias) in row.iter_mut().zip(&layer.scales).zip(&layer.bias) {
            *value = *value * scale + bias;
        }
    }
}

/// Blocks of `tall` rows, input by input, each filled up to `H`.
#[inline(always)]
fn turn<const H: usize>(x: &[f32], inputs: usize, tall: usize, left: &mut Vec<f32>) {
    left.resize(x.len().div_ceil(inputs * tall) * inputs * H, 0.0);
    for (rows, block) in x.chunks(inputs * tall).zip(left.chunks_exact_mut(inputs * H)) {
        for (row, values) in rows.chunks_exact(inputs).enumerate() {
            for (to, value) in block[row..].iter_mut().step_by(H).zip(values) {
                *to = *value;
            }
        }
    }
}

#[inline(always)]
fn unpack(codes: &[[i8; PANEL]], right: &mut [[f32; PANEL]]) {
    for (code, value) in codes.as_flattened().iter().zip(right.as_flattened_mut()) {
        *value = f32::from(*code);
    }
}

/// A part of a panel against a block of rows.
#[derive(Clone, Copy)]
struct Tile<'a, const H: usize> {
    left: &'a [[f32; H]],
    right: &'a [[f32; PANEL]],
    outputs: usize,
    /// To what is there already.
    adds: bool,
}

impl<const H: usize> Tile<'_, H> {
    #[inline(always)]
    fn of_height<I: Isa>(self, isa: I, rows: usize, out: &mut [f32]) {
        match rows {
            1 => self.over::<I, 1>(isa, out),
            2 => self.over::<I, 2>(isa, out),
            3 => self.over::<I, 3>(isa, out),
            4 => self.over::<I, 4>(isa, out),
            5 => self.over::<I, 5>(isa, out),
            6 => self.over::<I, 6>(isa, out),
            7 => self.over::<I, 7>(isa, out),
            8 => self.over::<I, 8>(isa, out),
            9 => self.over::<I, 9>(isa, out),
            10 => self.over::<I, 10>(isa, out),
            11 => self.over::<I, 11>(isa, out),
            12 => self.over::<I, 12>(isa, out),
            13 => self.over::<I, 13>(isa, out),
            _ => self.over::<I, 14>(isa, out),
        }
    }

    #[inline(always)]
    fn over<I: Isa, const R: usize>(self, isa: I, out: &mut [f32]) {
        // Never: it keeps heights that do not occur out of the program.
        if R > H {
            return;
        }
        let step = isa.f32().len() * 2;
        for at in (0..PANEL).step_by(step) {
            self.columns::<I, R>(isa, at, out);
        }
    }

    /// Two vectors of outputs from `at` on, of `R` rows.
    #[inline(always)]
    fn columns<I: Isa, const R: usize>(self, isa: I, at: usize, out: &mut [f32]) {
        let ops = isa.f32();
        let len = ops.len();
        let place = |row: usize| row * self.outputs + at..row * self.outputs + at + 2 * len;
        let mut sums = [[ops.zero(); 2]; R];
        if self.adds {
            for (row, sums) in sums.iter_mut().enumerate() {
                let (first, second) = out[place(row)].split_at(len);
                *sums = [ops.load(first), ops.load(second)];
            }
        }
        for (left, right) in self.left.iter().zip(self.right) {
            let (first, second) = (ops.load(&right[at..at + len]), ops.load(&right[at + len..at + 2 * len]));
            for (sums, value) in sums.iter_mut().zip(left) {
                let value = ops.splat(*value);
                *sums = [ops.mul_add(value, first, sums[0]), ops.mul_add(value, second, sums[1])];
            }
        }
        for (row, [first, second]) in sums.into_iter().enumerate() {
            let (one, other) = out[place(row)].split_at_mut(len);
            ops.store(first, one);
            ops.store(second, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(count: usize, seed: u64) -> Vec<f32> {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..count).map(|_| random.f32() - 0.5).collect()
    }

    #[test]
    fn a_product_is_the_sum_of_code_times_scale_plus_bias_for_any_number_of_rows() {
        let mut scratch = Scratch::default();
        for (inputs, outputs) in [(384, 32), (130, 64), (1, 32), (1536, 96)] {
            let mut random_codes = fastrand::Rng::with_seed(7);
            let codes: Vec<u8> = (0..inputs * outputs).map(|_| random_codes.u8(..)).collect();
            let (scales, bias) = (random(outputs, 1), random(outputs, 2));
            let layer = Linear::new(&codes, scales.clone(), bias.clone()).unwrap();
            assert_eq!((layer.inputs(), layer.outputs()), (inputs, outputs));
            for rows in (1..=30).chain([61]) {
                let x = random(rows * inputs, 3);
                let mut out = vec![f32::NAN; 5];
                layer.apply(&x, &mut out, &mut scratch);
                for (row, out) in x.chunks_exact(inputs).zip(out.chunks_exact(outputs)) {
                    for column in 0..outputs {
                        let products = row.iter().zip(codes[column..].iter().step_by(outputs));
                        let sum: f64 = products.map(|(x, code)| f64::from(*x) * f64::from(code.cast_signed())).sum();
                        let expected = sum * f64::from(scales[column]) + f64::from(bias[column]);
                        assert!((f64::from(out[column]) - expected).abs() < 1e-2, "{inputs} {rows} {column}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_comes_out_the_same_whatever_stands_beside_it_in_a_block_of_its_height() {
        let codes: Vec<u8> = (0..=255).cycle().take(64 * 32).collect();
        let layer = Linear::new(&codes, random(32, 1), random(32, 2)).unwrap();
        let (mut scratch, mut alone, mut among) = (Scratch::default(), Vec::new(), Vec::new());
        let x = random(3 * 64, 4);
        layer.apply(&x[64..128], &mut alone, &mut scratch);
        layer.apply(&x, &mut among, &mut scratch);
        assert_eq!(alone, among[32..64]);
    }

    #[test]
    fn sizes_that_do_not_fit_make_no_layer() {
        assert!(Linear::new(&[0; 64], vec![1.0; 32], vec![0.0; 32]).is_some());
        assert!(Linear::new(&[0; 63], vec![1.0; 32], vec![0.0; 32]).is_none());
        assert!(Linear::new(&[0; 66], vec![1.0; 33], vec![0.0; 33]).is_none());
        assert!(Linear::new(&[0; 64], vec![1.0; 32], vec![0.0; 31]).is_none());
        assert!(Linear::new(&[], vec![], vec![]).is_none());
    }
}
