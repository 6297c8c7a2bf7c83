//! Images: whether a file is one, and how large it is. It counts as one when its first picture can be decoded, within limits, by the
//! demuxer that its first bytes call for; so nothing that can refer to other files (SVG, playlists) is ever opened as an image.

use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use vitascope_model::error::Context;
use vitascope_model::image::ImageKind;
use vitascope_model::{Error, Result};

use crate::process::{self, CommandLine, Program};
use crate::reading::MOST_MEMORY;

/// The largest picture that is decoded.
pub const MAX_PIXELS: u32 = 50_000_000;
const LIMIT: Duration = Duration::from_secs(20);
const MOST_OUTPUT: usize = 64 * 1024;
/// A second picture comes sooner than that.
const MOST_LOOKED_AT: u64 = 64 << 20;
/// As many bytes as tell one kind from another.
const HEAD: u64 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageFacts {
    pub kind: ImageKind,
    pub width: u32,
    pub height: u32,
}

/// What the image in `file` is; an error says why it is none that is taken.
pub async fn probe(file: &Path) -> Result<ImageFacts> {
    let mut head = Vec::new();
    let opened = tokio::fs::File::open(file).await.internal("open a file that may be an image")?;
    opened.take(HEAD).read_to_end(&mut head).await.internal("read a file that may be an image")?;
    let kind = ImageKind::sniff(&head)
        .ok_or_else(|| Error::invalid("the file is no image that is taken: send JPEG, PNG, WebP, GIF or BMP"))?;
    let broken =
        || Error::invalid(format!("the {} could not be decoded; it may have up to {MAX_PIXELS} pixels", kind.mime()));
    let said = process::output(&command_line(file, kind), MOST_OUTPUT, LIMIT).await.map_err(|error| {
        // A tool that is not there is no fault of the file.
        if error.kind == vitascope_model::ErrorKind::Unavailable { error } else { broken().because(error) }
    })?;
    let (width, height) = size_in(&said).ok_or_else(broken)?;
    Ok(ImageFacts { kind, width, height })
}

/// Whether a file of this kind has more than one picture. It is told from the structure alone; nothing is decoded.
/// Of WebP only the first picture is ever shown, so that one never moves.
pub async fn is_animated(file: &Path, kind: ImageKind) -> Result<bool> {
    if !matches!(kind, ImageKind::Gif | ImageKind::Png) {
        return Ok(false);
    }
    let mut start = Vec::new();
    let opened = tokio::fs::File::open(file).await.internal("open an image")?;
    opened.take(MOST_LOOKED_AT).read_to_end(&mut start).await.internal("read an image")?;
    let found = if kind == ImageKind::Gif { has_two_pictures(&start) } else { png_frames(&start).map(|n| n > 1) };
    Ok(found.unwrap_or(false))
}

/// Blocks of a GIF (GIF89a, 15 to 27), up to the second image descriptor.
fn has_two_pictures(gif: &[u8]) -> Option<bool> {
    /// Size of a colour table, as the packed byte says.
    fn table(packed: u8) -> usize {
        if packed & 0x80 == 0 { 0 } else { 3 << ((packed & 7) + 1) }
    }
    let mut rest = gif.get(13 + table(*gif.get(10)?)..)?;
    let mut pictures = 0;
    loop {
        rest = match *rest.first()? {
            0x21 => rest.get(2..)?,
            0x2c => {
                pictures += 1;
                if pictures == 2 {
                    return Some(true);
                }
                rest.get(11 + table(*rest.get(9)?)..)?
            }
            _ => return Some(false),
        };
        // Sub-blocks, up to an empty one.
        while let Some((size, after)) = rest.split_first() {
            rest = after.get(usize::from(*size)..)?;
            if *size == 0 {
                break;
            }
        }
    }
}

/// How many frames a PNG's animation control says (APNG, `acTL`); it stands before the first picture's data.
fn png_frames(png: &[u8]) -> Option<u32> {
    let mut rest = png.get(8..)?;
    loop {
        let size = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        match rest.get(4..8)? {
            b"acTL" => return Some(u32::from_be_bytes(rest.get(8..12)?.try_into().ok()?)),
            b"IDAT" => return Some(1),
            _ => rest = rest.get(size.checked_add(12)?..)?,
        }
    }
}

