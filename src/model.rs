//! BERT encoders that live in the binary: a file of int8 weights, run in process by one thread a call.
//!
//! The embedder and the verifier are the same network with different weights and heads; `models/export.py` writes both
//! files. Weights stay int8 (see [`semblance_encoder`]), the word table in the binary itself, so a loaded model costs 11 MB.
//!
//! Invariants: one text a call, no padding and no mask, so a result depends on its tokens alone; a call that is longer
//! than the model's window is refused.

mod container;
pub mod wordpiece;

use ndarray::{Array2, ArrayViewMut1, Axis, Slice};

use container::{Container, Head as HeadKind, Table};
use semblance_encoder::Encoder;
pub use semblance_encoder::Workspace;

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
    /// The model has another head than the call needs.
    #[error("model has another head than asked for")]
    WrongHead,
    /// No tokens, more than the window, an id outside the vocabulary, or as many types as tokens not given.
    #[error("tokens do not fit the model: {what}")]
    Tokens {
        /// What does not fit.
        what: &'static str,
    },
}

/// What turns hidden states into one number.
#[derive(Debug)]
struct Head {
    /// For the first token's state, then for the mean of all.
    weights: Vec<f32>,
    bias: f32,
}

/// A loaded encoder.
pub struct BertModel {
    words: Table,
    positions: Array2<f32>,
    types: Array2<f32>,
    encoder: Encoder,
    /// `None`: the states are what is wanted.
    head: Option<Head>,
    name: String,
    digest: String,
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
    /// When the bytes are not such a file or its weights do not fit each other.
    pub fn load(bytes: &'static [u8]) -> Result<Self, ModelError> {
        let file = Container::parse(bytes)?;
        let hidden = file.header.hidden;
        let layers = (0..file.layers()?).map(|number| file.layer(number)).collect::<Result<Vec<_>, _>>()?;
        let encoder = Encoder::new(hidden, file.norm("embedded")?, layers);
        Ok(Self {
            words: file.words()?,
            positions: file.positions()?,
            types: file.types()?,
            encoder: encoder.ok_or(ModelError::Malformed { what: "its layers do not fit each other" })?,
            head: match file.header.head {
                HeadKind::Hidden => None,
                HeadKind::Logit => Some(Head::of(&file, hidden)?),
            },
            name: file.header.name,
            digest: file.header.digest,
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
    pub fn hidden_states(&self, ids: &[u32], types: &[u8], work: &mut Workspace) -> Result<Array2<f32>, ModelError> {
        if self.head.is_some() {
            return Err(ModelError::WrongHead);
        }
        self.states(ids, types, work)
    }

    /// The head's one number, for models that have a head. `types` as in [`hidden_states`](Self::hidden_states).
    ///
    /// # Errors
    /// When the tokens do not fit the model, or it has no head.
    pub fn logit(&self, ids: &[u32], types: &[u8], work: &mut Workspace) -> Result<f32, ModelError> {
        let head = self.head.as_ref().ok_or(ModelError::WrongHead)?;
        let states = self.states(ids, types, work)?;
        let mean = states.mean_axis(Axis(0)).into_iter().flatten();
        let pooled = states.row(0).into_iter().copied().chain(mean);
        Ok(pooled.zip(&head.weights).map(|(state, weight)| state * weight).sum::<f32>() + head.bias)
    }

    fn states(&self, ids: &[u32], types: &[u8], work: &mut Workspace) -> Result<Array2<f32>, ModelError> {
        let mut states = self.summed(ids, types)?;
        if let Some(states) = states.as_slice_mut() {
            self.encoder.run(states, work);
        }
        Ok(states)
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

impl Head {
    fn of(file: &Container, hidden: usize) -> Result<Self, ModelError> {
        let (weights, bias) = (file.plain("head.weight")?, file.plain("head.bias")?);
        match bias.as_slice() {
            [bias] if weights.len() == 2 * hidden => Ok(Self { weights, bias: *bias }),
            _ => Err(ModelError::Malformed { what: "its head does not fit its states" }),
        }
    }
}

#[cfg(test)]
mod tests;
