//! `POST {base}/embeddings`: texts in, one vector of length 1 for each out, in the order of the texts. What the vectors are compared with,
//! and whether their length is that of earlier ones, is the caller's business.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use vitascope_model::{Error, Result};

use super::Provider;
use crate::embed::normalise;

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: Vec<&'a str>,
    encoding_format: &'static str,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Embedding>,
}

#[derive(Deserialize)]
struct Embedding {
    index: usize,
    embedding: Vec<f32>,
}

impl Provider {
    /// The vectors of `texts`, all in one call. All tries are over when this fails.
    pub async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        // OpenAI refuses a whole call for one empty text, but takes a space.
        let input = texts.iter().map(|t| if t.is_empty() { " " } else { t }).collect();
        let request = Request { model: &self.config().model, input, encoding_format: "float" };
        let body = serde_json::to_vec(&request).map_err(|e| Error::internal("write a request").because(e))?;
        let answer = self.post("embeddings", "application/json", Bytes::from(body)).await?;
        let unreadable = |e| Error::unavailable("the provider's answer holds no embeddings").because(e);
        serde_json::from_value::<Answer>(answer).map_err(unreadable)?.into_vectors(texts.len())
    }
}

impl Answer {
    fn into_vectors(self, wanted: usize) -> Result<Vec<Vec<f32>>> {
        let mut vectors: Vec<Option<Vec<f32>>> = vec![None; wanted];
        for Embedding { index, embedding } in self.data {
            let Some(place) = vectors.get_mut(index).filter(|place| place.is_none()) else {
                return Err(Error::unavailable(format!("the provider's embedding {index} was not asked for")));
            };
            let vector = normalise(embedding);
            *place = Some(vector.ok_or_else(|| Error::unavailable("the provider gave a vector without a direction"))?);
        }
        let all: Option<Vec<Vec<f32>>> = vectors.into_iter().collect();
        let all = all.ok_or_else(|| Error::unavailable("the provider gave fewer embeddings than texts"))?;
        if all.windows(2).any(|v| v[0].len() != v[1].len()) {
            return Err(Error::unavailable("the provider gave vectors of different lengths"));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(data: serde_json::Value) -> Result<Vec<Vec<f32>>> {
        serde_json::from_value::<Answer>(json!({ "object": "list", "data": data })).unwrap().into_vectors(2)
    }

    fn one(index: usize, vector: &[f32]) -> serde_json::Value {
        json!({ "object": "embedding", "index": index, "embedding": vector })
    }

    #[test]
    fn vectors_are_put_in_order_and_have_length_one() {
        let vectors = read(json!([one(1, &[0.0, 2.0]), one(0, &[2e30, 0.0])])).unwrap();
        assert_eq!(vectors, [[1.0, 0.0], [0.0, 1.0]]);
    }

    #[test]
    fn an_answer_that_does_not_fit_is_an_error() {
        let (a, b) = (one(0, &[1.0, 0.0]), one(1, &[0.0, 1.0]));
        for (data, why) in [
            (json!([a]), "fewer"),
            (json!([a, a]), "was not asked for"),
            (json!([a, b, one(2, &[1.0, 1.0])]), "was not asked for"),
            (json!([a, one(1, &[1.0])]), "different lengths"),
            (json!([a, one(1, &[0.0, 0.0])]), "without a direction"),
            (json!([a, one(1, &[])]), "without a direction"),
        ] {
            assert!(read(data.clone()).unwrap_err().message.contains(why), "{data}");
        }
    }
}
