//! Moonshine tiny on rten: encode, greedy decode that may start from a draft, and word times from cross-attention.
//! The weights are shared; every worker brings its own run options. What is decoded, and when, is `live.rs`'s business.

use std::path::Path;

use rten::{Model, NodeId, RunOptions, Value, ValueOrView};
use rten_tensor::prelude::*;
use rten_tensor::{Tensor, TensorView};
use vitascope_model::error::Context;
use vitascope_model::{Error, Result};

use super::RATE;
use super::align::Cost;
use super::vocabulary::Vocabulary;

const BEGIN: u32 = 1;
const END: u32 = 2;
/// Heads, and width of each, in the decoder's caches.
const HEADS: usize = 8;
const WIDTH: usize = 36;

/// A clip as the decoder hears it.
pub(super) struct Encoded {
    hidden: Tensor<f32>,
    samples: usize,
}

#[derive(Clone, Default)]
pub(super) struct Hypothesis {
    pub(super) tokens: Vec<u32>,
    pub(super) log_probabilities: Vec<f32>,
    /// The decoder repeated itself and was cut.
    pub(super) looped: bool,
}

/// A word of a clip; times are seconds from the clip's start.
#[derive(Clone)]
pub(super) struct ClipWord {
    pub(super) text: String,
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) tokens: Vec<u32>,
}

/// One cache slot: its output, the input it is fed back into, and whether it grows with the text.
struct Slot {
    present: NodeId,
    past: NodeId,
    grows: bool,
}

pub(super) struct Moonshine {
    encoder: Model,
    decoder: Model,
    slots: Vec<Slot>,
    logits: NodeId,
    attention: Vec<NodeId>,
    pub(super) vocabulary: Vocabulary,
}

/// How far a decode goes.
pub(super) struct Limits<'a> {
    /// What the hypothesis may be: checked in one run, and kept as far as greedy decoding agrees.
    pub(super) draft: &'a [u32],
    /// So many tokens of the draft are kept unchecked.
    pub(super) force: usize,
    pub(super) tokens: usize,
}

impl Moonshine {
    pub(super) const FOLDER: &str = "moonshine-tiny-en";

    pub(super) fn load(models: &Path) -> Result<Moonshine> {
        let folder = models.join(Moonshine::FOLDER);
        let load = |name: &str| {
            Model::load_file(folder.join(name)).internal(format_args!("load {name} of {}", folder.display()))
        };
        let (encoder, decoder) = (load("encoder.onnx")?, load("decoder.onnx")?);
        let name = |id: &NodeId| decoder.node_info(*id).and_then(|n| n.name().map(str::to_owned)).unwrap_or_default();
        let mut slots = Vec::new();
        for past in decoder.input_ids().iter().copied() {
            let input = name(&past);
            if input.starts_with("past_key_values") {
                let present =
                    decoder.node_id(&input.replace("past_key_values", "present")).internal("read the decoder")?;
                slots.push(Slot { present, past, grows: input.contains("decoder") });
            }
        }
        let attention = decoder.output_ids().iter().filter(|id| name(id).starts_with("xattn")).copied().collect();
        let logits = decoder.node_id("logits").internal("read the decoder")?;
        let tokenizer = std::fs::read(folder.join("tokenizer.bin")).internal("read tokenizer.bin")?;
        let vocabulary = Vocabulary::read(&tokenizer).ok_or_else(|| Error::internal("tokenizer.bin is torn"))?;
        Ok(Moonshine { encoder, decoder, slots, logits, attention, vocabulary })
    }

    pub(super) fn encode(&self, pcm: &[f32], options: &RunOptions) -> Result<Encoded> {
        let shape = [1, pcm.len()];
        let node = |name: &str| self.encoder.node_id(name).internal("use the encoder");
        // The mask is as long as the sound: the graph strides it itself.
        let inputs = vec![
            (node("input_values")?, TensorView::from_data(&shape, pcm).into()),
            (node("attention_mask")?, Tensor::<i32>::full(&shape, 1).into()),
        ];
        let out =
            self.encoder.run(inputs, self.encoder.output_ids(), Some(options.clone())).internal("run the encoder")?;
        Ok(Encoded { hidden: first(out)?, samples: pcm.len() })
    }

