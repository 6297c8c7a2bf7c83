//! all-MiniLM-L6-v2 on rten: tokens in, one vector of length 1 for each text out: the mean of its tokens' vectors. Texts of about the same
//! length run together, padded to the longest; which they are does not change what comes out. Who asks, and when, is `worker.rs`'s business.

use std::path::Path;

use rten::{Model, NodeId, RunOptions};
use rten_tensor::Tensor;
use rten_tensor::prelude::*;
use vitascope_model::error::Context;
use vitascope_model::{Error, Result};

use super::normalise;
use super::wordpiece::WordPiece;

pub(super) const DIMENSIONS: usize = 384;
/// What the model was trained to read; what a text has beyond it does not count.
pub(super) const MOST_TOKENS: usize = 256;
/// Tokens that run together, padding included, unless one text alone has more: memory grows with them, speed no longer does.
const BATCH_TOKENS: usize = 512;

pub(super) struct MiniLm {
    model: Model,
    words: WordPiece,
    ids: NodeId,
    mask: NodeId,
    kinds: NodeId,
}

impl MiniLm {
    pub(super) const NAME: &str = "all-MiniLM-L6-v2";
    pub(super) const FOLDER: &str = "all-minilm-l6-v2";

    pub(super) fn load(models: &Path) -> Result<MiniLm> {
        let folder = models.join(MiniLm::FOLDER);
        let vocabulary = std::fs::read_to_string(folder.join("vocab.txt")).internal("read vocab.txt")?;
        let words = WordPiece::read(&vocabulary).ok_or_else(|| Error::internal("vocab.txt is torn"))?;
        let file = folder.join("model.onnx");
        let model = Model::load_file(&file).internal(format_args!("load {}", file.display()))?;
        let node = |name: &str| model.node_id(name).internal("read the embedding model");
        let (ids, mask, kinds) = (node("input_ids")?, node("attention_mask")?, node("token_type_ids")?);
        Ok(MiniLm { model, words, ids, mask, kinds })
    }

    /// The vectors of `texts`, in order. `go_on` is asked between the runs: where nobody waits any more the rest is left.
    pub(super) fn embed(
        &self,
        texts: &[String],
        options: &RunOptions,
        go_on: impl Fn() -> bool,
    ) -> Result<Vec<Vec<f32>>> {
        let tokens: Vec<Vec<i32>> = texts.iter().map(|t| self.words.encode(t, MOST_TOKENS)).collect();
        let mut vectors = vec![Vec::new(); texts.len()];
        for batch in batches(&tokens) {
            if !go_on() {
                return Err(Error::unavailable("nobody waits for these vectors"));
            }
            let rows: Vec<&[i32]> = batch.iter().map(|i| &tokens[*i][..]).collect();
            for (i, vector) in batch.into_iter().zip(self.run(&rows, options)?) {
                vectors[i] = vector;
            }
        }
        Ok(vectors)
    }

    fn run(&self, rows: &[&[i32]], options: &RunOptions) -> Result<Vec<Vec<f32>>> {
        let width = rows.iter().map(|r| r.len()).max().unwrap_or_default();
        let shape = [rows.len(), width];
        let (mut ids, mut mask) = (Vec::with_capacity(shape[0] * width), Vec::with_capacity(shape[0] * width));
        for row in rows {
            let padding = width - row.len();
            ids.extend(row.iter().copied().chain(std::iter::repeat_n(0, padding)));
            mask.extend(std::iter::repeat_n(1, row.len()).chain(std::iter::repeat_n(0, padding)));
        }
        let inputs = vec![
            (self.ids, Tensor::<i32>::from_data(&shape, ids).into()),
            (self.mask, Tensor::<i32>::from_data(&shape, mask).into()),
            (self.kinds, Tensor::<i32>::zeros(&shape).into()),
        ];
        let out = self.model.run(inputs, self.model.output_ids(), Some(options.clone()));
        let hidden = out.internal("run the embedding model")?.into_iter().next();
        let hidden: Tensor<f32> = hidden
            .ok_or_else(|| Error::internal("the embedding model gave nothing"))?
            .try_into()
            .internal("read what the embedding model gave")?;
        if hidden.shape() != [rows.len(), width, DIMENSIONS] {
            return Err(Error::internal(format!("the embedding model gave {:?}", hidden.shape())));
        }
        let hidden = hidden.to_vec();
        hidden.chunks_exact(width * DIMENSIONS).zip(rows).map(|(states, row)| mean(states, row.len())).collect()
    }
}

/// The direction of the mean of the first `tokens` states; the others are padding.
fn mean(states: &[f32], tokens: usize) -> Result<Vec<f32>> {
    let mut sum = vec![0.0; DIMENSIONS];
    for state in states.chunks_exact(DIMENSIONS).take(tokens) {
        sum.iter_mut().zip(state).for_each(|(s, x)| *s += x);
    }
    normalise(sum).ok_or_else(|| Error::internal("the embedding model gave no direction"))
}

/// Which texts run together: neighbours in length, so that little is padding.
fn batches(tokens: &[Vec<i32>]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..tokens.len()).collect();
    order.sort_by_key(|i| tokens[*i].len());
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for i in order {
        match batches.last_mut() {
            Some(batch) if (batch.len() + 1) * tokens[i].len() <= BATCH_TOKENS => batch.push(i),
            _ => batches.push(vec![i]),
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_a_length_run_together_and_none_is_lost() {
        let lengths = [256, 10, 250, 12, 3, 256, 256, 11];
        let tokens: Vec<Vec<i32>> = lengths.iter().map(|n| vec![1; *n]).collect();
        let batches = batches(&tokens);
        assert_eq!(batches[0], [4, 1, 7, 3]);
        assert!(batches.iter().all(|b| b.len() * b.iter().map(|i| lengths[*i]).max().unwrap() <= BATCH_TOKENS));
        let mut all: Vec<usize> = batches.concat();
        all.sort_unstable();
        assert_eq!(all, (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn padding_is_no_part_of_the_mean() {
        let mut states = vec![0.0; 3 * DIMENSIONS];
        (states[0], states[DIMENSIONS], states[2 * DIMENSIONS + 1]) = (1.0, 3.0, 9.0);
        let vector = mean(&states, 2).unwrap();
        assert_eq!((vector[0], vector[1]), (1.0, 0.0));
    }
}
