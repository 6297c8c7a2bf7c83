//! Uploaded files that are encoded: every picture of a file of any kind is there once, at its time, whether all chunks are made in one
//! go or each by itself, and sound goes on from chunk to chunk as if nothing had been cut.
#![expect(clippy::disallowed_methods, reason = "a test starts the encoder whose file it reads")]

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use vitascope_media::compile::{PlanOptions, plan};
use vitascope_media::encoder::upload::{EncodedChunk, Stretch, encode};
use vitascope_media::probe::probe;
use vitascope_media::promise::{Promised, PromisedTrack, promise};
use vitascope_media::track::{Chunk, Place, TrackView};
use vitascope_model::{TimeRange, WallTime};

use crate::film::numbered;
use crate::player::{Played, Served};

struct Upload {
    dir: TempDir,
    path: PathBuf,
    promised: Promised,
}

/// A file of numbered pictures, made with these words after the input.
async fn upload(name: &str, picture: &str, words: &str) -> Upload {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    let mut command = Command::new("ffmpeg");
    command.args([
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        picture,
        "-f",
        "lavfi",
        "-i",
        "sine=f=440:r=44100:d=11,volume=6",
    ]);
    let output = command.args(words.split_whitespace()).arg(&path).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let promised = promise(&path, &probe(&path).await.unwrap()).await.unwrap();
    Upload { dir, path, promised }
}

fn film(rate: &str) -> String {
    format!("testsrc2=s=432x96:r={rate}:d=11,{},settb=AVTB", numbered())
}

impl Upload {
    fn tracks(&self) -> Vec<&PromisedTrack> {
        self.promised.picture.iter().chain(&self.promised.sound).collect()
    }

    /// All tracks from their chunk `first` on, in one go.
    async fn from(&self, first: usize) -> Vec<Vec<EncodedChunk>> {
        let tracks = self.tracks();
        let stretch = |t: &&PromisedTrack| Stretch {
            recipe: t.recipe.clone(),
            chunks: t.chunks[first.min(t.chunks.len() - 1)..].to_vec(),
            is_rest: true,
        };
        let mut output = encode(&self.path, tracks.iter().map(stretch).collect(), 2).unwrap();
        let mut made = vec![Vec::new(); tracks.len()];
        while let Some(chunk) = output.recv().await {
            let chunk = chunk.unwrap();
            made[chunk.track].push(chunk);
        }
        made
    }

    /// Each chunk of each track by itself.
    async fn alone(&self) -> Vec<Vec<EncodedChunk>> {
        let mut made = Vec::new();
        for track in self.tracks() {
            let mut chunks = Vec::new();
            for (n, chunk) in track.chunks.iter().enumerate() {
                let is_rest = n + 1 == track.chunks.len();
                let stretch = Stretch { recipe: track.recipe.clone(), chunks: vec![chunk.clone()], is_rest };
                let mut output = encode(&self.path, vec![stretch], 1).unwrap();
                chunks.push(output.recv().await.unwrap().unwrap());
                assert!(output.recv().await.is_none());
            }
            made.push(chunks);
        }
        made
    }

    /// Plays tracks, after it was checked that they keep what was promised.
    fn served(&self, made: &[Vec<EncodedChunk>]) -> Served {
        let mut views = made.iter().zip(self.tracks()).enumerate().map(|(track, (made, promised))| {
            let bounds = |c: &EncodedChunk| (c.start, c.end);
            let wanted: Vec<_> = promised.chunks.iter().map(|c| (c.start, c.end)).collect();
            assert_eq!(made.iter().map(bounds).collect::<Vec<_>>(), wanted);
            let chunks = made.iter().map(|c| stored(self.dir.path(), track, c));
            TrackView::new(chunks.collect(), false)
        });
        let (picture, sound) = match self.promised.picture {
            Some(_) => (views.next(), views.next()),
            None => (None, views.next()),
        };
        let end = self.tracks()[0].chunks.last().unwrap().end;
        let range = TimeRange::new(WallTime(0), end).unwrap();
        Served::new(plan(picture.as_ref(), sound.as_ref(), range, &PlanOptions::default()).unwrap())
    }
}

fn stored(dir: &Path, track: usize, chunk: &EncodedChunk) -> Chunk {
    let path = dir.join(format!("{track}-{}.dat", chunk.start.0));
    std::fs::write(&path, &chunk.data).unwrap();
    let chunk = Chunk::from_index(chunk.start, chunk.end, &chunk.index, Place::File(path)).unwrap();
    assert!(chunk.entries[0].key);
    chunk
}

/// Whether every picture is there once, at its time to within so many seconds.
fn assert_pictures(played: &[Played], count: usize, rate: f64, tolerance: f64, what: &str) {
    let numbers: Vec<usize> = played.iter().map(|p| p.number).collect();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "{what}");
    let begin = played[1].seconds - 1.0 / rate;
    for picture in &played[1..] {
        let due = begin + picture.number as f64 / rate;
        assert!((picture.seconds - due).abs() <= tolerance, "{what}: {picture:?}, due {due}");
    }
}

