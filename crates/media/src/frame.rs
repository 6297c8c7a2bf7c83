//! Pictures out of a stream: the one that is shown at a moment, as a JPEG. It is found by the times in the segment itself, so it is the
//! very one that a player shows then; one ffmpeg decodes the segment from memory and nothing else. Which moment, and of what, is not decided here.

use std::time::Duration;

use bytes::Bytes;
use vitascope_model::{Error, Result, Span};

use crate::fmp4::shown_times;
use crate::image::MAX_PIXELS;
use crate::process::{self, CommandLine, Program};
use crate::reading::MOST_MEMORY;

/// Of the pictures' clock.
const TICKS: u32 = 90_000;
const LIMIT: Duration = Duration::from_secs(20);
/// A JPEG of fifty megapixels has less.
const MOST_OUTPUT: usize = 64 << 20;
/// A picture of which so much (in percent) has no more light than this (black is 16, white 235) is taken to be black.
const BLACK: u32 = 98;
const DARK: u32 = 32;

/// How large the picture may be: it is made smaller to fit, in its own proportions, never larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fit {
    pub width: Option<u32>,
    pub height: Option<u32>,
}

/// A picture as a file.
#[derive(Clone, Debug)]
pub struct Jpeg {
    pub bytes: Bytes,
    pub width: u32,
    pub height: u32,
}

/// The picture that is shown at `at`, counted as the segment's own times are. Before its first picture, that one.
pub async fn shown_at(init: &[u8], segment: &[u8], at: Span, fit: Fit) -> Result<Jpeg> {
    let wanted = at.to_ticks(TICKS);
    let times = shown_times(segment, 1).unwrap_or_default();
    let shown = times.iter().filter(|t| **t <= wanted).max().or(times.iter().min());
    let time = *shown.ok_or_else(|| Error::internal("a segment without pictures"))?;
    let found = decode(&command_line(time, fit, false), &[init, segment]).await?;
    found.ok_or_else(|| Error::internal(format!("the picture at {} s could not be decoded", at.to_seconds())))
}

/// The first picture of the segment; none if there is nothing but black in it.
pub async fn first_unless_black(init: &[u8], segment: &[u8], fit: Fit) -> Result<Option<Jpeg>> {
    let first = shown_times(segment, 1).unwrap_or_default().into_iter().min();
    let first = first.ok_or_else(|| Error::internal("a segment without pictures"))?;
    decode(&command_line(first, fit, true), &[init, segment]).await
}

/// A sheet of small pictures, side by side and row by row: each of `pictures` is a segment of one key frame, in the order of time.
pub async fn sheet(init: &[u8], pictures: &[Bytes], tile: (u32, u32), columns: u32) -> Result<Jpeg> {
    let rows = (pictures.len() as u32).div_ceil(columns);
    let line = sheet_command_line(tile, columns, rows);
    let input: Vec<&[u8]> = std::iter::once(init).chain(pictures.iter().map(Bytes::as_ref)).collect();
    let found = decode(&line, &input).await?;
    found.ok_or_else(|| Error::internal("none of the key frames could be decoded"))
}

async fn decode(line: &CommandLine, input: &[&[u8]]) -> Result<Option<Jpeg>> {
    let bytes = process::through(line, input, MOST_OUTPUT, LIMIT).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let (width, height) = size_of(&bytes).ok_or_else(|| Error::internal("ffmpeg wrote no JPEG"))?;
    Ok(Some(Jpeg { bytes: bytes.into(), width, height }))
}

/// `time`: of the wanted picture, in ticks.
fn command_line(time: i64, fit: Fit, not_black: bool) -> CommandLine {
    let mut filters = format!("select=eq(pts\\,{time}),trim=end_frame=1,");
    if not_black {
        filters +=
            &format!("blackframe=0:{DARK},metadata=select:key=lavfi.blackframe.pblack:value={BLACK}:function=less,");
    }
    let side = |side: &str, most: Option<u32>| most.map_or(side.to_owned(), |most| format!("min({side}\\,{most})"));
    let (width, height) = (side("iw", fit.width), side("ih", fit.height));
    // A JPEG has no say in its matrix: everybody reads it as that of BT.601.
    filters += &format!(
        "scale=w={width}:h={height}:force_original_aspect_ratio=decrease:out_color_matrix=bt601:out_range=full,format=yuvj420p"
    );
    jpeg_of(&filters, 2, 3)
}

