//! Short pieces coded anew: the pictures of a group from one that is no key frame, a black picture, sound in another form. One ffmpeg
//! each, fed and read through pipes, nothing on the disk. The pictures come out one for one and in order, so that their times are the
//! caller's own. When such a piece is made, and where it is kept, is the server's business.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use vitascope_model::error::Context;
use vitascope_model::{Error, ErrorKind, Result, Span};

use super::RATE;
use crate::codec::{AAC_FRAME, Codec};
use crate::compile::Coded;
use crate::flv::{Parser, Tag};
use crate::process::{self, CommandLine, Program};

/// A second of pictures takes a fraction of this; a group of a minute, which has to be decoded from its beginning, some seconds.
const LIMIT: Duration = Duration::from_secs(30);
/// A second of the largest pictures at this quality stays far below.
const MOST: u64 = 128 << 20;
/// The coder's own first frame, and the one that leads to what is wanted.
const LEADING: u32 = 2;

const QUIET: &str = "-nostdin -hide_banner -loglevel error -protocol_whitelist pipe";
/// As uploads are encoded, so that a piece stands beside its group; superfast takes half the time of what decodes and starts anyway.
const PICTURES: &str = "-fps_mode passthrough -an -sn -dn -c:v libx264 -preset superfast -tune zerolatency -threads 2 -crf 21 \
     -profile:v high -bf 0 -g 100000 -pix_fmt yuv420p -x264-params scenecut=0:open-gop=0:stitchable=1 -f flv \
     -flvflags no_duration_filesize pipe:1";

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split_whitespace().map(str::to_owned)
}

pub fn pictures_line(skip: usize, take: usize) -> CommandLine {
    // No times go in: the file format is H.264 as it is, and what matters is the order.
    let input = words("-probesize 32 -analyzeduration 0 -fpsprobesize 0 -threads 2 -f h264 -i pipe:0 -vf");
    let wanted = format!("trim=start_frame={skip}:end_frame={}", skip + take);
    CommandLine::new(Program::Ffmpeg, words(QUIET).chain(input).chain([wanted]).chain(words(PICTURES)))
}

pub fn black_line(width: u32, height: u32) -> CommandLine {
    let even = |n: u32| n.max(2).next_multiple_of(2);
    let source = format!("color=black:s={}x{}:r=25", even(width), even(height));
    let input = words("-f lavfi -i").chain([source]).chain(words("-frames:v 1"));
    CommandLine::new(Program::Ffmpeg, words(QUIET).chain(input).chain(words(PICTURES)))
}

/// `skip` is from the beginning of what is fed to the first frame wanted.
pub fn sound_line(channels: u8, skip: Span, take: u32) -> CommandLine {
    let frame = i64::from(AAC_FRAME);
    let lead = (skip.to_ticks(RATE) - frame).max(0);
    let both = if channels == 1 { "pan=stereo|c0=c0|c1=c0" } else { "aformat=channel_layouts=stereo" };
    // What the sources do not have at the end is silent.
    let filter = format!(
        "aresample={RATE},{both},apad,atrim=start_sample={lead}:end_sample={}",
        lead + (i64::from(take) + i64::from(LEADING)) * frame
    );
    let output = "-c:a aac -b:a 160k -f flv -flvflags no_duration_filesize pipe:1";
    let input = words("-f aac -i pipe:0 -vn -sn -dn -af");
    CommandLine::new(Program::Ffmpeg, words(QUIET).chain(input).chain([filter]).chain(words(output)))
}

/// `take` pictures after the first `skip` of a group (length-prefixed, from its key frame on), the first a key frame.
pub async fn pictures(mut group: Vec<u8>, skip: usize, take: usize) -> Result<Coded> {
    with_start_codes(&mut group)?;
    let units = run(&pictures_line(skip, take), group).await?;
    coded(units, take)
}

pub async fn black(width: u32, height: u32) -> Result<Coded> {
    let units = run(&black_line(width, height), Vec::new()).await?;
    coded(units, 1)
}

/// `take` frames of 48 kHz stereo, made of the raw frames of a codec that lie in `data` with these sizes.
pub async fn sound(codec: &Codec, sizes: &[u32], data: &[u8], skip: Span, take: u32) -> Result<Coded> {
    let Codec::Aac { channels, .. } = codec else { return Err(Error::internal("pictures are no sound")) };
    let units = run(&sound_line(*channels, skip, take), with_headers(codec, sizes, data)?).await?;
    let mut wanted = units;
    wanted.units.drain(..(LEADING as usize).min(wanted.units.len()));
    wanted.units.truncate(take as usize);
    coded(wanted, take as usize)
}

/// Length prefixes become start codes; both are four bytes long.
fn with_start_codes(group: &mut [u8]) -> Result<()> {
    let mut at = 0;
    while at < group.len() {
        let length = group.get(at..at + 4).and_then(|word| Some(u32::from_be_bytes(word.try_into().ok()?) as usize));
        let next = length.map(|length| at + 4 + length).filter(|next| *next <= group.len());
        let next = next.ok_or_else(|| Error::internal("a coded picture is torn"))?;
        group[at..at + 4].copy_from_slice(&[0, 0, 0, 1]);
        at = next;
    }
    Ok(())
}

