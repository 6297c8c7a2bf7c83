//! A player that counts: a plan is written to a folder as a server would serve it, and ffmpeg plays the playlist. What comes out is
//! the number in each picture and its time, or the sound as samples. Whatever ffmpeg complains of fails the test.
#![expect(clippy::disallowed_methods, reason = "a test starts the player")]

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use vitascope_media::compile::{Answers, Coded, EdgeSource, Make, Need, Plan, SegmentPart, SoundSource};
use vitascope_media::encoder::edge;
use vitascope_media::track::{Place, read_file};

use crate::film::{BOX, BOXES};

/// A picture that was played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Played {
    pub(crate) number: usize,
    /// From the playlist's start.
    pub(crate) seconds: f64,
}

/// A plan as the files that a server would serve.
pub(crate) struct Served {
    dir: TempDir,
    pub(crate) plan: Plan,
}

/// Plays segments that were gathered one by one, with their lengths.
pub(crate) fn play_files(init: &[u8], segments: &[(f64, Vec<u8>)]) -> Vec<Played> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("init.mp4"), init).unwrap();
    let mut list = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:5\n#EXT-X-MAP:URI=\"init.mp4\"\n".to_owned();
    for (n, (length, bytes)) in segments.iter().enumerate() {
        fs::write(dir.path().join(format!("{n}.m4s")), bytes).unwrap();
        list += &format!("#EXTINF:{length},\n{n}.m4s\n");
    }
    fs::write(dir.path().join("index.m3u8"), list + "#EXT-X-ENDLIST\n").unwrap();
    watch(dir.path())
}

impl Served {
    pub(crate) fn new(plan: Plan) -> Served {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("index.m3u8"), plan.playlist()).unwrap();
        fs::write(dir.path().join("init.mp4"), plan.init().unwrap()).unwrap();
        for n in 0..plan.segments() {
            fs::write(dir.path().join(format!("{n}.m4s")), segment(&plan, n)).unwrap();
        }
        Served { dir, plan }
    }

    /// Every picture, in the order in which it is shown.
    pub(crate) fn watch(&self) -> Vec<Played> {
        watch(self.dir.path())
    }

    /// How many pictures are shown, whatever is in them.
    pub(crate) fn count_pictures(&self) -> usize {
        let exact = ["-fps_mode", "passthrough", "-enc_time_base", "1:90000"];
        let (bytes, _) = play(
            &self.dir.path().join("index.m3u8"),
            &[&["-map", "0:v", "-vf", "scale=16:16,setsar=1,format=gray"][..], &exact, &["-f", "rawvideo"]].concat(),
        );
        bytes.len() / 256
    }

    /// All sound, both channels interleaved.
    pub(crate) fn listen(&self) -> Vec<f32> {
        let (bytes, _) = play(&self.dir.path().join("index.m3u8"), &["-map", "0:a", "-f", "f32le"]);
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    }
}

fn watch(dir: &Path) -> Vec<Played> {
    watch_file(&dir.join("index.m3u8"))
}

/// Every picture of a file or a playlist, in the order in which it is shown.
pub(crate) fn watch_file(file: &Path) -> Vec<Played> {
    // One grey pixel for each box.
    let boxes = format!("crop={}:{BOX}:0:0,scale={BOXES}:1:flags=area,format=gray", BOX * BOXES);
    let filter = format!("{boxes},showinfo=checksum=0");
    // Times to the tick, so that no two pictures have the same.
    let exact = ["-fps_mode", "passthrough", "-enc_time_base", "1:90000"];
    let (pixels, log) = play(file, &[&["-map", "0:v", "-vf", &filter][..], &exact, &["-f", "rawvideo"]].concat());
    let times = log.split("pts_time:").skip(1).map(|t| t.split_whitespace().next().unwrap().parse().unwrap());
    let times: Vec<f64> = times.collect();
    assert_eq!(pixels.len(), times.len() * BOXES);
    pixels.chunks(BOXES).zip(times).map(|(boxes, seconds)| Played { number: number(boxes), seconds }).collect()
}

pub(crate) fn play(file: &Path, args: &[&str]) -> (Vec<u8>, String) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "level+info", "-nostats", "-i"]).arg(file);
    let output = command.args(args).arg("-").output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    let is_complaint = |line: &&str| ["[warning]", "[error]", "[fatal]"].iter().any(|level| line.contains(level));
    let complaints: Vec<&str> = log.lines().filter(is_complaint).collect();
    assert!(output.status.success() && complaints.is_empty(), "{complaints:#?}");
    (output.stdout, log)
}

/// The bytes of a segment. What it needs is made first.
pub(crate) fn segment(plan: &Plan, n: usize) -> Vec<u8> {
    let layout = plan.segment_layout(n, &answers(plan, n)).unwrap();
    let out = read(layout.parts());
    assert_eq!(out.len() as u64, layout.size());
    out
}

fn answers(plan: &Plan, n: usize) -> Answers {
    let mut have = Answers::default();
    for need in plan.needs(n, &have).unwrap() {
        let Need::Coded(recipe) = need else { panic!("these tests promise nothing") };
        let coded = tokio::runtime::Runtime::new().unwrap().block_on(make(&recipe.make));
        have.made(recipe.name, coded);
    }
    assert!(plan.needs(n, &have).unwrap().is_empty());
    have
}

async fn make(wanted: &Make) -> Coded {
    let made = match wanted {
        Make::Edge(EdgeSource { parts, skip, take }) => edge::pictures(read(parts), *skip, *take).await,
        Make::Black { width, height } => edge::black(*width, *height).await,
        Make::Sound(SoundSource { codec, parts, sizes, skip, take }) => {
            edge::sound(codec, sizes, &read(parts), *skip, *take).await
        }
    };
    made.unwrap()
}

pub(crate) fn read(parts: &[SegmentPart]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        match part {
            SegmentPart::Bytes(bytes) => out.extend_from_slice(bytes),
            SegmentPart::Slice(slice) => {
                let Place::File(path) = &slice.place else { panic!("these tests keep chunks in files") };
                out.extend(read_file(path, slice.offset, slice.length).unwrap());
            }
        }
    }
    out
}

/// The number in a grey picture of this width.
pub(crate) fn number_in(grey: &[u8], width: usize) -> usize {
    let middle = BOX / 2 * width + BOX / 2;
    number(&(0..BOXES).map(|n| grey[middle + n * BOX]).collect::<Vec<u8>>())
}

pub(crate) fn number(boxes: &[u8]) -> usize {
    let bits: Vec<bool> = boxes.iter().map(|b| *b > 128).collect();
    assert_eq!(bits[16..], [true, false], "a damaged picture: {boxes:?}");
    bits[..16].iter().fold(0, |n, bit| n << 1 | usize::from(*bit))
}
