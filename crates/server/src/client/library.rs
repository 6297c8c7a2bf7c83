//! `ls` and `play`: what the server has, and the page that plays a part of it. Only looked at, nothing is changed.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use vitascope_model::{Error, ErrorKind, Result};

use super::api::Api;
use super::{Said, Terms, show};
use crate::config::ClientConfig;

#[derive(Debug, Args)]
pub struct ListArguments {
    /// What to list; without it videos, audios and images together.
    #[arg(value_enum)]
    what: Option<Kind>,
    /// Only what lies in this collection (an id, or `default`).
    #[arg(long, short = 'c')]
    collection: Option<String>,
    #[command(flatten)]
    pub(super) terms: Terms,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Videos,
    Audios,
    Images,
    Collections,
}

#[derive(Debug, Args)]
pub struct PlayArguments {
    /// The id of a video (m-…), audio (a-…), image (img-…), rtstream (rts-…) or capture session (cap-…).
    id: String,
    /// Where it begins: seconds, or as in 1:02:03.5.
    #[arg(long, value_parser = show::seconds)]
    at: Option<f64>,
    #[command(flatten)]
    pub(super) terms: Terms,
}

pub(super) async fn list(wish: &ListArguments, config: &ClientConfig) -> Result<Said> {
    let api = wish.terms.api(config)?;
    let kind = match wish.what {
        Some(Kind::Collections) => return collections(&api).await,
        Some(Kind::Videos) => "video",
        Some(Kind::Audios) => "audio",
        Some(Kind::Images) => "image",
        None => "video,audio,image",
    };
    let mut query = vec![("asset_type", kind)];
    query.extend(wish.collection.as_deref().map(|id| ("collection_id", id)));
    let assets = api.get(&["assets"], &query).await?;
    let rows = assets.as_array().into_iter().flatten().map(|asset| {
        let of = |key: &str| asset[key].as_str().unwrap_or_default().to_owned();
        let length = asset["length"].as_f64().map_or_else(String::new, show::clock);
        let size = of("size").parse().map_or_else(|_| String::new(), show::size);
        [of("id"), of("asset_type"), length, size, minute(&of("created_at")), of("name")]
    });
    let text = show::table(["ID", "KIND", "LENGTH", "SIZE", "CREATED", "NAME"], rows.collect());
    Ok(Said::new(text, json!({ "success": true, "assets": assets })))
}

async fn collections(api: &Api) -> Result<Said> {
    let found = api.get(&["collection"], &[]).await?;
    let default = &found["default_collection"];
    let rows = found["collections"].as_array().into_iter().flatten().map(|collection| {
        let of = |key: &str| collection[key].as_str().unwrap_or_default().to_owned();
        let mark = if collection["id"] == *default { "default" } else { "" };
        [of("id"), mark.to_owned(), minute(&of("created_at")), of("name")]
    });
    let text = show::table(["ID", "", "CREATED", "NAME"], rows.collect());
    let json = json!({ "success": true, "collections": found["collections"], "default_collection": default });
    Ok(Said::new(text, json))
}

/// Of `2026-01-02T03:04:05.678Z`.
fn minute(created_at: &str) -> String {
    created_at.get(..16).unwrap_or(created_at).replace('T', " ")
}

pub(super) async fn play(wish: &PlayArguments, config: &ClientConfig) -> Result<Said> {
    let api = wish.terms.api(config)?;
    let found = find(&api, &wish.id).await?;
    let url = found["player_url"].as_str().or(found["url"].as_str());
    let url =
        url.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("nothing of {} can be played yet", wish.id)))?;
    let url = match wish.at {
        Some(at) => format!("{url}#t={at}"),
        None => url.to_owned(),
    };
    let stream_url = &found["stream_url"];
    let json =
        json!({ "success": true, "id": wish.id, "player_url": url, "stream_url": stream_url, "name": found["name"] });
    Ok(Said::new(url, json))
}

/// What an id stands for, as the server describes it.
pub(super) async fn find(api: &Api, id: &str) -> Result<Value> {
    let room = match id.split_once('-').map(|(prefix, _)| prefix) {
        Some("m") => &["video"][..],
        Some("a") => &["audio"],
        Some("img") => &["image"],
        Some("rts") => &["rtstream"],
        Some("cap") => &["collection", "default", "capture", "session"],
        _ => {
            return Err(Error::invalid(format!(
                "{id:?} is no id of something that plays (m-, a-, img-, rts- or cap-…)"
            )));
        }
    };
    api.get(&[room, &[id]].concat(), &[]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_to_the_minute() {
        assert_eq!(minute("2026-01-02T03:04:05.678Z"), "2026-01-02 03:04");
        assert_eq!(minute(""), "");
    }
}
