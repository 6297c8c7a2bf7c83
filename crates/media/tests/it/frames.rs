//! Single pictures, counted: the one that is asked for is the one that a player shows at that moment, in the size that was wished.
#![expect(clippy::disallowed_methods, reason = "a test starts the decoder that reads the picture's number")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use bytes::Bytes;
use vitascope_media::compile::{Answers, Plan, PlanOptions, plan};
use vitascope_media::frame::{Fit, Jpeg, first_unless_black, sheet, shown_at};
use vitascope_model::Span;

use crate::film::{BOX, BOXES, black, pictures, sound, wider_pictures};
use crate::player::{number, read, segment};
use crate::recording::{Recording, later, range};

fn plan_of(recording: &Recording) -> Plan {
    plan(Some(&recording.view), None, range(0, 60_000), &PlanOptions::default()).unwrap()
}

async fn picture(plan: &Plan, at: Span, fit: Fit) -> Jpeg {
    let n = plan.segment_at(at).unwrap();
    shown_at(&plan.init().unwrap(), &segment(plan, n), at, fit).await.unwrap()
}

/// The number in the boxes of a picture that was not made smaller.
fn number_in(jpeg: &Jpeg) -> usize {
    number_at(jpeg, 0, 0)
}

fn number_at(jpeg: &Jpeg, x: usize, y: usize) -> usize {
    let filter = format!("crop={}:{BOX}:{x}:{y},scale={BOXES}:1:flags=area,format=gray", BOX * BOXES);
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-f", "jpeg_pipe", "-i", "-", "-vf", &filter, "-f", "rawvideo", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&jpeg.bytes).unwrap();
    number(&child.wait_with_output().unwrap().stdout)
}

#[tokio::test]
async fn it_is_the_picture_that_is_shown_then() {
    let recording = Recording::of(pictures());
    let plan = plan_of(&recording);
    // At its first moment, in the middle of its time, just before the next; across the seams of segments and chunks.
    for (milliseconds, wanted) in
        [(0, 0), (10, 0), (34, 1), (1990, 59), (2000, 60), (2050, 61), (8_016, 240), (19_990, 599)]
    {
        let found = picture(&plan, Span::millis(milliseconds), Fit::default()).await;
        assert_eq!(number_in(&found), wanted, "at {milliseconds} ms");
        assert_eq!((found.width, found.height), (432, 96));
    }
    assert_eq!(plan.segment_at(Span::seconds(20)), None, "that is beyond the end");
}

#[tokio::test]
async fn sound_beside_it_does_not_matter() {
    let (recording, sound) = (Recording::of(pictures()), Recording::of(sound()));
    let plan = plan(Some(&recording.view), Some(&sound.view), range(0, 60_000), &PlanOptions::default()).unwrap();
    assert_eq!(number_in(&picture(&plan, Span::millis(7_340), Fit::default()).await), 220);
}

#[tokio::test]
async fn a_picture_that_is_held_is_shown_until_the_next_one() {
    let film = pictures();
    let mut samples = film.samples[..75].to_vec();
    samples.extend(later(&film.samples[75..150], Span::seconds(4), 90_000));
    let recording = Recording::of_samples(&film.codec, &samples);
    let plan = plan_of(&recording);
    for (milliseconds, wanted) in [(2_480, 74), (4_000, 74), (6_490, 74), (6_510, 75)] {
        assert_eq!(
            number_in(&picture(&plan, Span::millis(milliseconds), Fit::default()).await),
            wanted,
            "{milliseconds}"
        );
    }
}

#[tokio::test]
async fn after_a_change_of_size_it_has_the_new_one() {
    let mut samples = pictures().samples[..90].to_vec();
    samples.extend_from_slice(&wider_pictures().samples[90..180]);
    let recording = Recording::of_samples(&pictures().codec, &samples);
    let plan = plan_of(&recording);
    let found = picture(&plan, Span::millis(4_010), Fit::default()).await;
    assert_eq!((number_in(&found), found.width, found.height), (120, 640, 128));
}

#[tokio::test]
async fn it_fits_what_was_wished_and_is_never_larger() {
    let recording = Recording::of(pictures());
    let plan = plan_of(&recording);
    for (width, height, wanted) in [
        (Some(216), None, (216, 48)),
        (None, Some(24), (108, 24)),
        (Some(200), Some(24), (108, 24)),
        (Some(5000), Some(5000), (432, 96)),
    ] {
        let found = picture(&plan, Span::seconds(1), Fit { width, height }).await;
        assert_eq!((found.width, found.height), wanted);
        assert!(found.bytes.starts_with(b"\xff\xd8\xff"));
    }
}

#[tokio::test]
async fn a_segment_that_begins_black_has_no_first_picture() {
    let recording = Recording::of(pictures());
    let plan = plan_of(&recording);
    let init = plan.init().unwrap();
    assert!(first_unless_black(&init, &segment(&plan, 1), Fit::default()).await.unwrap().is_some());
    let recording = Recording::of(black());
    let black = plan_of(&recording);
    let found = first_unless_black(&black.init().unwrap(), &segment(&black, 1), Fit::default()).await.unwrap();
    assert!(found.is_none());
}

#[tokio::test]
async fn a_sheet_has_the_key_frames_in_their_order() {
    let recording = Recording::of(pictures());
    let plan = plan_of(&recording);
    let wanted: Vec<usize> = (0..7).collect();
    let pictures = wanted.iter().map(|n| {
        let (middle, place) = (Span::seconds(2 * *n as i64 + 1), Span::seconds(*n as i64));
        let still = plan.still(middle, Span::ZERO, place).unwrap();
        let layout = plan.still_layout(&still, &Answers::default()).unwrap();
        Bytes::from(read(layout.parts()))
    });
    let pictures: Vec<Bytes> = pictures.collect();
    // As large as they are, so that the numbers can be read.
    let made = sheet(&plan.init().unwrap(), &pictures, (432, 96), 3).await.unwrap();
    assert_eq!((made.width, made.height), (3 * 432, 3 * 96));
    for n in wanted {
        assert_eq!(number_at(&made, n % 3 * 432, n / 3 * 96), n * 60, "tile {n}");
    }
}