fn command_line(file: &Path, kind: ImageKind) -> CommandLine {
    let (demuxer, decoders) = match kind {
        ImageKind::Jpeg => ("jpeg_pipe", "mjpeg"),
        ImageKind::Png => ("png_pipe", "png"),
        ImageKind::Webp => ("webp_pipe", "webp,vp8"),
        ImageKind::Gif => ("gif_pipe", "gif"),
        ImageKind::Bmp => ("bmp_pipe", "bmp"),
    };
    let options = format!(
        "-hide_banner -loglevel error -protocol_whitelist file -format_whitelist {demuxer} -codec_whitelist {decoders} \
         -max_pixels {MAX_PIXELS} -threads 1 -f {demuxer} -select_streams v:0 -read_intervals %+#1 -show_frames \
         -show_entries frame=width,height -of csv=p=0 -i"
    );
    let words = options.split_whitespace().map(str::to_owned).chain([format!("file:{}", file.display())]);
    CommandLine::new(Program::Ffprobe, words).within(MOST_MEMORY)
}

/// Of the first decoded picture.
fn size_in(said: &[u8]) -> Option<(u32, u32)> {
    let text = std::str::from_utf8(said).ok()?;
    let mut numbers = text.lines().next()?.split(',');
    let (width, height) = (numbers.next()?.trim().parse().ok()?, numbers.next()?.trim().parse().ok()?);
    (width > 0 && height > 0).then_some((width, height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line() {
        insta::assert_snapshot!(command_line(Path::new("/data/uploads/a b"), ImageKind::Png), @"ffprobe -hide_banner -loglevel error -protocol_whitelist file -format_whitelist png_pipe -codec_whitelist png -max_pixels 50000000 -threads 1 -f png_pipe -select_streams v:0 -read_intervals %+#1 -show_frames -show_entries frame=width,height -of csv=p=0 -i 'file:/data/uploads/a b'");
    }

    async fn made(name: &str, codec: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        let words = format!("-nostdin -loglevel error -f lavfi -i testsrc2=s=94x62:d=0.2 -frames:v 1 {codec}");
        let words = words.split_whitespace().map(str::to_owned).chain([file.display().to_string()]);
        process::output(&CommandLine::new(Program::Ffmpeg, words), 1024, LIMIT).await.unwrap();
        (folder, file)
    }

    #[tokio::test]
    async fn each_kind_is_known_by_its_bytes() {
        for (kind, name) in [
            (ImageKind::Jpeg, "a.jpg"),
            (ImageKind::Png, "a.png"),
            (ImageKind::Webp, "a.webp"),
            (ImageKind::Gif, "a.gif"),
            (ImageKind::Bmp, "a.bmp"),
        ] {
            let (_folder, file) = made(name, "").await;
            // Its name says nothing.
            let unnamed = file.with_file_name("x");
            std::fs::rename(&file, &unnamed).unwrap();
            assert_eq!(probe(&unnamed).await.unwrap(), ImageFacts { kind, width: 94, height: 62 });
        }
    }

    #[tokio::test]
    async fn what_moves_is_told_from_what_is_still() {
        for (codec, name, moves) in [
            ("", "a.gif", false),
            ("-frames:v 3", "b.gif", true),
            ("", "a.png", false),
            ("-frames:v 3 -f apng", "b.png", true),
        ] {
            let (_folder, file) = made(name, codec).await;
            let kind = if name.ends_with("gif") { ImageKind::Gif } else { ImageKind::Png };
            assert_eq!(is_animated(&file, kind).await.unwrap(), moves, "{name}");
            let whole = std::fs::read(&file).unwrap();
            for cut in 0..whole.len() {
                std::fs::write(&file, &whole[..cut]).unwrap();
                is_animated(&file, kind).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_image_or_too_large_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.png");
        let mut huge = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\x01\0\0\0\x01\0\0\x08\x02\0\0\0".to_vec();
        huge.resize(200, 0);
        for bytes in [&b"<svg xmlns='http://www.w3.org/2000/svg'/>"[..], b"#EXTM3U\nfile:///etc/passwd", b"", &huge] {
            std::fs::write(&file, bytes).unwrap();
            let error = probe(&file).await.unwrap_err();
            assert_eq!(error.kind, vitascope_model::ErrorKind::InvalidArgument, "{error}");
        }
    }
}
