//! A film to record: 20 s of pictures that bear their own number, a key frame a second, and a tone. Coded once for all tests by the
//! real encoder, read by the crate's own parser, and timed here exactly: picture n at n / 30 s.
#![expect(clippy::disallowed_methods, reason = "a test starts the encoder whose output it reads")]

use std::fmt::Write as _;
use std::process::Command;
use std::sync::OnceLock;

use bytes::Bytes;
use vitascope_media::codec::{AAC_FRAME, Codec, Sample};
use vitascope_media::flv::{Parser, Tag};
use vitascope_model::{Span, WallTime};

pub(crate) const SECONDS: usize = 20;
/// Pictures a second, and pictures from one key frame to the next.
pub(crate) const FPS: usize = 30;
/// Side of the boxes that spell a picture's number, 16 of them and then a white and a black one.
pub(crate) const BOX: usize = 24;
pub(crate) const BOXES: usize = 18;
/// The wall time of the first picture and the first sound.
pub(crate) const START: WallTime = WallTime(1_790_000_000_000_000);
pub(crate) const RATE: u32 = 48_000;

/// One track, as it would be published.
pub(crate) struct Film {
    pub(crate) codec: Codec,
    pub(crate) samples: Vec<Sample>,
}

pub(crate) fn pictures() -> &'static Film {
    static FILM: OnceLock<Film> = OnceLock::new();
    FILM.get_or_init(|| film_of("432x96", FPS, FPS, 0))
}

/// The same pictures in another size.
pub(crate) fn wider_pictures() -> &'static Film {
    static FILM: OnceLock<Film> = OnceLock::new();
    FILM.get_or_init(|| film_of("640x128", FPS, FPS, 0))
}

/// Pictures a second of the slower film.
pub(crate) const SLOW: usize = 25;
/// The number of its first picture.
pub(crate) const SLOW_FIRST: usize = 2000;

/// Another film: fewer pictures a second, and a key frame only each four seconds.
pub(crate) fn slower_pictures() -> &'static Film {
    static FILM: OnceLock<Film> = OnceLock::new();
    FILM.get_or_init(|| film_of("480x112", SLOW, 4 * SLOW, SLOW_FIRST))
}

/// Nothing to see.
pub(crate) fn black() -> &'static Film {
    static FILM: OnceLock<Film> = OnceLock::new();
    FILM.get_or_init(|| film_from(&format!("color=black:s=432x96:r={FPS}:d={SECONDS}"), "null", FPS, FPS))
}

pub(crate) fn sound() -> &'static Film {
    static FILM: OnceLock<Film> = OnceLock::new();
    FILM.get_or_init(|| {
        let tone = format!("sine=f=440:r={RATE}:d={SECONDS},volume=4,pan=stereo|c0=c0|c1=c0");
        parse(&encode(&["-i", &tone, "-c:a", "aac", "-b:a", "128k"]), i64::from(AAC_FRAME))
    })
}

/// The same tone in another form: 44.1 kHz, one channel.
pub(crate) fn narrow_sound() -> &'static Film {
    static FILM: OnceLock<Film> = OnceLock::new();
    FILM.get_or_init(|| {
        let tone = format!("sine=f=440:r=44100:d={SECONDS},volume=4");
        parse(&encode(&["-i", &tone, "-ac", "1", "-c:a", "aac", "-b:a", "96k"]), i64::from(AAC_FRAME))
    })
}

fn film_of(size: &str, fps: usize, gop: usize, first: usize) -> Film {
    film_from(&format!("testsrc2=s={size}:r={fps}:d={SECONDS}"), &numbered_from(first), fps, gop)
}

fn film_from(picture: &str, filters: &str, fps: usize, gop: usize) -> Film {
    let gop = gop.to_string();
    let coded = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-flags", "+cgop", "-sc_threshold", "0"];
    let args = [&["-i", picture, "-vf", filters, "-pix_fmt", "yuv420p", "-g", &gop][..], &coded].concat();
    let film = parse(&encode(&args), 90_000 / fps as i64);
    assert_eq!(film.samples.len(), SECONDS * fps);
    film
}

fn encode(args: &[&str]) -> Vec<u8> {
    let mut command = Command::new("ffmpeg");
    let output = command.args(["-v", "error", "-f", "lavfi"]).args(args).args(["-f", "flv", "-"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Boxes over the picture: its number in binary, the highest bit first, then one white and one black for the reader to check.
pub(crate) fn numbered() -> String {
    numbered_from(0)
}

fn numbered_from(first: usize) -> String {
    let mut filters =
        format!("drawbox=0:0:{}:{BOX}:black:fill,drawbox={}:0:{BOX}:{BOX}:white:fill", BOXES * BOX, 16 * BOX);
    for bit in 0..16 {
        let (x, weight) = ((15 - bit) * BOX, 1 << bit);
        write!(filters, ",drawbox={x}:0:{BOX}:{BOX}:white:fill:enable='gte(mod(floor((n+{first})/{weight}),2),1)'")
            .unwrap();
    }
    filters
}

fn parse(flv: &[u8], step: i64) -> Film {
    let (mut parser, mut codec, mut samples) = (Parser::default(), None, Vec::new());
    parser.buffer().extend_from_slice(flv);
    while let Some(tag) = parser.next_tag().unwrap() {
        match (tag, &codec) {
            (Tag::Codec(found), _) => codec = Some(found),
            (Tag::Unit { key, data, .. }, Some(codec)) => {
                let ticks = samples.len() as i64 * step;
                let wall = START + Span::of_ticks(ticks, codec.timescale());
                let data = if key { with_parameter_sets(codec, data) } else { data };
                samples.push(Sample { ticks, key, data, wall });
            }
            (Tag::Unit { .. }, None) => panic!("a sample before the codec"),
        }
    }
    Film { codec: codec.unwrap(), samples }
}

/// As every publisher's samples reach the journal.
fn with_parameter_sets(codec: &Codec, data: Bytes) -> Bytes {
    let Codec::H264 { sps, pps } = codec else { return data };
    let prefixed = |nal: &Vec<u8>| [&(nal.len() as u32).to_be_bytes()[..], nal].concat();
    [&prefixed(sps)[..], &prefixed(pps), &data].concat().into()
}
