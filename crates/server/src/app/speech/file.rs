//! What is said in a file that becomes no asset: heard once, answered, and forgotten.

use std::path::Path;
use std::sync::mpsc as plain;
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;
use vitascope_ai::speech::Utterance as Spoken;
use vitascope_media::encoder::listen::listen;
use vitascope_model::error::Context;
use vitascope_model::id::UserId;
use vitascope_model::transcript::Utterance;
use vitascope_model::usage::Meter;
use vitascope_model::{Result, Span};

use crate::app::App;
use crate::live::hearing::RATE;

/// What was said in a file, and how long its sound is.
pub struct Heard {
    pub said: Vec<Utterance>,
    pub length: Span,
}

/// Hears all of a file, as fast as what is live leaves the models free.
pub async fn hear(app: &App, owner: &UserId, file: &Path) -> Result<Heard> {
    let mut sound = listen(file)?;
    let (spoken, told) = plain::channel();
    let spoken = Mutex::new(spoken);
    let sink = move |utterance: Spoken| {
        if utterance.is_final && !utterance.words.is_empty() {
            spoken.lock().unwrap_or_else(PoisonError::into_inner).send(utterance).ok();
        }
    };
    let mut channel = app.transcriber.open_recording(Box::new(sink)).await?;
    let (pieces, mut read) = mpsc::channel::<Vec<f32>>(4);
    let hearing = tokio::task::spawn_blocking(move || {
        let mut samples = 0_i64;
        while let Some(pcm) = read.blocking_recv() {
            samples += pcm.len() as i64;
            channel.push(&pcm)?;
        }
        channel.finish()?;
        Ok::<_, vitascope_model::Error>((told.try_iter().collect::<Vec<Spoken>>(), Span::of_ticks(samples, RATE)))
    });
    while let Some(pcm) = sound.next().await? {
        if pieces.send(pcm).await.is_err() {
            break;
        }
    }
    drop(pieces);
    let (spoken, length) = hearing.await.internal("hear a file")??;
    app.usage.add(owner, Meter::Analysed, length.0.unsigned_abs());
    let utterance = |u: Spoken| Utterance { start: u.start, end: u.end, words: u.words, confidence: u.confidence };
    Ok(Heard { said: spoken.into_iter().map(utterance).collect(), length })
}