#[tokio::test]
async fn every_picture_of_every_kind_of_file_is_there_once() {
    const X264: &str = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p";
    let cases = [
        ("25.mp4", "25", format!("{X264} -bf 3 -g 250 -c:a aac"), 0.000_1),
        ("2997.mp4", "30000/1001", format!("{X264} -bf 2 -g 90 -c:a aac -ac 1"), 0.000_1),
        ("60.mkv", "60", format!("{X264} -bf 3 -g 300 -c:a libmp3lame"), 0.001_1),
        (
            "hevc.mp4",
            "24000/1001",
            "-c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -x265-params log-level=none:keyint=100 -c:a aac"
                .to_owned(),
            0.000_1,
        ),
        ("vp9.webm", "30", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 128 -c:a libopus".to_owned(), 0.001_1),
        ("old.avi", "25", "-c:v mpeg4 -g 200 -q:v 2 -c:a mp3".to_owned(), 0.000_1),
        ("broadcast.ts", "25", "-c:v mpeg2video -bf 2 -g 60 -q:v 2 -c:a mp2".to_owned(), 0.000_1),
    ];
    for (name, rate, words, tolerance) in cases {
        let upload = upload(name, &film(rate), &words).await;
        let fps: f64 = match rate.split_once('/') {
            Some((a, b)) => a.parse::<f64>().unwrap() / b.parse::<f64>().unwrap(),
            None => rate.parse().unwrap(),
        };
        let count = (11.0 * fps).ceil() as usize;
        let all = upload.from(0).await;
        assert_pictures(&upload.served(&all).watch(), count, fps, tolerance, name);
        let each = upload.alone().await;
        assert_pictures(&upload.served(&each).watch(), count, fps, tolerance, &format!("{name}, each chunk alone"));
        for (all, each) in all.iter().flatten().zip(each.iter().flatten()) {
            assert_eq!((all.start, all.samples), (each.start, each.samples), "{name}");
        }
    }
}

#[tokio::test]
async fn pictures_that_come_as_they_like_keep_their_times() {
    // Groups of pictures with pauses of up to three seconds between them.
    let picture = format!("{},select='lt(mod(n,90),7)+eq(mod(n,90),40)'", film("30"));
    let words = "-map 0 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -bf 2 -g 20 -fps_mode passthrough -enc_time_base 1:90000";
    let upload = upload("vfr.mp4", &picture, words).await;
    let due: Vec<usize> = (0..330).filter(|n| n % 90 < 7 || n % 90 == 40).collect();
    for made in [upload.from(0).await, upload.alone().await] {
        let played = upload.served(&made).watch();
        assert_eq!(played.iter().map(|p| p.number).collect::<Vec<_>>(), due);
        for picture in played {
            assert!((picture.seconds - picture.number as f64 / 30.0).abs() < 0.000_1, "{picture:?}");
        }
    }
}

#[tokio::test]
async fn encoding_can_begin_at_any_chunk() {
    let words = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 250 -c:a aac";
    let upload = upload("film.mp4", &film("30000/1001"), words).await;
    let (all, rest) = (upload.from(0).await, upload.from(2).await);
    for (all, rest) in all.iter().zip(&rest) {
        let seen = |c: &EncodedChunk| (c.start, c.end, c.samples);
        assert_eq!(all[2..].iter().map(seen).collect::<Vec<_>>(), rest.iter().map(seen).collect::<Vec<_>>());
    }
    let mixed: Vec<Vec<EncodedChunk>> = all.iter().zip(rest).map(|(a, r)| [&a[..2], &r].concat()).collect();
    assert_pictures(&upload.served(&mixed).watch(), 330, 30_000.0 / 1001.0, 0.000_1, "mixed");
}

#[tokio::test]
async fn one_picture_and_a_song_is_a_film() {
    let upload = upload(
        "song.mp4",
        &film("25"),
        "-vf select=eq(n\\,0) -fps_mode passthrough -c:v libx264 -pix_fmt yuv420p -c:a aac",
    )
    .await;
    for made in [upload.from(0).await, upload.alone().await] {
        let (served, picture) = (upload.served(&made), &made[0]);
        assert_eq!(served.plan.samples(), 11, "one a second");
        let bounds: Vec<_> = picture.iter().map(|c| (c.start.0, c.samples)).collect();
        assert_eq!(bounds, [(0, 2), (2_000_000, 4), (6_000_000, 4), (10_000_000, 1)]);
        // Each is the same picture: what follows a key frame of it says nothing new.
        assert!(picture.iter().all(|c| c.data.len() < picture[0].data.len() * 5));
    }
}

#[tokio::test]
async fn sound_goes_on_from_chunk_to_chunk() {
    for (name, words) in [
        ("a.m4a", "-map 1 -c:a aac -b:a 192k"),
        ("a.wav", "-map 1 -ac 2"),
        ("a.mp3", "-map 1 -b:a 192k"),
        ("a.flac", "-map 1"),
        ("a.mkv", "-map 1 -c:a flac"),
    ] {
        let upload = upload(name, &film("25"), words).await;
        assert!(upload.promised.picture.is_none());
        for (how, made) in [("all", upload.from(0).await), ("alone", upload.alone().await)] {
            let pcm = upload.served(&made).listen();
            let left: Vec<f32> = pcm.iter().step_by(2).copied().collect();
            assert!((left.len() as f64 / 48_000.0 - 11.0).abs() < 0.06, "{name}, {how}: {}", left.len());
            // A tone of one loudness: its steps are no larger where chunks meet, and it never fades.
            let inside = &left[4800..left.len() - 9600];
            let steps: Vec<f32> = inside.windows(2).map(|w| (w[1] - w[0]).abs()).collect();
            let within = steps[..48_000].iter().copied().fold(0.0, f32::max);
            let most = steps.iter().copied().fold(0.0, f32::max);
            assert!(most <= within * 1.1, "{name}, {how}: a step of {most}, {within} inside");
            let loud: Vec<f32> =
                inside.chunks_exact(480).map(|c| c.iter().copied().fold(0.0, |a: f32, b| a.max(b.abs()))).collect();
            let (least, usual) = (loud.iter().copied().fold(1.0, f32::min), loud[50]);
            assert!(least >= usual * 0.85, "{name}, {how}: {least} of {usual}");
        }
    }
}

#[tokio::test]
async fn sound_that_begins_later_is_silent_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("late.mkv");
    let mut command = Command::new("ffmpeg");
    command.args(
        "-v error -f lavfi -i testsrc2=s=64x64:r=25:d=5 -itsoffset 1.5 -f lavfi -i sine=f=440:r=48000:d=3,volume=6"
            .split(' '),
    );
    let output = command.args("-c:v libx264 -pix_fmt yuv420p -c:a flac".split(' ')).arg(&path).output().unwrap();
    assert!(output.status.success());
    let promised = promise(&path, &probe(&path).await.unwrap()).await.unwrap();
    let upload = Upload { dir, path, promised };
    let made = upload.from(0).await;
    let pcm = upload.served(&made).listen();
    let first = pcm.iter().position(|s| s.abs() > 0.1).unwrap() as f64 / 2.0 / 48_000.0;
    assert!((first - 1.5).abs() < 0.03, "{first}");
    let last = pcm.iter().rposition(|s| s.abs() > 0.1).unwrap() as f64 / 2.0 / 48_000.0;
    assert!((last - 4.5).abs() < 0.03, "{last}");
}

