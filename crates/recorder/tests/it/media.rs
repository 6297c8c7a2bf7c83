//! What is in recorded media: pictures as their brightness, sound as samples, both by ffmpeg.
#![expect(clippy::disallowed_methods, reason = "a test looks into what was recorded")]

use std::io::Write;
use std::process::{Command, Stdio};

fn ffmpeg(args: &str, input: Vec<u8>) -> Vec<u8> {
    if input.is_empty() {
        return Vec::new();
    }
    let mut child = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error"])
        .args(args.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ffmpeg cannot be started: install the package ffmpeg");
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// The mean brightness of each picture, in order, as the encoder's studio range has it (16 is black, 235 is white).
pub(crate) fn brightness(h264: Vec<u8>) -> Vec<u8> {
    ffmpeg(
        "-f h264 -i pipe:0 -fps_mode passthrough -vf scale=1:1:flags=area,format=yuv420p,extractplanes=y -f rawvideo pipe:1",
        h264,
    )
}

/// Mono samples at 48 kHz.
pub(crate) fn samples(adts: Vec<u8>) -> Vec<i16> {
    let pcm = ffmpeg("-f aac -i pipe:0 -f s16le -ac 1 -ar 48000 pipe:1", adts);
    pcm.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
}

/// How much of the sound is a tone of that pitch, 0 to 1.
pub(crate) fn share_of_tone(samples: &[i16], hertz: f64) -> f64 {
    let (mut real, mut imaginary, mut all) = (0.0, 0.0, 1e-9);
    for (n, sample) in samples.iter().enumerate() {
        let turn = n as f64 * hertz / 48_000.0 * std::f64::consts::TAU;
        let sample = f64::from(*sample);
        real += sample * turn.cos();
        imaginary += sample * turn.sin();
        all += sample * sample;
    }
    2.0 * (real * real + imaginary * imaginary) / (all * samples.len() as f64)
}

/// Each picture as rows of red, green and blue.
pub(crate) fn pictures(h264: Vec<u8>, (width, height): (usize, usize)) -> Vec<Vec<u8>> {
    let args = format!("-f h264 -i pipe:0 -fps_mode passthrough -s {width}x{height} -pix_fmt rgb24 -f rawvideo pipe:1");
    ffmpeg(&args, h264).chunks_exact(width * height * 3).map(<[u8]>::to_vec).collect()
}

/// How many pixels of a picture have about that colour.
pub(crate) fn pixels_of(picture: &[u8], rgb: [u8; 3]) -> usize {
    let like = |pixel: &&[u8]| pixel.iter().zip(rgb).all(|(a, b)| a.abs_diff(b) < 70);
    picture.chunks_exact(3).filter(like).count()
}

/// Width and height, as the stream itself says.
pub(crate) fn size(h264: &[u8]) -> (usize, usize) {
    let mut probe = Command::new("ffprobe");
    probe.args("-v error -f h264 -show_entries stream=width,height -of csv=p=0 pipe:0".split_whitespace());
    let mut child = probe.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // It may have seen enough before everything is written.
    child.stdin.take().unwrap().write_all(h264).ok();
    let told = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let (width, height) = told.trim().split_once(',').unwrap();
    (width.parse().unwrap(), height.parse().unwrap())
}
