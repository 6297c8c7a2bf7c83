//! Promises of real files: the frames that ffmpeg shows, counted.

use super::*;
use crate::index::Index;
use crate::probe::probe;
use crate::process::{CommandLine, Program};

async fn promised(name: &str, words: &str) -> Promised {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    let words = format!("-nostdin -loglevel error {words}");
    let words = words.split_whitespace().map(str::to_owned).chain([file.display().to_string()]);
    process::output(&CommandLine::new(Program::Ffmpeg, words), 1024, Duration::from_secs(30)).await.unwrap();
    promise(&file, &probe(&file).await.unwrap()).await.unwrap()
}

/// The times of all frames, in ticks.
fn times(track: &PromisedTrack) -> Vec<i64> {
    let mut times = Vec::new();
    for chunk in &track.chunks {
        let mut at = nearest(i128::from(chunk.start.0) * 9, 100) as i64;
        for entry in Index::decode(&chunk.index, u64::MAX).unwrap().entries {
            at += i64::from(entry.delta);
            times.push(at);
        }
    }
    times
}

#[tokio::test]
async fn frames_with_other_frames_between_them_are_counted_in_the_order_of_showing() {
    let film = "-f lavfi -i testsrc2=s=64x64:r=30000/1001:d=7 -f lavfi -i sine=440:d=7 -shortest";
    for (name, codec) in [
        ("a.mp4", "-c:v libx264 -pix_fmt yuv420p -bf 3 -c:a aac"),
        ("a.mkv", "-c:v libx264 -pix_fmt yuv420p -bf 3 -c:a flac"),
        ("a.ts", "-c:v mpeg2video -bf 2 -c:a mp2"),
        ("a.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus"),
    ] {
        let promised = promised(name, &format!("{film} {codec}")).await;
        let (picture, sound) = (promised.picture.unwrap(), promised.sound.unwrap());
        let times = times(&picture);
        // Matroska knows milliseconds only; a transport stream's sound begins a little earlier than its picture.
        let off = |(n, at): (usize, &i64)| (at - n as i64 * 3003 - times[1] + 3003).abs();
        assert!((209..=210).contains(&times.len()), "{name}: {}", times.len());
        assert!(times.iter().enumerate().skip(1).all(|t| off(t) <= 90), "{name}: {times:?}");
        assert!(times[1] < 3003 + 9000, "{name}");
        let length = sound.chunks.last().unwrap().end;
        assert!((length - WallTime(7_000_000)).0.abs() < 100_000, "{name}: {length:?}");
        assert!(times.windows(2).all(|w| w[0] < w[1]));
        assert!(matches!(picture.recipe, Recipe::Picture(p) if p.pace == Pace::AsFilmed));
    }
}

#[tokio::test]
async fn what_an_edit_list_hides_is_not_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("whole.mp4");
    let make = format!(
        "-nostdin -v error -f lavfi -i testsrc2=s=64x64:r=25:d=8 -c:v libx264 -pix_fmt yuv420p -g 250 {}",
        file.display()
    );
    let line = CommandLine::new(Program::Ffmpeg, make.split_whitespace());
    process::output(&line, 1024, Duration::from_secs(30)).await.unwrap();
    // A copy keeps the frames before the cut, and hides them.
    let promised = promised("cut.mp4", &format!("-ss 3 -i {} -c copy", file.display())).await;
    let picture = promised.picture.unwrap();
    assert_eq!(times(&picture), (0..125).map(|n| n * 3600).collect::<Vec<_>>());
    assert!(promised.sound.is_none());
}

#[tokio::test]
async fn sound_alone_and_sound_that_begins_later() {
    let alone = promised("a.mp3", "-f lavfi -i sine=440:d=5").await;
    assert!(alone.picture.is_none());
    let sound = alone.sound.unwrap();
    assert!((sound.chunks.last().unwrap().end - WallTime(5_000_000)).0.abs() < 60_000);

    let later =
        "-f lavfi -i testsrc2=s=64x64:r=10:d=5 -itsoffset 1.5 -f lavfi -i sine=440:d=3 -c:v libx264 -pix_fmt yuv420p";
    let later = promised("a.mkv", later).await;
    let end = later.sound.unwrap().chunks.last().unwrap().end;
    assert!((end - WallTime(4_500_000)).0.abs() < 60_000, "{end:?}");
    assert_eq!(times(&later.picture.unwrap()).len(), 50);
}

#[test]
fn a_line_of_ffprobes() {
    let packet = |at, decoded, duration| Packet { stream: 1, at, decoded, duration, key: duration > 0 };
    assert_eq!(Packet::parse("1,1024,1000,512,K_"), Some(packet(1024, Some(1000), 512)));
    assert_eq!(Packet::parse("1,N/A,1000,N/A,__,"), Some(packet(1000, Some(1000), 0)));
    for never in ["1,-1024,-1024,1024,KD,", "1,N/A,N/A,1,K_", "", "x,1,1,1,K_"] {
        assert_eq!(Packet::parse(never), None);
    }
}

#[test]
fn times_round_as_ffmpeg_rounds_and_nonsense_is_refused() {
    let base = |num, den| Ratio { num, den };
    assert_eq!(ticks(1001, base(1, 30_000), Span::ZERO, TICKS).unwrap(), 3003);
    assert_eq!(ticks(33, base(1, 1000), Span(-7_000), TICKS).unwrap(), 3600);
    assert_eq!(ticks(129_003, base(1, 90_000), Span(1_433_367), TICKS).unwrap(), 0);
    assert!(ticks(i64::MAX, base(u32::MAX, 1), Span::ZERO, TICKS).is_err());
    assert!(ticks(i64::MIN, base(1, 1), Span(i64::MAX), TICKS).is_err());
    let mut latest = i64::MIN;
    assert!([0, 900_000, 800_000].iter().all(|t| check_step(&mut latest, *t).is_ok()));
    assert!(check_step(&mut latest, 400_000).unwrap_err().message.contains("after 10 s"));
}