#[tokio::test]
async fn a_picture_is_made_upright_square_and_standard() {
    let bright = "-map 0 -c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -color_trc smpte2084 -color_primaries bt2020 \
                  -colorspace bt2020nc -x265-params log-level=none -t 1";
    let fields = "-map 0 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -flags +ildct+ilme -top 1 -aspect 16:9 -t 1";
    let odd = "-map 0 -c:v ffv1 -pix_fmt yuv444p -vf scale=333:95,setsar=1 -t 1";
    for (name, words, size) in [("a.mp4", bright, (432, 96)), ("a.ts", fields, (432, 242)), ("a.mkv", odd, (332, 94))] {
        let upload = upload(name, &film("25"), words).await;
        let made = upload.from(0).await;
        let chunk = stored(upload.dir.path(), 0, &made[0][0]);
        assert_eq!(chunk.codec.picture_size().unwrap(), size, "{name}");
        assert_eq!(made[0].iter().map(|c| c.samples).sum::<i64>(), 25, "{name}");
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_says_so_and_nothing_is_made_up() {
    let upload = upload("film.mp4", &film("25"), "-map 0 -c:v libx264 -preset ultrafast -pix_fmt yuv420p").await;
    let mut bytes = std::fs::read(&upload.path).unwrap();
    let data = bytes.windows(4).position(|w| w == b"mdat").unwrap() + 4;
    let end = if data > 2000 { bytes.len() } else { bytes.windows(4).position(|w| w == b"moov").unwrap() - 4 };
    bytes[data..end].fill(0x5a);
    std::fs::write(&upload.path, bytes).unwrap();
    let track = upload.promised.picture.as_ref().unwrap();
    let stretch = Stretch { recipe: track.recipe.clone(), chunks: track.chunks.clone(), is_rest: true };
    let mut output = encode(&upload.path, vec![stretch], 1).unwrap();
    assert!(output.recv().await.unwrap().is_err());
    assert!(output.recv().await.is_none());
}
