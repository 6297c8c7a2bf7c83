//! `POST {base}/chat/completions`: messages in, text out. Servers differ: the text may come as a string or in parts, a model that
//! reasons may put its thoughts before it, and what a call cost is not always told.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use vitascope_model::{Error, Result};

use super::Provider;

/// As much of an answer as is kept: a model that fell into a loop ends nowhere by itself.
const LONGEST_TEXT: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// What the model is told to be; clients have no say in it.
    System,
    User,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    pub role: Role,
    #[serde(rename = "content")]
    pub text: String,
}

/// What a model wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    pub text: String,
    /// What the call cost, as far as it was told.
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

/// How a model is to write; what is not said the provider decides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Style {
    pub max_tokens: Option<u64>,
    pub temperature: Option<f64>,
    /// JSON and nothing else.
    pub is_json: bool,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: &'a [Message],
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Format>,
}

#[derive(Serialize)]
struct Format {
    r#type: &'static str,
}

#[derive(Deserialize)]
struct Answer {
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    message: Said,
}

#[derive(Deserialize)]
struct Said {
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    text: Option<String>,
}

#[derive(Default, Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

impl Provider {
    /// What the model answers to `messages`. All tries are over when this fails.
    pub async fn complete(&self, messages: &[Message]) -> Result<Completion> {
        self.complete_as(messages, &Style::default()).await
    }

    /// The same in a style.
    pub async fn complete_as(&self, messages: &[Message], style: &Style) -> Result<Completion> {
        let response_format = style.is_json.then_some(Format { r#type: "json_object" });
        let (max_tokens, temperature) = (style.max_tokens, style.temperature);
        let model = &self.config().model;
        let request = Request { model, messages, stream: false, max_tokens, temperature, response_format };
        let body = serde_json::to_vec(&request).map_err(|e| Error::internal("write a request").because(e))?;
        let answer = self.post("chat/completions", "application/json", Bytes::from(body)).await?;
        let unreadable = |e| Error::unavailable("the provider's answer is no chat completion").because(e);
        serde_json::from_value::<Answer>(answer).map_err(unreadable)?.into_completion()
    }
}

impl Answer {
    fn into_completion(self) -> Result<Completion> {
        let content = self.choices.into_iter().next().and_then(|c| c.message.content);
        let said = match content {
            Some(Content::Text(text)) => text,
            Some(Content::Parts(parts)) => parts.into_iter().filter_map(|p| p.text).collect(),
            None => String::new(),
        };
        let text = cut(without_thoughts(&said).trim());
        if text.is_empty() {
            return Err(Error::unavailable("the provider answered without a text"));
        }
        let Usage { prompt_tokens, completion_tokens } = self.usage.unwrap_or_default();
        Ok(Completion { text: text.to_owned(), prompt_tokens, completion_tokens })
    }
}

/// Local servers leave a model's thoughts in its answer.
fn without_thoughts(text: &str) -> &str {
    let thinks = text.trim_start().starts_with("<think>");
    let after = text.split_once("</think>").filter(|_| thinks);
    after.map_or(text, |(_, said)| said)
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_TEXT)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(answer: serde_json::Value) -> Result<Completion> {
        serde_json::from_value::<Answer>(answer).unwrap().into_completion()
    }

    fn saying(content: &serde_json::Value) -> Result<String> {
        read(json!({ "choices": [{ "message": { "role": "assistant", "content": content } }] })).map(|c| c.text)
    }

    #[test]
    fn the_text_is_found_in_every_dialect() {
        assert_eq!(saying(&json!(" A summary.\n")).unwrap(), "A summary.");
        assert_eq!(saying(&json!([{ "type": "text", "text": "A " }, { "type": "text", "text": "B" }])).unwrap(), "A B");
        assert_eq!(saying(&json!("<think>Hm.</think>\n\nYes.")).unwrap(), "Yes.");
        assert_eq!(saying(&json!("no </think> here")).unwrap(), "no </think> here");
        assert_eq!(saying(&json!("é".repeat(LONGEST_TEXT))).unwrap().len(), LONGEST_TEXT);
        let usage = json!({ "prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10 });
        let told = read(json!({ "choices": [{ "message": { "content": "x" } }], "usage": usage })).unwrap();
        assert_eq!((told.prompt_tokens, told.completion_tokens), (7, 3));
    }

    #[test]
    fn no_text_is_an_error() {
        for content in [json!(null), json!(""), json!([]), json!("<think>…</think>")] {
            assert!(saying(&content).unwrap_err().message.contains("without a text"), "{content}");
        }
        assert!(read(json!({ "choices": [] })).is_err());
    }
}
