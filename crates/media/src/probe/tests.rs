//! Files of many kinds, made by the real encoder, and what is said of each.

use super::*;

async fn made(name: &str, words: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    let words = format!("-nostdin -loglevel error {words}");
    let words = words.split_whitespace().map(str::to_owned).chain([file.display().to_string()]);
    process::output(&CommandLine::new(Program::Ffmpeg, words), 1024, LIMIT).await.unwrap();
    (folder, file)
}

const PICTURE: &str = "-f lavfi -i testsrc2=s=96x64:r=30000/1001:d=1";
const SOUND: &str = "-f lavfi -i sine=440:d=2";

#[test]
fn the_command_line() {
    let line = command_line(Path::new("/data/a b")).to_string();
    assert!(line.contains("-protocol_whitelist file -format_whitelist mov,matroska,avi,"), "{line}");
    assert!(line.ends_with("-i 'file:/data/a b'"), "{line}");
    for never in ["hls", "dash", "concat", "sdp", "image2", "lavfi", "svg", "webvtt", "imf"] {
        assert!(!line.split([',', ' ']).any(|word| word == never), "{never}");
    }
}

#[tokio::test]
async fn a_film_with_two_sounds() {
    let words = format!(
        "{PICTURE} {SOUND} {SOUND} -map 0 -map 1 -map 2 -c:v libx264 -pix_fmt yuv420p -c:a aac -ac 1 -ar 44100 \
         -metadata title=Film -metadata:s:a:1 language=fra -disposition:a:0 0 -disposition:a:1 default"
    );
    let (_folder, file) = made("film.mkv", &words).await;
    let probe = probe(&file).await.unwrap();
    assert_eq!((probe.kind(), probe.title.as_deref(), probe.cover), (Kind::Video, Some("Film"), false));
    assert!((probe.length.unwrap().to_seconds() - 2.0).abs() < 0.1);
    let picture = probe.picture.unwrap();
    assert_eq!((picture.codec.as_str(), picture.width, picture.height), ("h264", 96, 64));
    assert_eq!((picture.rate, picture.rotation), (Some(Ratio { num: 30_000, den: 1001 }), 0));
    assert_eq!((picture.interlaced, picture.hdr), (false, None));
    let sounds: Vec<_> = probe.sounds.iter().map(|s| (s.index, s.language.as_deref(), s.rate, s.channels)).collect();
    assert_eq!(sounds, [(2, Some("fra"), 44_100, 1), (1, None, 44_100, 1)]);
}

#[tokio::test]
async fn what_a_picture_can_be() {
    // Only a copy takes a turn over; ffmpeg counts it against the clock.
    let (_folder, flat) = made("flat.mp4", &format!("{PICTURE} -c:v libx264 -pix_fmt yuv420p")).await;
    let turned = format!("-i {} -c copy -metadata:s:v rotate=90", flat.display());
    let (_folder, file) = made("turned.mp4", &turned).await;
    assert_eq!(probe(&file).await.unwrap().picture.unwrap().rotation, 270);

    let fields = format!("{PICTURE} -c:v libx264 -flags +ildct+ilme -top 1 -aspect 16:9");
    let (_folder, file) = made("fields.ts", &fields).await;
    let picture = probe(&file).await.unwrap().picture.unwrap();
    assert!(picture.interlaced);
    assert_eq!(picture.aspect, Ratio { num: 32, den: 27 });

    let bright = format!(
        "{PICTURE} -c:v libx265 -pix_fmt yuv420p10le -color_trc smpte2084 -color_primaries bt2020 -colorspace bt2020nc \
         -x265-params log-level=none"
    );
    let (_folder, file) = made("bright.mp4", &bright).await;
    let picture = probe(&file).await.unwrap().picture.unwrap();
    assert_eq!((picture.codec.as_str(), picture.hdr), ("hevc", Some(Hdr::Pq)));
}

#[tokio::test]
async fn the_kind_is_what_the_bytes_are() {
    let cover = format!("{SOUND} {PICTURE} -map 0 -map 1 -frames:v 1 -c:v mjpeg -disposition:v attached_pic");
    for (name, words, kind) in [
        ("a.gif", PICTURE.to_owned(), Kind::Video),
        ("b.gif", format!("{PICTURE} -frames:v 1"), Kind::Image),
        ("a.png", format!("{PICTURE} -f apng"), Kind::Video),
        ("b.png", format!("{PICTURE} -frames:v 1"), Kind::Image),
        ("a.mp3", cover, Kind::Audio),
        ("a.flac", SOUND.to_owned(), Kind::Audio),
        ("a.ogg", SOUND.to_owned(), Kind::Audio),
        ("a.wav", SOUND.to_owned(), Kind::Audio),
        ("a.avi", PICTURE.to_owned(), Kind::Video),
        ("a.webm", format!("{PICTURE} -deadline realtime"), Kind::Video),
    ] {
        let (_folder, file) = made(name, &words).await;
        let unnamed = file.with_file_name("x");
        std::fs::rename(&file, &unnamed).unwrap();
        let probe = probe(&unnamed).await.unwrap();
        assert_eq!(probe.kind(), kind, "{name}");
        assert_eq!(probe.cover, name == "a.mp3");
        assert_eq!(probe.sounds.len(), usize::from(kind == Kind::Audio), "{name}");
    }
}

#[tokio::test]
async fn what_is_broken_is_refused_with_what_is_wrong() {
    let (_folder, file) = made("whole.mp4", &format!("{PICTURE} -c:v libx264 -pix_fmt yuv420p")).await;
    let whole = std::fs::read(&file).unwrap();
    let broken = file.with_file_name("broken");
    for (bytes, wrong) in [
        (whole[..whole.len() / 2].to_vec(), "cut off"),
        ([0x5a, 0, 1, 2].repeat(5000), "cannot be read"),
        (b"\0\0\0\x10ftypisom\0\0\0\0".to_vec(), "moov"),
    ] {
        std::fs::write(&broken, bytes).unwrap();
        let error = probe(&broken).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidArgument, "{error}");
        assert!(error.message.contains(wrong), "{error}");
    }
}
