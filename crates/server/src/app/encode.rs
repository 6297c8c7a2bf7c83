//! Encoding what an upload was promised to become. Which chunks there are, and when they begin, was decided when it came in.

use vitascope_model::id::TrackId;
use vitascope_model::{Error, Result, WallTime};

use super::App;

/// Has one promised chunk encoded, unless it is there.
pub async fn materialise(_app: &App, track: &TrackId, start: WallTime) -> Result<()> {
    Err(Error::unavailable(format!("track {track} is not encoded yet at {} s", start.to_seconds())))
}
