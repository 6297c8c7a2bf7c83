//! Silero VAD: how likely each 32 ms of sound are speech.

use std::path::Path;

use rten::{Model, RunOptions};
use rten_tensor::Tensor;
use rten_tensor::prelude::*;
use vitascope_model::Result;
use vitascope_model::error::Context;

use super::FRAME;
use super::RATE;
use super::moonshine::first;

/// The model wants so many samples of the frame before in front of each frame.
const CONTEXT: usize = 64;
const STATE: usize = 128;

pub(super) struct Silero(Model);

/// What the model remembers of one channel.
#[derive(Clone)]
pub(super) struct VadState {
    hidden: Vec<f32>,
    context: [f32; CONTEXT],
}

impl Default for VadState {
    fn default() -> Self {
        VadState { hidden: vec![0.0; 2 * STATE], context: [0.0; CONTEXT] }
    }
}

impl Silero {
    pub(super) fn load(models: &Path) -> Result<Silero> {
        let file = models.join("silero-vad/vad.onnx");
        Ok(Silero(Model::load_file(&file).internal(format_args!("load {}", file.display()))?))
    }

    /// The probability that `frame` is speech.
    pub(super) fn run(&self, frame: &[f32; FRAME], state: &mut VadState, options: &RunOptions) -> Result<f32> {
        let mut input = Vec::with_capacity(CONTEXT + FRAME);
        input.extend_from_slice(&state.context);
        input.extend_from_slice(frame);
        state.context.copy_from_slice(&frame[FRAME - CONTEXT..]);
        let node = |name: &str| self.0.node_id(name).internal("use the VAD model");
        let inputs = vec![
            (node("input")?, Tensor::from_data(&[1, CONTEXT + FRAME], input).into()),
            (node("state")?, Tensor::from_data(&[2, 1, STATE], std::mem::take(&mut state.hidden)).into()),
            (node("sr")?, Tensor::<i32>::from_data(&[], vec![RATE as i32]).into()),
        ];
        let mut out = self.0.run(inputs, self.0.output_ids(), Some(options.clone())).internal("run the VAD model")?;
        state.hidden = first(out.split_off(1))?.to_vec();
        Ok(first(out)?.to_vec().first().copied().unwrap_or_default())
    }
}
