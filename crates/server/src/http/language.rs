//! The language model over HTTP: a text for a prompt, and chat completions as any OpenAI client asks for them, handed on as they are.
//! The vectors of texts too, in the same protocol.

use axum::Json;
use axum::body::Body as HttpBody;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use vitascope_model::error::Context;
use vitascope_model::{Error, ErrorKind, Result};

use super::async_response::held;
use super::error::{status, worded};
use super::extract::{Body, Owner, collection_of, compat_callback};
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::{App, generate, source, upload};

/// Of a prompt; a client puts longer ones into a file.
const LONGEST_PROMPT: usize = 4 << 20;
/// Texts whose vectors are asked for at once.
const MOST_TEXTS: usize = 2048;

pub(super) fn routes() -> Routes {
    Routes::new()
        .post("/collection/{collection}/generate/text", generate_text)
        .post("/chat/completions", chat)
        .post("/v1/chat/completions", chat)
        .post("/v1/embeddings", embed)
        .get("/v1/models", list_models)
}

#[derive(Deserialize)]
struct TextRequest {
    prompt: Option<String>,
    prompt_url: Option<String>,
    response_type: Option<String>,
    max_tokens: Option<u64>,
    temperature: Option<f64>,
    callback_url: Option<String>,
}

/// compat: `model_name` may be any of the hosted service's tiers; here the settings choose the model.
async fn generate_text(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(collection): Path<String>,
    Body(request): Body<TextRequest>,
) -> Answer {
    let collection = collection_of(&app, &scope, &collection).await?;
    let is_json = match request.response_type.as_deref().unwrap_or("text") {
        "" | "text" => false,
        "json" => true,
        other => return Err(Error::invalid(format!("response_type {other:?} is not text or json")).into()),
    };
    let set = |value: &Option<String>| value.clone().filter(|v| !v.trim().is_empty());
    let prompt = match (set(&request.prompt), set(&request.prompt_url)) {
        (Some(prompt), _) => prompt,
        (None, Some(url)) => prompt_at(&app, &url).await?,
        (None, None) => return Err(Error::invalid("prompt is required: what is to be written").into()),
    };
    if prompt.len() > LONGEST_PROMPT {
        return Err(Error::invalid(format!("a prompt has at most {LONGEST_PROMPT} bytes")).into());
    }
    let callback_url = compat_callback(&app, request.callback_url)?;
    let is_told = callback_url.is_some();
    let (max_tokens, temperature) = (request.max_tokens, request.temperature);
    let wanted = generate::Wanted { prompt, is_json, max_tokens, temperature };
    let job = generate::enqueue(&app, &scope, &collection, &wanted, callback_url).await?;
    if is_told {
        return Ok(Reply::raw(json!({
            "success": true,
            "message": "the text is being written; callback_url will be told",
            "data": { "id": job.as_str(), "output_url": app.config.url(&format!("/async-response/{job}")) },
        })));
    }
    Ok(Reply::raw(held(&app, &scope, &job).await?))
}

/// compat: the Python SDK sends long prompts to an upload URL of ours first.
async fn prompt_at(app: &App, url: &str) -> Result<String> {
    let source::Source::Slot(hash) = source::find(app, url).await? else {
        return Err(Error::invalid("prompt_url is an upload URL of this server"));
    };
    let bytes = upload::read_small(app, &hash, LONGEST_PROMPT).await?;
    String::from_utf8(bytes).invalid("the prompt at prompt_url is no UTF-8 text")
}

/// OpenAI's own form of an error, which its clients read.
pub(super) fn refused(error: &Error) -> Response {
    let kind = if error.kind == ErrorKind::InvalidArgument { "invalid_request_error" } else { "server_error" };
    let body = json!({ "error": { "message": worded(error), "type": kind, "param": null, "code": error.kind.code() } });
    (status(error.kind), Json(body)).into_response()
}

/// compat: no envelope. The body goes to the provider as it is, images, tools and all, but for the model, which the settings choose.
async fn chat(State(app): State<App>, _: Owner, Body(mut request): Body<Value>) -> Response {
    let asked = async {
        let model = generate::model(&app)?;
        let body = request.as_object_mut().ok_or_else(|| Error::invalid("the body is a JSON object"))?;
        if !body.get("messages").is_some_and(Value::is_array) {
            return Err(Error::invalid("messages is required: a list"));
        }
        body.insert("model".to_owned(), json!(model.config().model));
        model.relay("chat/completions", Bytes::from(request.to_string())).await
    };
    let answer = match asked.await {
        Ok(answer) => answer,
        Err(error) => return refused(&error),
    };
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let kind = answer.content_type.unwrap_or_else(|| "application/json".to_owned());
    let pieces = stream::unfold(answer.body, async |mut body| Some((body.recv().await?, body)));
    (status, [(CONTENT_TYPE, kind)], HttpBody::from_stream(pieces)).into_response()
}

#[derive(Deserialize)]
struct EmbedRequest {
    input: Option<Value>,
    encoding_format: Option<String>,
}

/// Whatever model is named: there is one.
async fn embed(State(app): State<App>, _: Owner, Body(request): Body<EmbedRequest>) -> Response {
    let made = async {
        let texts = texts_of(request.input)?;
        let is_packed = match request.encoding_format.as_deref().unwrap_or("float") {
            "float" => false,
            "base64" => true,
            other => return Err(Error::invalid(format!("encoding_format {other:?} is not float or base64"))),
        };
        let embedder = app.embedding.get()?;
        let vectors = embedder.embed(texts).await?;
        let shown = |vector: Vec<f32>| if is_packed { json!(packed(&vector)) } else { json!(vector) };
        let one = |(n, vector)| json!({ "object": "embedding", "index": n, "embedding": shown(vector) });
        let data: Vec<Value> = vectors.into_iter().enumerate().map(one).collect();
        let usage = json!({ "prompt_tokens": 0, "total_tokens": 0 });
        Ok(json!({ "object": "list", "data": data, "model": embedder.model(), "usage": usage }))
    };
    match made.await {
        Ok(body) => Json(body).into_response(),
        Err(error) => refused(&error),
    }
}

fn texts_of(input: Option<Value>) -> Result<Vec<String>> {
    let wrong = || Error::invalid("input is required: a text, or a list of texts");
    let texts: Vec<String> = match input.ok_or_else(wrong)? {
        Value::String(text) => vec![text],
        Value::Array(list) => {
            let text = |value: Value| value.as_str().map(str::to_owned).ok_or_else(wrong);
            list.into_iter().map(text).collect::<Result<_>>()?
        }
        _ => return Err(wrong()),
    };
    if texts.is_empty() || texts.len() > MOST_TEXTS {
        return Err(Error::invalid(format!("input has 1 to {MOST_TEXTS} texts")));
    }
    Ok(texts)
}

/// Numbers as OpenAI packs them: little-endian, in base64.
fn packed(vector: &[f32]) -> String {
    use base64::Engine;
    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// What answers here, whatever name it is asked by.
async fn list_models(State(app): State<App>, _: Owner) -> Response {
    let completer = app.completer.as_ref().map(|provider| provider.config().model.clone());
    let embedder = app.embedding.get().ok().map(|embedder| embedder.model().to_owned());
    let model = |id: String| json!({ "id": id, "object": "model", "created": 0, "owned_by": "vitascope" });
    let list: Vec<Value> = completer.into_iter().chain(embedder).map(model).collect();
    Json(json!({ "object": "list", "data": list })).into_response()
}
