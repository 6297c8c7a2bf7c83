//! Files as ffmpeg makes them, read and played without being copied: every picture is counted, on its way from the file through the
//! plan to the player. Unusual files are told from usual ones.
#![expect(clippy::disallowed_methods, reason = "a test starts the encoder whose file it reads")]

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use vitascope_media::compile::{Plan, PlanOptions, plan};
use vitascope_media::mp4::{Fit, Movie, MovieTrack, read};
use vitascope_media::track::{Chunk, Place, TrackView};
use vitascope_model::capture::MediaKind;
use vitascope_model::{Span, TimeRange, WallTime};

use crate::film::numbered;
use crate::player::{Played, Served};

/// A file that ffmpeg made.
pub(crate) struct Made {
    dir: TempDir,
    pub(crate) path: PathBuf,
}

/// Ten seconds (or so) of numbered pictures and a tone, as one input of each, with these options.
pub(crate) fn made(rate: &str, options: &str) -> Made {
    made_of(&format!("testsrc2=s=432x96:r={rate}:d=10"), &format!("{},settb=AVTB", numbered()), options, "film.mp4")
}

fn made_of(picture: &str, filter: &str, options: &str, name: &str) -> Made {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-f", "lavfi", "-i", picture]);
    command.args(["-f", "lavfi", "-i", "sine=f=440:r=48000:d=10,pan=stereo|c0=c0|c1=c0"]);
    command.args(["-vf", filter, "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"]);
    command.args(["-flags:v", "+cgop", "-fps_mode", "passthrough"]);
    let output = command.args(options.split_whitespace()).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Made { dir, path }
}

impl Made {
    /// The same film written anew, without being encoded.
    fn again(&self, input: &str, output: &str, name: &str) -> Made {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error"]).args(input.split_whitespace()).arg("-i").arg(&self.path).args(["-c", "copy"]);
        let made = command.args(output.split_whitespace()).arg(&path).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Made { dir, path }
    }

    pub(crate) fn movie(&self) -> Movie {
        read(&self.path).unwrap().unwrap()
    }

    fn fits(&self) -> Vec<Fit> {
        self.movie().tracks.iter().map(|t| t.fit).collect()
    }
}

/// Cut-friendly, as uploads may be.
const FRIENDLY: &str = "-bf 0 -g 30";

pub(crate) fn track(movie: &Movie, kind: MediaKind) -> &MovieTrack {
    movie.tracks.iter().find(|t| t.kind == kind && t.is_default).unwrap()
}

/// A track as the rows of its chunks would give it.
pub(crate) fn view(track: &MovieTrack, path: &Path) -> TrackView {
    let chunk = |c: vitascope_media::mp4::PlacedChunk| {
        let chunk = Chunk::from_index(c.start, c.end, &c.index, Place::File(path.to_owned())).unwrap();
        assert_eq!(chunk.entries.len() as i64, c.samples);
        assert_eq!(chunk.entries.iter().map(|e| i64::from(e.size)).sum::<i64>(), c.bytes);
        chunk
    };
    TrackView::new(track.chunks().into_iter().map(chunk).collect(), false)
}

fn whole(movie: &Movie, path: &Path) -> Plan {
    let range = TimeRange::new(WallTime(0), WallTime(0) + movie.length).unwrap();
    let of = |kind| movie.tracks.iter().find(|t| t.kind == kind && t.is_default).map(|t| view(t, path));
    plan(of(MediaKind::Video).as_ref(), of(MediaKind::Audio).as_ref(), range, &PlanOptions::asset()).unwrap()
}

/// Plays all of a file; picture n must be shown at `at(n)` seconds, counted from the first.
fn assert_plays(made: &Made, count: usize, at: impl Fn(usize) -> f64) {
    let movie = made.movie();
    let served = Served::new(whole(&movie, &made.path));
    let played = served.watch();
    assert_eq!(played.iter().map(|p| p.number).collect::<Vec<_>>(), (0..count).collect::<Vec<_>>());
    // Nothing is heard before the first picture is seen, or after.
    assert!(played[0].seconds < 0.001, "{}", played[0].seconds);
    let off = |p: &Played| (p.seconds - played[0].seconds - at(p.number)).abs();
    let worst = played.iter().max_by(|a, b| off(a).total_cmp(&off(b))).unwrap();
    assert!(off(worst) < 1.5e-5, "picture {} at {} s, not {}", worst.number, worst.seconds, at(worst.number));
    if movie.tracks.iter().any(|t| t.kind == MediaKind::Audio) {
        let heard = served.listen();
        assert!(heard.iter().any(|s| s.abs() > 0.05));
    }
}