    /// One decoder run. `past` empty: the branch without caches, any number of tokens. Otherwise one token.
    fn run(
        &self,
        clip: &Encoded,
        tokens: &[u32],
        past: &[Value],
        want: &[NodeId],
        options: &RunOptions,
    ) -> Result<Vec<Value>> {
        let node = |name: &str| self.decoder.node_id(name).internal("use the decoder");
        let ids: Vec<i32> = tokens.iter().map(|t| *t as i32).collect();
        let ids = Tensor::<i32>::from_data(&[1, ids.len()], ids);
        let mask = Tensor::<i32>::full(&[1, clip.samples], 1);
        let cached = Tensor::<i32>::from_data(&[1], vec![i32::from(!past.is_empty())]);
        let empty = Tensor::<f32>::zeros(&[1, HEADS, 0, WIDTH]);
        let mut inputs: Vec<(NodeId, ValueOrView<'_>)> = vec![
            (node("encoder_attention_mask")?, mask.view().into()),
            (node("input_ids")?, ids.view().into()),
            (node("encoder_hidden_states")?, clip.hidden.view().into()),
            (node("use_cache_branch")?, cached.view().into()),
        ];
        for (i, slot) in self.slots.iter().enumerate() {
            inputs.push((slot.past, past.get(i).map_or_else(|| empty.view().into(), Into::into)));
        }
        self.decoder.run(inputs, want, Some(options.clone())).internal("run the decoder")
    }

    /// Greedy decode.
    pub(super) fn decode(&self, clip: &Encoded, limits: &Limits<'_>, options: &RunOptions) -> Result<Hypothesis> {
        let mut found = Hypothesis::default();
        let (mut past, mut next) = self.check_draft(clip, limits, &mut found, options)?;
        // Only the parts that grow are asked for: the rest would be copied for every token.
        let growing: Vec<usize> = (0..self.slots.len()).filter(|i| self.slots[*i].grows).collect();
        let want: Vec<NodeId> =
            [self.logits].into_iter().chain(growing.iter().map(|i| self.slots[*i].present)).collect();
        while next != END && found.tokens.len() < limits.tokens && !found.looped {
            let mut out = self.run(clip, &[next], &past, &want, options)?;
            for (i, value) in growing.iter().zip(out.split_off(1)) {
                past[*i] = value;
            }
            let logits = first(out)?;
            next = found.push(logits.data().ok_or_else(scattered)?, None);
            found.cut_loop();
        }
        Ok(found)
    }

    /// Runs the whole draft at once and keeps what greedy decoding would have picked as well. Returns the caches of what is kept, and
    /// the newest token, which is not fed yet.
    fn check_draft(
        &self,
        clip: &Encoded,
        limits: &Limits<'_>,
        found: &mut Hypothesis,
        options: &RunOptions,
    ) -> Result<(Vec<Value>, u32)> {
        let draft = &limits.draft[..limits.draft.len().min(limits.tokens)];
        let input: Vec<u32> = [BEGIN].iter().chain(draft).copied().collect();
        let want: Vec<NodeId> = [self.logits].into_iter().chain(self.slots.iter().map(|s| s.present)).collect();
        let mut out = self.run(clip, &input, &[], &want, options)?;
        let mut past = out.split_off(1);
        let logits = first(out)?;
        let rows = logits.data().ok_or_else(scattered)?;
        let mut next = END;
        for (i, row) in rows.chunks_exact(rows.len() / input.len()).enumerate() {
            next = found.push(row, draft.get(i).filter(|_| i < limits.force));
            if next == END || draft.get(i) != Some(&next) {
                break;
            }
        }
        let keep = found.tokens.len().max(1);
        if keep < input.len() {
            for (value, _) in past.iter_mut().zip(&self.slots).filter(|(_, slot)| slot.grows) {
                let whole = first(vec![std::mem::replace(value, Tensor::<f32>::zeros(&[0]).into())])?;
                *value = whole.slice((.., .., ..keep)).to_tensor().into_dyn().into();
            }
        }
        Ok((past, next))
    }

