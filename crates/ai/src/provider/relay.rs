//! A client's own call handed on to the provider: its body as it is but for the model, and the answer as it comes, in pieces or whole.
//! It is asked once: part of an answer may have been seen already. What the provider says to our key never reaches a client.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use tokio::sync::mpsc;
use vitascope_model::{Error, Result};

use super::{LARGEST_ANSWER, LONGEST_REASON, Provider, Refusal};

/// An answer that is written word by word may take so long.
const LONGEST: Duration = Duration::from_secs(600);
/// Pieces that wait for a slow client.
const WAITING: usize = 16;

/// What the provider answers.
pub struct Relayed {
    pub status: u16,
    pub content_type: Option<String>,
    pub body: mpsc::Receiver<Result<Bytes>>,
}

impl Provider {
    /// Posts JSON to `{base}/{path}`. A client that goes away ends the call.
    pub async fn relay(self: &Arc<Self>, path: &str, body: Bytes) -> Result<Relayed> {
        let url = format!("{}/{path}", self.config.url);
        let mut request = self.client.post(url).header(CONTENT_TYPE, "application/json").body(body);
        request = request.timeout(LONGEST.max(self.config.timeout));
        if let Some(key) = &self.config.key {
            request = request.bearer_auth(key);
        }
        let (sender, pieces) = mpsc::channel(WAITING);
        let (mut told, head) = tokio::sync::oneshot::channel::<Result<(u16, Option<String>)>>();
        let provider = self.clone();
        tokio::spawn(async move {
            // Never closed, so there is nothing to fail.
            let _slot = provider.slots.acquire().await.ok();
            let sent = tokio::select! {
                sent = request.send() => sent,
                () = told.closed() => return,
            };
            let mut response = match sent.map_err(Refusal::silent) {
                Ok(response) => response,
                Err(refusal) => return drop(told.send(Err(Error::from(refusal)))),
            };
            let status = response.status().as_u16();
            let kind = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).map(str::to_owned);
            if matches!(status, 401 | 403) {
                let said = response.text().await.unwrap_or_default();
                let reason: String = said.chars().take(LONGEST_REASON).collect();
                tracing::error!(provider = %provider.config.url, status, reason, "the provider refuses our key");
                let refusal = "the provider of the language model refuses the server's key: its log says more";
                return drop(told.send(Err(Error::unavailable(refusal))));
            }
            if told.send(Ok((status, kind))).is_err() {
                return;
            }
            let mut size = 0;
            loop {
                let piece = match response.chunk().await {
                    Ok(None) => return,
                    Ok(Some(piece)) => Ok(piece),
                    Err(error) => Err(Refusal::silent(error).into()),
                };
                size += piece.as_ref().map_or(0, Bytes::len);
                let piece =
                    if size > LARGEST_ANSWER { Err(Error::unavailable("the answer is too long")) } else { piece };
                let is_last = piece.is_err();
                if sender.send(piece).await.is_err() || is_last {
                    return;
                }
            }
        });
        let head = head.await.map_err(|_| Error::internal("a relayed call broke off"))?;
        let (status, content_type) = head?;
        Ok(Relayed { status, content_type, body: pieces })
    }
}