#[test]
fn a_friendly_file_is_cut_where_it_lies() {
    let made = made("30", FRIENDLY);
    let movie = made.movie();
    assert_eq!(made.fits(), [Fit::Cut, Fit::Cut]);
    assert_eq!(track(&movie, MediaKind::Video).length, Span::seconds(10));
    assert!((movie.length - Span::seconds(10)).0 < 22_000, "{:?}", movie.length);
    let picture = track(&movie, MediaKind::Video).chunks();
    assert_eq!(picture.iter().map(|c| c.start.0).collect::<Vec<_>>(), [0, 4_000_000, 8_000_000]);
    assert_eq!(picture.iter().map(|c| c.samples).collect::<Vec<_>>(), [120, 120, 60]);
    assert_eq!(picture[2].end, WallTime(10_000_000));
    assert_plays(&made, 300, |n| n as f64 / 30.0);
    let range = TimeRange::new(WallTime(4_000_000), WallTime(6_950_000)).unwrap();
    let view = view(track(&movie, MediaKind::Video), &made.path);
    let served = Served::new(plan(Some(&view), None, range, &PlanOptions::default()).unwrap());
    assert_eq!(served.watch().iter().map(|p| p.number).collect::<Vec<_>>(), (120..209).collect::<Vec<_>>());
}

#[test]
fn it_does_not_matter_where_the_description_stands() {
    let made = made("30", FRIENDLY);
    for (output, name) in [("-movflags +faststart", "film.mp4"), ("", "film.mov"), ("-brand mp42", "film.m4v")] {
        let again = made.again("", output, name);
        let chunks = |m: &Made| {
            m.movie().tracks.iter().flat_map(|t| t.chunks()).map(|c| (c.start, c.end, c.bytes)).collect::<Vec<_>>()
        };
        assert_eq!(chunks(&again), chunks(&made), "{output} {name}");
        assert_plays(&again, 300, |n| n as f64 / 30.0);
    }
}

#[test]
fn rates_of_all_kinds_keep_their_time() {
    for (rate, seconds) in
        [("30000/1001", 1001.0 / 30_000.0), ("60", 1.0 / 60.0), ("24000/1001", 1001.0 / 24_000.0), ("25", 0.04)]
    {
        let made = made(rate, "-bf 0 -g 48");
        let count = made.movie().tracks[0].chunks().iter().map(|c| c.samples).sum::<i64>();
        assert_eq!(made.fits(), [Fit::Cut, Fit::Cut], "{rate}");
        assert_eq!(count, (10.0_f64 / seconds).ceil() as i64, "{rate}");
        assert_plays(&made, count as usize, |n| n as f64 * seconds);
    }
}

#[test]
fn pictures_that_come_when_they_please_keep_their_time() {
    let filter = format!("{},settb=1/90000,setpts='(N+floor(N/7)*3+mod(N,3)*0.25)/30/TB'", numbered());
    let made = made_of("testsrc2=s=432x96:r=30:d=6", &filter, "-bf 0 -g 30 -enc_time_base 1:90000", "film.mp4");
    assert_eq!(made.fits(), [Fit::Cut, Fit::Cut]);
    assert_plays(&made, 180, |n| (n as f64 + (n / 7) as f64 * 3.0 + (n % 3) as f64 * 0.25) / 30.0);
}

#[test]
fn b_frames_and_long_groups_are_played_as_a_whole() {
    let shifted = made("30", "-bf 3 -g 60 -b_strategy 0");
    assert_eq!(shifted.fits(), [Fit::Whole("B-frames"), Fit::Cut]);
    assert_plays(&shifted, 300, |n| n as f64 / 30.0);
    let long = made("30", "-bf 2 -g 250 -b_strategy 0");
    assert_eq!(long.fits()[0], Fit::Whole("key frames too far apart to cut"));
    assert_plays(&long, 300, |n| n as f64 / 30.0);
    let open = made("30", "-bf 3 -g 30 -b_strategy 0 -flags:v -cgop -x264-params open-gop=1");
    assert_eq!(open.fits()[0], Fit::Whole("key frames that are not IDR"));
    assert_plays(&open, 300, |n| n as f64 / 30.0);
}

#[test]
fn sound_that_is_otherwise_is_played_as_a_whole() {
    let mono = made("30", "-bf 0 -g 30 -ac 1 -ar 44100");
    assert_eq!(mono.fits(), [Fit::Cut, Fit::Whole("sound that is not 48 kHz stereo")]);
    assert_plays(&mono, 300, |n| n as f64 / 30.0);
}

/// When ffmpeg says that pictures are shown: it moves them a little when it breaks a film into fragments.
fn times(made: &Made) -> Vec<f64> {
    let mut command = Command::new("ffprobe");
    command.args("-v error -select_streams v -show_entries packet=pts_time -of csv=p=0".split_whitespace());
    let said = String::from_utf8(command.arg(&made.path).output().unwrap().stdout).unwrap();
    let mut times: Vec<f64> = said.lines().map(|line| line.trim_end_matches(',').parse().unwrap()).collect();
    times.sort_by(f64::total_cmp);
    times
}