/// What cannot fill a tile in its own proportions stands in the middle of it.
fn sheet_command_line((width, height): (u32, u32), columns: u32, rows: u32) -> CommandLine {
    let filters = format!(
        "scale={width}:{height}:force_original_aspect_ratio=decrease:out_color_matrix=bt601:out_range=full,format=yuvj420p,\
         pad={width}:{height}:-1:-1,setsar=1,tile={columns}x{rows}"
    );
    // Each picture is a key frame: there is nothing that threads could share.
    jpeg_of(&filters, 1, 6)
}

/// From segments on stdin to one JPEG on stdout.
fn jpeg_of(filters: &str, threads: u32, quality: u32) -> CommandLine {
    let before = format!(
        "-nostdin -hide_banner -loglevel error -protocol_whitelist pipe -format_whitelist mp4,mov -codec_whitelist h264 \
         -max_pixels {MAX_PIXELS} -threads {threads} -copyts -probesize 65536 -analyzeduration 0 -f mp4 -i pipe:0 -map 0:v:0 -vf"
    );
    let after = format!("-fps_mode passthrough -frames:v 1 -c:v mjpeg -threads 1 -q:v {quality} -f image2pipe pipe:1");
    let words = before.split_whitespace().chain([filters]).chain(after.split_whitespace());
    CommandLine::new(Program::Ffmpeg, words).within(MOST_MEMORY)
}

/// Width and height of a JPEG, from its frame header.
fn size_of(jpeg: &[u8]) -> Option<(u32, u32)> {
    let mut rest = jpeg.strip_prefix(&[0xff, 0xd8])?;
    loop {
        let (marker, after) = (rest.get(..2)?, rest.get(2..)?);
        let length = usize::from(u16::from_be_bytes(*after.first_chunk()?));
        if let [0xff, 0xc0..=0xc2] = marker {
            let side = |at: usize| Some(u32::from(u16::from_be_bytes(*after.get(at..)?.first_chunk()?)));
            return Some((side(5)?, side(3)?));
        }
        rest = after.get(length..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line() {
        let fit = Fit { width: Some(320), height: None };
        insta::assert_snapshot!(command_line(9000, fit, true), @r"ffmpeg -nostdin -hide_banner -loglevel error -protocol_whitelist pipe -format_whitelist mp4,mov -codec_whitelist h264 -max_pixels 50000000 -threads 2 -copyts -probesize 65536 -analyzeduration 0 -f mp4 -i pipe:0 -map 0:v:0 -vf select=eq(pts\,9000),trim=end_frame=1,blackframe=0:32,metadata=select:key=lavfi.blackframe.pblack:value=98:function=less,scale=w=min(iw\,320):h=ih:force_original_aspect_ratio=decrease:out_color_matrix=bt601:out_range=full,format=yuvj420p -fps_mode passthrough -frames:v 1 -c:v mjpeg -threads 1 -q:v 3 -f image2pipe pipe:1");
    }

    #[test]
    fn the_command_line_of_a_sheet() {
        insta::assert_snapshot!(sheet_command_line((160, 90), 5, 3), @r"ffmpeg -nostdin -hide_banner -loglevel error -protocol_whitelist pipe -format_whitelist mp4,mov -codec_whitelist h264 -max_pixels 50000000 -threads 1 -copyts -probesize 65536 -analyzeduration 0 -f mp4 -i pipe:0 -map 0:v:0 -vf scale=160:90:force_original_aspect_ratio=decrease:out_color_matrix=bt601:out_range=full,format=yuvj420p,pad=160:90:-1:-1,setsar=1,tile=5x3 -fps_mode passthrough -frames:v 1 -c:v mjpeg -threads 1 -q:v 6 -f image2pipe pipe:1");
    }

    #[test]
    fn the_size_stands_in_the_frame_header() {
        let jpeg = b"\xff\xd8\xff\xe0\0\x04JF\xff\xc0\0\x11\x08\x02\xd0\x05\0\x03rest";
        assert_eq!(size_of(jpeg), Some((1280, 720)));
        assert_eq!(size_of(&jpeg[..12]), None);
        assert_eq!(size_of(b"\x89PNG"), None);
    }
}