/// Raw AAC frames each with a header (ADTS), which a decoder needs where no container tells what they are.
fn with_headers(codec: &Codec, sizes: &[u32], data: &[u8]) -> Result<Vec<u8>> {
    let Codec::Aac { config, channels, .. } = codec else { return Ok(Vec::new()) };
    let bits = config.first_chunk().map(|b| u16::from_be_bytes(*b)).ok_or_else(|| Error::internal("AAC unknown"))?;
    let (kind, rate) = ((bits >> 11) as u8, (bits >> 7 & 15) as u8);
    let mut out = Vec::with_capacity(data.len() + sizes.len() * 7);
    let mut rest = data;
    for size in sizes {
        let (frame, after) =
            rest.split_at_checked(*size as usize).ok_or_else(|| Error::internal("frames of sound are torn"))?;
        let length = size + 7;
        out.extend([
            0xff,
            0xf1,
            kind.saturating_sub(1) << 6 | rate << 2 | channels >> 2,
            channels << 6 | (length >> 11) as u8,
            (length >> 3) as u8,
            (length << 5) as u8 | 0x1f,
            0xfc,
        ]);
        out.extend_from_slice(frame);
        rest = after;
    }
    Ok(out)
}

/// What an encoder wrote.
struct Written {
    codec: Option<Codec>,
    units: Vec<(bool, Bytes)>,
}

async fn run(line: &CommandLine, input: Vec<u8>) -> Result<Written> {
    let (running, mut stdin, stdout) = process::start(line)?;
    let feed = async move {
        // It may have had enough before the end: then what it wrote tells whether all is well.
        stdin.write_all(&input).await.ok();
    };
    let read = async {
        let mut out = Vec::new();
        stdout.take(MOST).read_to_end(&mut out).await.internal("read from the encoder")?;
        Ok::<_, Error>(out)
    };
    let all = async {
        let ((), out) = tokio::join!(feed, read);
        let out = out?;
        running.finish().await?;
        Ok::<_, Error>(out)
    };
    let late = || Error::new(ErrorKind::ResourceExhausted, "coding a piece anew took longer than it may");
    parse(&timeout(LIMIT, all).await.map_err(|_| late())??)
}

fn parse(flv: &[u8]) -> Result<Written> {
    let (mut parser, mut written) = (Parser::default(), Written { codec: None, units: Vec::new() });
    parser.buffer().extend_from_slice(flv);
    while let Some(tag) = parser.next_tag()? {
        match tag {
            Tag::Codec(codec) => written.codec = Some(codec),
            Tag::Unit { key, data, .. } => written.units.push((key, data)),
        }
    }
    Ok(written)
}

fn coded(written: Written, wanted: usize) -> Result<Coded> {
    let codec = written.codec.ok_or_else(|| Error::internal("the encoder wrote nothing"))?;
    let found = written.units.len();
    if found != wanted || written.units.first().is_none_or(|(key, _)| !key) {
        return Err(Error::internal(format!("the encoder wrote {found} samples instead of {wanted}")));
    }
    let mut coded = (Vec::with_capacity(found), Vec::new());
    for (n, (_, data)) in written.units.iter().enumerate() {
        let before = coded.1.len();
        if let (0, Codec::H264 { sps, pps }) = (n, &codec) {
            for set in [sps, pps] {
                coded.1.extend((set.len() as u32).to_be_bytes());
                coded.1.extend_from_slice(set);
            }
        }
        coded.1.extend_from_slice(data);
        coded.0.push((coded.1.len() - before) as u32);
    }
    Ok(Coded { sizes: coded.0, data: coded.1.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_are_as_they_were_thought_of() {
        insta::assert_snapshot!(pictures_line(7, 23), @"ffmpeg -nostdin -hide_banner -loglevel error -protocol_whitelist pipe -probesize 32 -analyzeduration 0 -fpsprobesize 0 -threads 2 -f h264 -i pipe:0 -vf trim=start_frame=7:end_frame=30 -fps_mode passthrough -an -sn -dn -c:v libx264 -preset superfast -tune zerolatency -threads 2 -crf 21 -profile:v high -bf 0 -g 100000 -pix_fmt yuv420p -x264-params scenecut=0:open-gop=0:stitchable=1 -f flv -flvflags no_duration_filesize pipe:1");
        insta::assert_snapshot!(black_line(1279, 720), @"ffmpeg -nostdin -hide_banner -loglevel error -protocol_whitelist pipe -f lavfi -i color=black:s=1280x720:r=25 -frames:v 1 -fps_mode passthrough -an -sn -dn -c:v libx264 -preset superfast -tune zerolatency -threads 2 -crf 21 -profile:v high -bf 0 -g 100000 -pix_fmt yuv420p -x264-params scenecut=0:open-gop=0:stitchable=1 -f flv -flvflags no_duration_filesize pipe:1");
        insta::assert_snapshot!(sound_line(1, Span::millis(100), 90), @"ffmpeg -nostdin -hide_banner -loglevel error -protocol_whitelist pipe -f aac -i pipe:0 -vn -sn -dn -af aresample=48000,pan=stereo|c0=c0|c1=c0,apad,atrim=start_sample=3776:end_sample=97984 -c:a aac -b:a 160k -f flv -flvflags no_duration_filesize pipe:1");
    }

    #[test]
    fn torn_pictures_are_an_error() {
        let mut group = [0, 0, 0, 2, 7, 7, 0, 0, 0, 1, 9];
        with_start_codes(&mut group).unwrap();
        assert_eq!(group, [0, 0, 0, 1, 7, 7, 0, 0, 0, 1, 9]);
        assert!(with_start_codes(&mut [0, 0, 0, 3, 1]).is_err());
        assert!(with_start_codes(&mut [0, 0]).is_err());
    }

    #[tokio::test]
    async fn a_black_picture_is_one_key_frame_with_its_parameter_sets() {
        let black = black(1279, 720).await.unwrap();
        assert_eq!(black.sizes.len(), 1);
        let mut codec = Codec::H264 { sps: vec![], pps: vec![] };
        assert!(codec.learn(&black.data));
        assert_eq!(codec.picture_size().unwrap(), (1280, 720));
    }
}