    /// The words of `tokens` with times, by one forced run.
    pub(super) fn align(&self, clip: &Encoded, tokens: &[u32], options: &RunOptions) -> Result<Vec<ClipWord>> {
        let Some((_, fed)) = tokens.split_last() else { return Ok(Vec::new()) };
        let input: Vec<u32> = [BEGIN].iter().chain(fed).copied().collect();
        let mut cost: Option<Cost> = None;
        for value in self.run(clip, &input, &[], &self.attention, options)? {
            let heads = first(vec![value])?;
            let steps = heads.size(3);
            let cost = cost.get_or_insert_with(|| Cost::new(tokens.len(), steps));
            heads.to_vec().chunks_exact(tokens.len() * steps).for_each(|head| cost.add(head));
        }
        let cost = cost.ok_or_else(|| Error::internal("the decoder gives no attention"))?;
        let step = clip.samples as f64 / RATE as f64 / cost.steps() as f64;
        let mut words: Vec<ClipWord> = Vec::new();
        for (token, (from, to)) in tokens.iter().zip(cost.path()) {
            let end = (to + 1) as f64 * step;
            match words.last_mut() {
                Some(word) if !self.vocabulary.begins_word(*token) => {
                    word.tokens.push(*token);
                    word.end = end;
                }
                _ => words.push(ClipWord { text: String::new(), start: from as f64 * step, end, tokens: vec![*token] }),
            }
        }
        words.iter_mut().for_each(|w| w.text = self.vocabulary.text(&w.tokens));
        Ok(words)
    }
}

impl Hypothesis {
    /// Takes the likeliest token of a row of logits (or the forced one); the end is returned but not kept.
    fn push(&mut self, row: &[f32], forced: Option<&u32>) -> u32 {
        let (best, top) = row.iter().enumerate().fold((0, f32::MIN), |m, (i, x)| if *x > m.1 { (i, *x) } else { m });
        let token = forced.map_or(best as u32, |f| *f);
        if token != END {
            let sum: f32 = row.iter().map(|x| (x - top).exp()).sum();
            self.tokens.push(token);
            self.log_probabilities.push(row[token as usize] - top - sum.ln());
        }
        token
    }

    fn cut_loop(&mut self) {
        if let Some(cut) = repeats(&self.tokens) {
            self.tokens.truncate(cut);
            self.log_probabilities.truncate(cut);
            self.looped = true;
        }
    }

    /// Mean log probability of the tokens.
    pub(super) fn mean(&self) -> f32 {
        self.log_probabilities.iter().sum::<f32>() / self.log_probabilities.len().max(1) as f32
    }
}

/// The one tensor that a run gave.
pub(super) fn first(out: Vec<Value>) -> Result<Tensor<f32>> {
    let value = out.into_iter().next().ok_or_else(|| Error::internal("a model gave nothing"))?;
    value.try_into().internal("read what a model gave")
}

fn scattered() -> Error {
    Error::internal("a model's logits are not contiguous")
}

/// If the tokens end in one phrase again and again: where to cut so that one copy stays. Short phrases must repeat more often.
pub(super) fn repeats(tokens: &[u32]) -> Option<usize> {
    (1..=12).find_map(|n| {
        let tail = tokens.len().checked_sub(n * (12 / n).clamp(3, 6))?;
        tokens[tail..].chunks_exact(n).all(|c| c == &tokens[tail..tail + n]).then_some(tail + n)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_that_repeats_is_cut_to_one() {
        assert_eq!(repeats(&[9, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4]), Some(5));
        assert_eq!(repeats(&[7, 7, 7, 7, 7, 7]), Some(1));
        assert_eq!(repeats(&[1, 2, 3, 1, 2, 4]), None);
    }
}