#[test]
fn films_in_fragments_are_cut_where_they_lie() {
    let film = made("30", FRIENDLY);
    for flags in [
        "frag_keyframe+empty_moov",
        "frag_keyframe+empty_moov+default_base_moof",
        "frag_keyframe",
        "frag_keyframe+delay_moov",
    ] {
        let fragmented = film.again("", &format!("-movflags {flags}"), "film.mp4");
        assert_eq!(fragmented.fits(), [Fit::Cut, Fit::Cut], "{flags}");
        let times = times(&fragmented);
        assert_plays(&fragmented, 300, |n| times[n] - times[0]);
    }
    let shifted = made("30", "-bf 3 -g 60 -b_strategy 0 -movflags frag_keyframe+empty_moov+default_base_moof");
    assert_eq!(shifted.fits(), [Fit::Whole("B-frames"), Fit::Cut]);
    assert_plays(&shifted, 300, |n| n as f64 / 30.0);
}

#[test]
fn sound_that_begins_later_stays_later() {
    let film = made("30", FRIENDLY);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("film.mp4");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(&film.path).args(["-itsoffset", "1.5", "-i"]).arg(&film.path);
    command.args(["-map", "0:v", "-map", "1:a", "-c", "copy"]).arg(&path);
    assert!(command.status().unwrap().success());
    let movie = read(&path).unwrap().unwrap();
    let (picture, sound) = (track(&movie, MediaKind::Video), track(&movie, MediaKind::Audio));
    assert_eq!((picture.start, picture.fit, sound.fit), (WallTime(0), Fit::Cut, Fit::Cut));
    // With the frame that primes the decoder, which begins before.
    assert!((sound.start - WallTime(1_478_666)).0.abs() < 1000, "{:?}", sound.start);
    let heard = Served::new(whole(&movie, &path)).listen();
    let loud = heard.iter().position(|s| s.abs() > 0.01).unwrap() as f64 / 96_000.0;
    assert!((loud - 1.5).abs() < 0.03, "{loud}");
}

#[test]
fn an_edit_may_begin_at_a_key_frame() {
    let film = made("30", FRIENDLY);
    let cut = film.again("-ss 2", "-t 5", "film.mp4");
    let movie = cut.movie();
    assert_eq!(cut.fits(), [Fit::Cut, Fit::Cut]);
    let played = Served::new(whole(&movie, &cut.path)).watch();
    assert_eq!(played.iter().map(|p| p.number).collect::<Vec<_>>(), (60..210).collect::<Vec<_>>());
}

#[test]
fn the_first_of_several_sounds_is_played() {
    let made = made(
        "30",
        "-bf 0 -g 30 -map 0:v -map 1:a -map 1:a -map 1:a -ac:a:1 1 -disposition:a:0 0 -disposition:a:2 default",
    );
    let movie = made.movie();
    let kinds: Vec<_> = movie.tracks.iter().map(|t| (t.index, t.kind, t.is_default)).collect();
    let (picture, sound) = (MediaKind::Video, MediaKind::Audio);
    assert_eq!(kinds, [(0, picture, true), (1, sound, false), (2, sound, false), (3, sound, true)]);
}

#[test]
fn sound_alone_is_taken_too() {
    let made = made("30", "-vn -map 1:a");
    let movie = made.movie();
    assert_eq!((movie.tracks.len(), movie.tracks[0].fit), (1, Fit::Cut));
    let served = Served::new(whole(&movie, &made.path));
    // Ten seconds, up to a whole frame.
    assert_eq!(served.listen().len(), 2 * 469 * 1024);
}

#[test]
fn what_samples_as_they_lie_cannot_show_must_be_encoded() {
    let film = made("30", FRIENDLY);
    let reason = |made: &Made| match made.movie().tracks[0].fit {
        Fit::No(reason) => reason,
        fit => panic!("{fit:?}"),
    };
    assert_eq!(reason(&film.again("", "-metadata:s:v rotate=90", "film.mp4")), "pictures that are to be turned");
    assert_eq!(reason(&film.again("-ss 2.5", "", "film.mp4")), "an edit that begins between key frames");
    assert_eq!(
        reason(&film.again("", "-bsf:v h264_metadata=sample_aspect_ratio=4/3", "film.mp4")),
        "pixels that are not square"
    );
    assert_eq!(reason(&made("30", "-pix_fmt yuv422p -bf 0 -g 30")), "a profile that is not baseline, main or high");
    assert_eq!(reason(&made("30", "-c:v mjpeg -pix_fmt yuvj420p -flags:v -cgop")), "another codec");
    assert!(film.dir.path().exists());
}
