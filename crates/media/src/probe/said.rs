//! What ffprobe said of a file, as JSON, made into ours. Numbers come as text, and any of them may be missing or nonsense.

use serde::Deserialize;
use vitascope_model::error::Context;
use vitascope_model::{Error, Result, Span};

use super::{Hdr, Kind, Picture, Probe, Ratio, Sound};

/// A file with more streams than this is read no further.
const MOST_STREAMS: usize = 256;
/// A title or a language is kept up to so many characters.
const MOST_CHARACTERS: usize = 200;

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    streams: Vec<Stream>,
    format: Format,
}

#[derive(Deserialize)]
struct Format {
    #[serde(default)]
    format_name: String,
    start_time: Option<String>,
    duration: Option<String>,
    #[serde(default)]
    tags: Tags,
}

#[derive(Default, Deserialize)]
struct Tags {
    title: Option<String>,
    language: Option<String>,
}

#[derive(Deserialize)]
struct Stream {
    index: u32,
    codec_type: Option<String>,
    codec_name: Option<String>,
    profile: Option<String>,
    #[serde(default)]
    width: u32,
    #[serde(default)]
    height: u32,
    pix_fmt: Option<String>,
    field_order: Option<String>,
    sample_aspect_ratio: Option<String>,
    color_transfer: Option<String>,
    avg_frame_rate: Option<String>,
    sample_rate: Option<String>,
    #[serde(default)]
    channels: u32,
    time_base: Option<String>,
    #[serde(default)]
    disposition: Disposition,
    #[serde(default)]
    tags: Tags,
    #[serde(default)]
    side_data_list: Vec<SideData>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Disposition {
    default: u8,
    attached_pic: u8,
    timed_thumbnails: u8,
}

#[derive(Deserialize)]
struct SideData {
    rotation: Option<f64>,
}

pub(super) fn parse(said: &[u8]) -> Result<Probe> {
    let said: Said = serde_json::from_slice(said).internal("read what ffprobe says")?;
    let streams = &said.streams[..said.streams.len().min(MOST_STREAMS)];
    let is_cover = |s: &&Stream| s.disposition.attached_pic + s.disposition.timed_thumbnails > 0;
    let of_kind = |kind: &'static str| streams.iter().filter(move |s| s.codec_type.as_deref() == Some(kind));
    let default_first = |s: &&Stream| s.disposition.default == 0;
    let shown = of_kind("video").filter(|s| !is_cover(s) && s.width > 0 && s.height > 0);
    let picture = shown.min_by_key(default_first).map(picture).transpose()?;
    let mut heard: Vec<&Stream> = of_kind("audio").filter(|s| s.channels > 0 && s.codec_name.is_some()).collect();
    heard.sort_by_key(default_first);
    let format = said.format;
    Ok(Probe {
        kind: if picture.is_some() { Kind::Video } else { Kind::Audio },
        container: format.format_name,
        title: format.tags.title.map(short).filter(|t| !t.is_empty()),
        length: seconds(format.duration.as_deref()).filter(|l| *l > Span::ZERO),
        start: seconds(format.start_time.as_deref()).unwrap_or(Span::ZERO),
        picture,
        sounds: heard.into_iter().map(sound).collect::<Result<_>>()?,
        cover: of_kind("video").any(|s| is_cover(&s)),
    })
}

fn picture(stream: &Stream) -> Result<Picture> {
    let turned = stream.side_data_list.iter().find_map(|data| data.rotation).unwrap_or(0.0);
    Ok(Picture {
        index: stream.index,
        codec: codec(stream)?,
        profile: stream.profile.clone(),
        width: stream.width,
        height: stream.height,
        pix_fmt: stream.pix_fmt.clone().unwrap_or_default(),
        interlaced: matches!(stream.field_order.as_deref(), Some("tt" | "bb" | "tb" | "bt")),
        // ffprobe counts against the clock, and players turn by quarters.
        rotation: (-turned / 90.0).round().rem_euclid(4.0) as u32 * 90,
        aspect: ratio(stream.sample_aspect_ratio.as_deref(), ':').unwrap_or(Ratio { num: 1, den: 1 }),
        hdr: match stream.color_transfer.as_deref() {
            Some("smpte2084") => Some(Hdr::Pq),
            Some("arib-std-b67") => Some(Hdr::Hlg),
            _ => None,
        },
        rate: ratio(stream.avg_frame_rate.as_deref(), '/'),
        time_base: time_base(stream)?,
    })
}

fn sound(stream: &Stream) -> Result<Sound> {
    Ok(Sound {
        index: stream.index,
        codec: codec(stream)?,
        profile: stream.profile.clone(),
        rate: stream.sample_rate.as_deref().and_then(|r| r.parse().ok()).unwrap_or(0),
        channels: stream.channels,
        language: stream.tags.language.clone().map(short).filter(|l| l != "und"),
        time_base: time_base(stream)?,
    })
}

fn codec(stream: &Stream) -> Result<String> {
    stream.codec_name.clone().ok_or_else(|| Error::invalid("the file's picture is coded in a way that is not known"))
}

fn time_base(stream: &Stream) -> Result<Ratio> {
    ratio(stream.time_base.as_deref(), '/').ok_or_else(|| Error::invalid("the file does not say how it counts time"))
}

/// None if either part is 0.
fn ratio(text: Option<&str>, between: char) -> Option<Ratio> {
    let (num, den) = text?.split_once(between)?;
    let (num, den) = (num.parse().ok()?, den.parse().ok()?);
    (num > 0 && den > 0).then_some(Ratio { num, den })
}

fn seconds(text: Option<&str>) -> Option<Span> {
    Span::from_seconds(text?.parse().ok()?)
}

fn short(text: String) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(MOST_CHARACTERS).collect()
}
