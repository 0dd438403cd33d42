//! BERT encoders that live in the binary: a file of int8 weights, run in process by one thread a call.
//!
//! The embedder and the verifier are the same network with different weights and heads; `models/export.py` writes both
//! files. The weights of the graph are unpacked to fp32 once, at load; the word table, over half of the file, stays
//! int8 in the binary and is unpacked row by row, so a loaded model costs 43 MB and not 90 (see [`Packing`]).
//!
//! Invariants: one text a call, no padding and no mask, so a result depends on its tokens alone; a call that is longer
//! than the model's window is refused.

mod container;
pub mod wordpiece;

use std::sync::Arc;

use ndarray::{Array2, ArrayViewMut1, Axis, Slice};
use rten::{Model, ModelOptions, RunOptions, Value, op_registry};
use rten_tensor::{NdTensor, NdTensorView};

use container::{Container, Head, Table};

/// Why a model does not load or run.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The bytes are not a model file of this version, or contradict themselves.
    #[error("model file is malformed: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The header is not the JSON expected.
    #[error("model header does not parse")]
    Header(#[source] serde_json::Error),
    /// The graph does not load.
    #[error("model graph does not load")]
    Graph(#[source] Box<rten::LoadError>),
    /// The model has another head than the call needs.
    #[error("model has another head than asked for")]
    WrongHead,
    /// No tokens, more than the window, an id outside the vocabulary, or as many types as tokens not given.
    #[error("tokens do not fit the model: {what}")]
    Tokens {
        /// What does not fit.
        what: &'static str,
    },
    /// The run itself failed.
    #[error("model does not run")]
    Run(#[source] Box<rten::RunError>),
    /// The output has an unexpected type or shape.
    #[error("model gave an unexpected output")]
    Output,
}

/// The threads one caller at a time runs a model on.
#[derive(Debug, Clone)]
pub struct Threads(Arc<rten::ThreadPool>);

impl Threads {
    /// `count` threads, at least one. One thread a call gives the best throughput when calls come in parallel.
    pub fn new(count: usize) -> Self {
        Self(Arc::new(rten::ThreadPool::with_num_threads(count.max(1))))
    }
}

/// What a loaded model keeps of its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// The weights alone, arranged anew in every call: 43 MB.
    Lean,
    /// A second copy as the multiplication wants it: 86 MB, and about 3 ms less a call.
    Fast,
}

/// A loaded encoder.
pub struct BertModel {
    graph: Model,
    words: Table,
    positions: Array2<f32>,
    types: Array2<f32>,
    name: String,
    digest: String,
    head: Head,
}

impl std::fmt::Debug for BertModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BertModel").field("name", &self.name).field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl BertModel {
    /// Loads a file that `models/export.py` wrote.
    ///
    /// # Errors
    /// When the bytes are not such a file or its graph does not load.
    pub fn load(bytes: &'static [u8], packing: Packing) -> Result<Self, ModelError> {
        let file = Container::parse(bytes)?;
        let weights = file.unpacked_weights()?;
        let operators =
            op_registry!(Add, Concat, Gelu, LayerNormalization, MatMul, ReduceMean, Reshape, Slice, Softmax, Transpose);
        let graph = ModelOptions::with_ops(operators)
            .external_data("weights.data", weights)
            .prepack_weights(packing == Packing::Fast)
            .load_static_slice(file.graph()?)
            .map_err(|error| ModelError::Graph(Box::new(error)))?;
        Ok(Self {
            words: file.words()?,
            positions: file.positions()?,
            types: file.types()?,
            head: file.header.head,
            name: file.header.name,
            digest: file.header.digest,
            graph,
        })
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// blake3 of everything that decides the output, 64 hex digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Largest number of tokens a call may have, special ones included.
    pub fn window(&self) -> usize {
        self.positions.nrows()
    }

    /// Length of a hidden state.
    pub fn hidden(&self) -> usize {
        self.positions.ncols()
    }

    /// The last layer's state of every token: tokens by [`hidden`](Self::hidden). `types` says for each token which
    /// of the two texts it belongs to, 0 or 1.
    ///
    /// # Errors
    /// When the tokens do not fit the model, or it has a head.
    pub fn hidden_states(&self, ids: &[u32], types: &[u8], threads: &Threads) -> Result<Array2<f32>, ModelError> {
        if self.head != Head::Hidden {
            return Err(ModelError::WrongHead);
        }
        let output = self.run(ids, types, threads)?;
        Array2::from_shape_vec((ids.len(), self.hidden()), output).map_err(|_| ModelError::Output)
    }

    /// The head's one number, for models that have a head. `types` as in [`hidden_states`](Self::hidden_states).
    ///
    /// # Errors
    /// When the tokens do not fit the model, or it has no head.
    pub fn logit(&self, ids: &[u32], types: &[u8], threads: &Threads) -> Result<f32, ModelError> {
        if self.head != Head::Logit {
            return Err(ModelError::WrongHead);
        }
        match self.run(ids, types, threads)?.as_slice() {
            [logit] => Ok(*logit),
            _ => Err(ModelError::Output),
        }
    }

    fn run(&self, ids: &[u32], types: &[u8], threads: &Threads) -> Result<Vec<f32>, ModelError> {
        let (&[input], &[output]) = (self.graph.input_ids(), self.graph.output_ids()) else {
            return Err(ModelError::Malformed { what: "the graph has not one input and one output" });
        };
        let summed = self.summed(ids, types)?;
        let summed = summed.as_slice().ok_or(ModelError::Output)?;
        let view = NdTensorView::from_data([ids.len(), self.hidden()], summed);
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&threads.0)));
        let [value] = self
            .graph
            .run_n(vec![(input, view.into())], [output], Some(options))
            .map_err(|error| ModelError::Run(Box::new(error)))?;
        let Value::FloatTensor(tensor) = value else { return Err(ModelError::Output) };
        let tensor: NdTensor<f32, 2> = tensor.try_into().map_err(|_| ModelError::Output)?;
        Ok(tensor.into_data())
    }

    /// The network's input: word, position and type vector of each token, added up.
    fn summed(&self, ids: &[u32], types: &[u8]) -> Result<Array2<f32>, ModelError> {
        if ids.is_empty() || ids.len() > self.window() {
            return Err(ModelError::Tokens { what: "there are none, or more than the window" });
        }
        if ids.len() != types.len() {
            return Err(ModelError::Tokens { what: "there are not as many types as tokens" });
        }
        let mut summed = self.positions.slice_axis(Axis(0), Slice::from(..ids.len())).to_owned();
        for ((row, &id), &kind) in summed.rows_mut().into_iter().zip(ids).zip(types) {
            self.add_word(row, id, kind)?;
        }
        Ok(summed)
    }

    fn add_word(&self, mut row: ArrayViewMut1<'_, f32>, id: u32, kind: u8) -> Result<(), ModelError> {
        let index = usize::try_from(id).unwrap_or(usize::MAX);
        let (codes, scale) = self.words.row(index).ok_or(ModelError::Tokens { what: "an id is unknown" })?;
        if usize::from(kind) >= self.types.nrows() {
            return Err(ModelError::Tokens { what: "a type is unknown" });
        }
        row += &self.types.row(usize::from(kind));
        for (value, &code) in row.iter_mut().zip(codes) {
            *value += f32::from(code.cast_signed()) * scale;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
