//! Text that the language model writes for a client: a job, since a model may take longer than a client waits for one answer.
//! Which model that is the settings say; nothing is made up where there is none.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vitascope_ai::provider::{Message, Provider, Role, Style};
use vitascope_model::account::Scope;
use vitascope_model::collection::Collection;
use vitascope_model::error::Context;
use vitascope_model::id::JobId;
use vitascope_model::job::Job;
use vitascope_model::{Error, Result};
use vitascope_store::job::{self, NewJob};

use super::{App, mint};
use crate::jobs;

/// Answers that are no JSON, though JSON was asked for, before it is given up.
const TRIES: usize = 3;

/// What a client wants written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wanted {
    pub prompt: String,
    pub is_json: bool,
    pub max_tokens: Option<u64>,
    pub temperature: Option<f64>,
}

/// The language model, or what is missing for one.
pub fn model(app: &App) -> Result<&Arc<Provider>> {
    app.completer.as_ref().ok_or_else(|| {
        Error::unavailable(
            "no language model is configured: VITASCOPE_COMPLETE_URL names an OpenAI-compatible endpoint",
        )
    })
}

/// The job that has it written.
pub async fn enqueue(
    app: &App,
    scope: &Scope,
    collection: &Collection,
    wanted: &Wanted,
    callback_url: Option<String>,
) -> Result<JobId> {
    model(app)?;
    let (id, now) = (mint!(app, JobId), app.now());
    let made = NewJob {
        id: id.clone(),
        owner: scope.user().clone(),
        collection_id: Some(collection.id.clone()),
        kind: jobs::generate_text::KIND,
        payload: serde_json::to_string(wanted).internal("word a job")?,
        dedupe_key: None,
        callback_url,
    };
    app.store.write(move |tx| Box::pin(async move { job::enqueue(tx, &made, now).await })).await?;
    app.job_bells.ring();
    Ok(id)
}

/// Runs a job of `enqueue`. Contract: the reply is `{"output": …}`, a text or what its JSON says.
pub async fn run(app: &App, job: &Job) -> Result<String> {
    let wanted: Wanted = serde_json::from_str(&job.payload).internal("read a job of a text")?;
    let output = write(model(app)?, &wanted).await?;
    Ok(serde_json::json!({ "output": output }).to_string())
}

async fn write(model: &Provider, wanted: &Wanted) -> Result<Value> {
    let said = |role, text: &str| Message { role, text: text.to_owned() };
    let mut messages = vec![said(Role::User, &wanted.prompt)];
    let Wanted { is_json, max_tokens, temperature, .. } = *wanted;
    if is_json {
        messages.insert(0, said(Role::System, "Answer with one JSON value and nothing else."));
    }
    let style = Style { max_tokens, temperature, is_json };
    for _ in 0..TRIES {
        let text = model.complete_as(&messages, &style).await?.text;
        if !is_json {
            return Ok(Value::String(text));
        }
        match serde_json::from_str(bare(&text)) {
            Ok(value) => return Ok(value),
            Err(error) => {
                messages.push(said(Role::User, &format!("That was no JSON ({error}). Answer again, with JSON alone.")))
            }
        }
    }
    Err(Error::unavailable(format!("the language model answered {TRIES} times without JSON")))
}

/// JSON out of the fence that some models put around it.
fn bare(text: &str) -> &str {
    let inner = text.trim().strip_prefix("```").and_then(|t| t.strip_suffix("```"));
    inner.map_or(text.trim(), |t| t.strip_prefix("json").unwrap_or(t).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_found_in_a_fence() {
        assert_eq!(bare(" {\"a\": 1}\n"), "{\"a\": 1}");
        assert_eq!(bare("```json\n[1]\n```"), "[1]");
        assert_eq!(bare("```\n[1]\n```"), "[1]");
    }
}
