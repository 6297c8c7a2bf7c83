//! A stream as one MP4 file: it shows and sounds what the playlist of the same plan does, sample for sample, and says how long it is.
#![expect(clippy::disallowed_methods, reason = "a test starts the reader")]

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use vitascope_media::compile::{Answers, Plan, PlanOptions, SegmentPart, plan};
use vitascope_media::faststart::Faststart;
use vitascope_media::track::TrackView;

use crate::film::{FPS, SECONDS, pictures, sound, wider_pictures};
use crate::player::{Served, play, segment, watch_file};
use crate::recording::{Recording, range};

struct File {
    _dir: TempDir,
    path: PathBuf,
}

fn write(plan: &Plan) -> File {
    let mut file = Faststart::new(plan.codecs());
    (0..plan.segments()).for_each(|n| file.add(&plan.segment_layout(n, &Answers::default()).unwrap()).unwrap());
    let mut bytes = file.head().unwrap();
    let head = bytes.len() as u64;
    for n in 0..plan.segments() {
        let data: u64 =
            plan.segment_layout(n, &Answers::default()).unwrap().into_data().iter().map(SegmentPart::size).sum();
        let whole = segment(plan, n);
        bytes.extend(&whole[whole.len() - data as usize..]);
    }
    assert_eq!(bytes.len() as u64, head + file.data_size());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("film.mp4");
    std::fs::write(&path, bytes).unwrap();
    File { _dir: dir, path }
}

/// What ffprobe says of a file.
fn said(file: &File, entries: &str) -> Vec<String> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-show_entries", entries, "-of", "default=nw=1:nk=1"]).arg(&file.path);
    String::from_utf8(command.output().unwrap().stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_file_shows_and_sounds_what_the_playlist_does() {
    let (film, tone) = (Recording::of(pictures()), Recording::of(sound()));
    let made = plan(Some(&film.view), Some(&tone.view), range(2500, 17_950), &PlanOptions::asset()).unwrap();
    let file = write(&made);
    let served = Served::new(made);
    let shown = watch_file(&file.path);
    assert_eq!(shown.first().unwrap().number, 2 * FPS);
    assert_eq!(shown, served.watch());
    let (heard, _) = play(&file.path, &["-map", "0:a", "-f", "f32le"]);
    let heard: Vec<f32> = heard.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(heard, served.listen());
    assert_eq!(said(&file, "stream=codec_tag_string"), ["avc1", "mp4a"]);
    let length: f64 = said(&file, "format=duration")[0].parse().unwrap();
    assert!((length - 15.95).abs() < 0.03, "{length}");
    // The index stands before the samples.
    let bytes = std::fs::read(&file.path).unwrap();
    let place = |kind: &[u8]| bytes.windows(4).position(|w| w == kind).unwrap();
    assert!(place(b"moov") < place(b"mdat"));
}

#[test]
fn a_player_finds_any_moment_in_it() {
    let film = Recording::of(pictures());
    let file = write(&plan(Some(&film.view), None, range(0, 20_000), &PlanOptions::asset()).unwrap());
    let frames = said(&file, "stream=nb_frames,duration");
    assert_eq!((frames[0].as_str(), frames[1].as_str()), ("20.000000", (SECONDS * FPS).to_string().as_str()));
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-ss", "13.5", "-i"]).arg(&file.path);
    let seen = command.args(["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "-"]).output().unwrap().stdout;
    assert_eq!(crate::player::number_in(&seen, 432), 13 * FPS + FPS / 2);
}

#[test]
fn pictures_of_two_sizes_bring_their_parameter_sets_with_them() {
    let (film, wider) = (Recording::of(pictures()), Recording::of(wider_pictures()));
    let by = vitascope_model::Span::seconds(SECONDS as i64);
    let later = wider.view.chunks.iter().cloned().map(|c| vitascope_media::track::Chunk {
        start: c.start + by,
        end: c.end + by,
        ..c
    });
    let both = TrackView::new(film.view.chunks.iter().cloned().chain(later).collect(), false);
    let made = plan(Some(&both), None, range(0, 40_000), &PlanOptions::asset()).unwrap();
    let file = write(&made);
    assert_eq!(said(&file, "stream=codec_tag_string"), ["avc3"]);
    let numbers: Vec<usize> = watch_file(&file.path).iter().map(|p| p.number).collect();
    let once: Vec<usize> = (0..SECONDS * FPS).collect();
    assert_eq!(numbers, [&once[..], &once].concat());
}
