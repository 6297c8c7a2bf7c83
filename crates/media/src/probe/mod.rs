//! What an uploaded file is: its container, its picture, its sounds and its length, as ffprobe reads them within the limits of
//! `reading.rs`. An error says in plain words why a file is not taken. Nothing here decides what becomes of the file.

mod head;
mod proof;
mod said;

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vitascope_model::image::ImageKind;
use vitascope_model::{Error, ErrorKind, Result, Span};

use crate::image::is_animated;
use crate::process::{self, CommandLine, Program};
use crate::reading;
use head::Head;
pub use proof::prove;

const LIMIT: Duration = Duration::from_secs(30);
const MOST_OUTPUT: usize = 4 << 20;

/// What kind of asset a file becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Video,
    Audio,
    /// One picture: `image::probe` says more about it.
    Image,
}

/// A fraction, as containers have rates and shapes; neither part is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ratio {
    pub num: u32,
    pub den: u32,
}

/// How light is coded where it is more than an ordinary screen shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hdr {
    Pq,
    Hlg,
}

/// The picture of a video.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Of the stream in the file.
    pub index: u32,
    pub codec: String,
    pub profile: Option<String>,
    /// As coded, before it is turned.
    pub width: u32,
    pub height: u32,
    pub pix_fmt: String,
    pub interlaced: bool,
    /// Degrees clockwise that it is turned when shown: 0, 90, 180 or 270.
    pub rotation: u32,
    /// Width of a pixel by its height.
    pub aspect: Ratio,
    pub hdr: Option<Hdr>,
    /// Pictures a second, on average; none if the file does not say.
    pub rate: Option<Ratio>,
    /// Ticks of the stream's times a second, as a fraction.
    pub time_base: Ratio,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sound {
    /// Of the stream in the file.
    pub index: u32,
    pub codec: String,
    pub profile: Option<String>,
    pub rate: u32,
    pub channels: u32,
    /// As the file names it, such as `eng`.
    pub language: Option<String>,
    pub time_base: Ratio,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    kind: Kind,
    /// As ffprobe names it, such as `mov,mp4,m4a,3gp,3g2,mj2`.
    pub container: String,
    pub title: Option<String>,
    /// As the file says; none if it does not say.
    pub length: Option<Span>,
    /// The time in the file that counts as 0: when its first picture or sound begins.
    pub start: Span,
    pub picture: Option<Picture>,
    /// The one that plays if nobody chooses comes first.
    pub sounds: Vec<Sound>,
    /// Whether it has a picture that is no video: a cover.
    pub cover: bool,
}

impl Probe {
    pub fn kind(&self) -> Kind {
        self.kind
    }

    fn still(kind: ImageKind) -> Probe {
        let container = kind.mime().to_owned();
        Probe {
            kind: Kind::Image,
            container,
            title: None,
            length: None,
            start: Span::ZERO,
            picture: None,
            sounds: Vec::new(),
            cover: false,
        }
    }
}

/// Reads what the file says of itself; an error says why it is not taken.
pub async fn probe(file: &Path) -> Result<Probe> {
    let owned = file.to_owned();
    let head = tokio::task::spawn_blocking(move || head::look(&owned));
    match head.await.map_err(|e| Error::internal("look at an uploaded file").because(e))?? {
        Head::Image(kind) if !is_animated(file, kind).await? => return Ok(Probe::still(kind)),
        Head::Image(_) | Head::Media => {}
    }
    let said = process::output(&command_line(file), MOST_OUTPUT, LIMIT).await.map_err(unreadable)?;
    let probe = said::parse(&said)?;
    if probe.picture.is_none() && probe.sounds.is_empty() {
        return Err(Error::invalid(
            "the file has no sound and no picture that can be read; pictures of a film may be 8192 by 4320",
        ));
    }
    Ok(probe)
}

fn command_line(file: &Path) -> CommandLine {
    asking(
        file,
        "-print_format json=compact=1 -show_entries format=format_name,start_time,duration:format_tags=title\
         :stream=index,codec_type,codec_name,profile,width,height,pix_fmt,field_order,sample_aspect_ratio,color_transfer,\
         avg_frame_rate,sample_rate,channels,time_base:stream_disposition=default,attached_pic,timed_thumbnails\
         :stream_tags=language:stream_side_data=rotation",
    )
}

/// An ffprobe that answers `ask` about the file.
pub(crate) fn asking(file: &Path, ask: &str) -> CommandLine {
    let words = format!("{} {} -threads 1 {ask} -i", reading::quiet(), reading::limits());
    let words = words.split_whitespace().map(str::to_owned);
    CommandLine::new(Program::Ffprobe, words.chain([reading::name_of(file)])).within(reading::MOST_MEMORY)
}

/// What a reader that failed means for whoever sent the file.
pub(crate) fn unreadable(error: Error) -> Error {
    let said = error.message.as_str();
    let what = match error.kind {
        // A tool that is not there is no fault of the file.
        ErrorKind::Unavailable => return error,
        ErrorKind::ResourceExhausted => "the file takes longer to read than a file may",
        _ if said.contains("Cannot allocate memory") || said.contains("malloc of size") => {
            "the file needs more memory to be read than a file may"
        }
        _ if said.contains("moov atom not found") => "the file is cut off: the index of the MP4 (its moov) is missing",
        _ if said.contains("not on whitelist") => "the file's format is not one that is taken",
        _ => "the file cannot be read as video, sound or image: it is damaged, or of a kind that is not known",
    };
    Error::invalid(what).because(error)
}

#[cfg(test)]
mod tests;
