//! Names of streams that expire: an id veiled together with its end, so that who has the name can play until then, and knows no id that
//! plays longer. Nothing is stored. The name stands where an id would, so what a playlist refers to bears it, too.

use vitascope_model::{Error, Result, WallTime};

use super::{App, stream};
use crate::random;

/// What a name begins with; no id does.
const MARK: char = '~';
/// Bytes that prove a name.
const TAG: usize = 16;
const SECOND: i64 = 1_000_000;

/// What a name in a URL stands for.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    pub stream_id: String,
    /// When the name ends, if it does.
    pub until: Option<WallTime>,
}

/// The name of a stream until then, to the second; none of what is no id of a stream.
pub fn name_of(app: &App, stream_id: &str, until: WallTime) -> Option<String> {
    let id = unhex(stream_id).filter(|id| (1..=32).contains(&id.len()))?;
    let seconds = until.0 / SECOND;
    let tag = tag_of(app, stream_id, seconds);
    let veiled: Vec<u8> = id.iter().zip(veil(app, &tag)).map(|(a, b)| a ^ b).collect();
    Some(format!("{MARK}{seconds}.{}{}", random::hex(&tag), random::hex(&veiled)))
}

/// The stream of a name. A name that is none of ours is not found, one that has ended is denied.
pub fn resolve(app: &App, name: &str) -> Result<Named> {
    let Some(text) = name.strip_prefix(MARK) else {
        return Ok(Named { stream_id: name.to_owned(), until: None });
    };
    let unknown = || Error::not_found("the stream");
    let (seconds, rest) = text.split_once('.').ok_or_else(unknown)?;
    let seconds: i64 = seconds.parse().ok().filter(|s| (0..i64::MAX / SECOND).contains(s)).ok_or_else(unknown)?;
    let bytes = unhex(rest).ok_or_else(unknown)?;
    let (tag, veiled) = bytes.split_first_chunk::<TAG>().filter(|(_, v)| v.len() <= 32).ok_or_else(unknown)?;
    let id: Vec<u8> = veiled.iter().zip(veil(app, tag)).map(|(a, b)| a ^ b).collect();
    let stream_id = random::hex(&id);
    // Of digests, so that the time it takes says nothing about where they differ.
    if random::digest(&random::hex(&tag_of(app, &stream_id, seconds))) != random::digest(&random::hex(tag)) {
        return Err(unknown());
    }
    let until = WallTime(seconds * SECOND);
    if until <= app.now() {
        return Err(Error::denied("this URL has expired"));
    }
    Ok(Named { stream_id, until: Some(until) })
}

fn tag_of(app: &App, stream_id: &str, seconds: i64) -> [u8; TAG] {
    let mac = stream::mac(app, &format!("expiring {stream_id} {seconds}"));
    *mac.first_chunk().expect("a MAC is longer")
}

/// What hides an id: different for each tag, so the same bytes never hide two.
fn veil(app: &App, tag: &[u8; TAG]) -> [u8; 32] {
    stream::mac(app, &format!("veil {}", random::hex(tag)))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}
