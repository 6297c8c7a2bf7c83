//! Images: whether a file is one, and how large it is. It counts as one when its first picture can be decoded, within limits, by the
//! demuxer that its first bytes call for; so nothing that can refer to other files (SVG, playlists) is ever opened as an image.

use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use vitascope_model::error::Context;
use vitascope_model::image::ImageKind;
use vitascope_model::{Error, Result};

use crate::process::{self, CommandLine, Program};

/// The largest picture that is decoded.
pub const MAX_PIXELS: u32 = 50_000_000;
const LIMIT: Duration = Duration::from_secs(20);
const MOST_OUTPUT: usize = 64 * 1024;
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
    CommandLine::new(Program::Ffprobe, words)
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
        let words = format!("-nostdin -loglevel error -f lavfi -i testsrc2=s=94x62:d=0.1 -frames:v 1 {codec}");
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
