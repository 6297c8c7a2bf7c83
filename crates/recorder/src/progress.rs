//! What somebody who records by hand is shown: a line that says how each channel is, once a second, and the same for programs.
//! Pure: from two looks at the channels to text.

use serde_json::{Value, json};
use vitascope_model::capture::MediaKind;

use crate::health::Reading;

/// Quieter than this is silence: a microphone's own noise is louder.
const SILENCE_DB: f64 = -70.0;

/// A channel over the last stretch of time.
#[derive(Clone, Debug)]
struct Shown<'a> {
    now: &'a Reading,
    fps: f64,
    /// None for pictures.
    level_db: Option<f64>,
}

/// How things are, `seconds` after the start.
#[derive(Clone, Debug)]
pub(crate) struct Progress<'a> {
    seconds: f64,
    bytes: u64,
    channels: Vec<Shown<'a>>,
}

impl<'a> Progress<'a> {
    /// `before` is the look `since` seconds ago, of the same channels.
    pub(crate) fn new(seconds: f64, since: f64, before: &[Reading], now: &'a [Reading]) -> Self {
        let shown = |(n, now): (usize, &'a Reading)| {
            let samples = now.samples - before.get(n).map_or(0, |b| b.samples);
            let level = || 20.0 * (f64::from(now.peak.max(1)) / 32_768.0).log10();
            let level_db = (now.kind == MediaKind::Audio).then(level);
            Shown { now, fps: samples as f64 / since.max(0.001), level_db }
        };
        let bytes = now.iter().map(|c| c.bytes).sum();
        Progress { seconds, bytes, channels: now.iter().enumerate().map(shown).collect() }
    }

    pub(crate) fn line(&self) -> String {
        let whole = self.seconds as u64;
        let time = format!("{:02}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
        let channels: Vec<String> =
            self.channels.iter().map(|c| format!("{} {}", c.now.channel_id, c.text())).collect();
        format!("{time}  {}  {}", size(self.bytes), channels.join("  "))
    }

    pub(crate) fn json(&self) -> Value {
        let channels: Vec<Value> = self.channels.iter().map(Shown::json).collect();
        json!({ "event": "progress", "seconds": rounded(self.seconds), "bytes": self.bytes, "channels": channels })
    }
}

impl Shown<'_> {
    fn text(&self) -> String {
        if self.now.trouble.is_some() {
            return "[trouble]".to_owned();
        }
        match self.level_db {
            Some(level) if level < SILENCE_DB => "silent".to_owned(),
            Some(level) => format!("{level:.0} dB"),
            None => format!("{:.1} fps", self.fps),
        }
    }

    fn json(&self) -> Value {
        let mut channel = json!({
            "channel_id": self.now.channel_id,
            "bytes": self.now.bytes,
            "healthy": self.now.trouble.is_none(),
            "trouble": self.now.trouble,
        });
        match self.level_db {
            Some(level) => {
                channel["level_db"] = json!(rounded(level));
                channel["silent"] = json!(level < SILENCE_DB);
            }
            None => channel["fps"] = json!(rounded(self.fps)),
        }
        channel
    }
}

fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

pub(crate) fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        b if b < 1e6 => format!("{:.0} kB", b / 1e3),
        b if b < 1e9 => format!("{:.1} MB", b / 1e6),
        b => format!("{:.2} GB", b / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(channel_id: &str, kind: MediaKind, samples: u64, peak: u32, trouble: Option<&str>) -> Reading {
        let (channel_id, trouble) = (channel_id.to_owned(), trouble.map(str::to_owned));
        Reading { channel_id, kind, bytes: 700_000, samples, peak, trouble }
    }

    #[test]
    fn a_line_says_how_each_channel_is() {
        let before = [reading("display:1", MediaKind::Video, 30, 0, None)];
        let now = [
            reading("display:1", MediaKind::Video, 46, 0, None),
            reading("mic:default", MediaKind::Audio, 94, 3277, None),
            reading("system_audio:default", MediaKind::Audio, 94, 0, None),
            reading("mic:usb", MediaKind::Audio, 94, 0, Some("unplugged")),
        ];
        let progress = Progress::new(3725.4, 2.0, &before, &now);
        assert_eq!(
            progress.line(),
            "01:02:05  2.8 MB  display:1 8.0 fps  mic:default -20 dB  system_audio:default silent  mic:usb [trouble]"
        );
        let json = progress.json();
        assert_eq!((&json["seconds"], &json["channels"][0]["fps"]), (&json!(3725.4), &json!(8.0)));
        assert_eq!(json["channels"][3]["trouble"], "unplugged");
        assert_eq!((&json["channels"][1]["silent"], &json["channels"][2]["silent"]), (&json!(false), &json!(true)));
    }

    #[test]
    fn sizes_are_for_people() {
        assert_eq!([size(1500), size(2_340_000), size(5_100_000_000)], ["2 kB", "2.3 MB", "5.10 GB"]);
    }
}
