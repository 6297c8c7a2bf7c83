//! How a track is made out of a stream of an uploaded file: all that an encoder must know besides the boundaries of the chunks, so
//! that any chunk can be made at any time, by itself, and comes out as the others. Kept as text beside the track.

use serde::{Deserialize, Serialize};
use vitascope_model::error::Context;
use vitascope_model::{Result, Span};

use crate::probe::{Hdr, Picture, Probe, Ratio, Sound};

/// The longest side of a picture that is made, and what it is where pictures are larger than 4K or bright: these cost memory.
pub(crate) const LONGEST_SIDE: u32 = 3840;
const LONGEST_OF_HUGE: u32 = 2560;
const LONGEST_OF_BRIGHT: u32 = 1920;
/// Pixels of the largest picture that is made, and of one that is larger than 4K.
pub(crate) const MOST_PIXELS: u32 = 3840 * 2160;
const HUGE: u64 = 4096 * 2304;
/// Decoders of sound need a little of what comes before.
const LEAD: Span = Span::millis(500);
/// Without an index, a reader lands near where it wants to, and waits for a key frame.
const UNINDEXED_LEAD: Span = Span::seconds(2);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipe {
    Picture(PictureRecipe),
    Sound(SoundRecipe),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureRecipe {
    /// Of the file.
    pub stream: u32,
    /// Of each picture in the file: its decoder keeps several of them.
    #[serde(default)]
    pub decoded_pixels: u64,
    /// The time in the file that counts as 0, in microseconds.
    pub start_us: i64,
    /// Of the picture that is made: turned upright, with square pixels, both even.
    pub width: u32,
    pub height: u32,
    pub interlaced: bool,
    pub hdr: Option<Hdr>,
    pub pace: Pace,
    /// How far before a moment reading must begin to get all that is shown from then on, in microseconds.
    pub lead_us: i64,
}

/// Which frames a picture has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// Those of the file, at their times.
    AsFilmed,
    /// So many a second, each showing what the file shows then: where a picture stands still for so long that chunks could not begin.
    Steady(Ratio),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoundRecipe {
    pub stream: u32,
    pub start_us: i64,
    /// As a picture's; none where only who reads from the beginning knows the time to the sample.
    pub lead_us: Option<i64>,
}

impl Recipe {
    pub fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).internal("write a recipe")
    }

    pub fn from_text(text: &str) -> Result<Recipe> {
        serde_json::from_str(text).internal("read a recipe")
    }
}

impl PictureRecipe {
    /// `group` is the longest stretch from a key frame of the file to the next.
    pub(super) fn new(picture: &Picture, probe: &Probe, pace: Pace, group: Span) -> PictureRecipe {
        let (width, height) = size(picture);
        let lead = if has_index(probe) { LEAD } else { group + UNINDEXED_LEAD };
        PictureRecipe {
            stream: picture.index,
            decoded_pixels: pixels(picture),
            start_us: probe.start.0,
            width,
            height,
            interlaced: picture.interlaced,
            hdr: picture.hdr,
            pace,
            lead_us: lead.0,
        }
    }
}

impl SoundRecipe {
    pub(super) fn new(sound: &Sound, probe: &Probe) -> SoundRecipe {
        let lead_us = has_index(probe).then_some(LEAD.0);
        SoundRecipe { stream: sound.index, start_us: probe.start.0, lead_us }
    }
}

/// Whether the container says exactly where in it a moment lies, and what time it is there.
fn has_index(probe: &Probe) -> bool {
    probe.container.split(',').any(|name| matches!(name, "mov" | "matroska" | "wav" | "flac"))
}

fn pixels(picture: &Picture) -> u64 {
    u64::from(picture.width) * u64::from(picture.height)
}

/// As it is shown on square pixels, not larger than what is made, and even.
fn size(picture: &Picture) -> (u32, u32) {
    let Ratio { num, den } = picture.aspect;
    let (mut width, mut height) = (f64::from(picture.width), f64::from(picture.height));
    // Stretched, never shrunk: no line or column is lost. A shape that nothing has is a fault of the file.
    let stretch = f64::from(num) / f64::from(den);
    if (0.1..10.0).contains(&stretch) {
        if stretch > 1.0 { width *= stretch } else { height /= stretch }
    }
    if picture.rotation % 180 == 90 {
        (width, height) = (height, width);
    }
    let longest = match picture.hdr {
        Some(_) => LONGEST_OF_BRIGHT,
        None if pixels(picture) > HUGE => LONGEST_OF_HUGE,
        None => LONGEST_SIDE,
    };
    let most = (f64::from(MOST_PIXELS) / (width * height)).sqrt();
    let fit = (f64::from(longest) / width.max(height)).min(most).min(1.0);
    // To the nearest even number; an odd size loses its last line.
    let even = |side: f64| (((side * fit) as u32) / 2 * 2).max(16);
    (even(width), even(height))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(width: u32, height: u32, aspect: (u32, u32), rotation: u32) -> (u32, u32) {
        let ratio = |(num, den)| Ratio { num, den };
        size(&Picture {
            index: 0,
            codec: "h264".to_owned(),
            profile: None,
            width,
            height,
            pix_fmt: "yuv420p".to_owned(),
            interlaced: false,
            rotation,
            aspect: ratio(aspect),
            hdr: None,
            rate: None,
            time_base: ratio((1, 1000)),
        })
    }

    #[test]
    fn a_picture_is_upright_square_even_and_not_too_large() {
        assert_eq!(made(7680, 4320, (1, 1), 0), (2560, 1440));
        assert_eq!(made(3000, 3000, (1, 1), 0), (2880, 2880));
        assert_eq!(made(1920, 1080, (1, 1), 0), (1920, 1080));
        assert_eq!(made(1920, 1080, (1, 1), 90), (1080, 1920));
        assert_eq!(made(853, 479, (1, 1), 180), (852, 478));
        assert_eq!(made(720, 576, (64, 45), 0), (1024, 576));
        assert_eq!(made(1440, 1080, (4, 3), 270), (1080, 1920));
        assert_eq!(made(720, 480, (8, 9), 0), (720, 540));
        assert_eq!(made(4096, 2304, (1, 1), 0), (3840, 2160));
        assert_eq!(made(2, 2, (1, 1), 0), (16, 16));
        assert_eq!(made(640, 480, (1, 100_000), 0), (640, 480));
    }

    #[test]
    fn recipes_read_back() {
        let pace = Pace::Steady(Ratio { num: 30_000, den: 1001 });
        let picture = PictureRecipe {
            stream: 1,
            decoded_pixels: 640 * 360,
            start_us: -7,
            width: 640,
            height: 360,
            interlaced: true,
            hdr: Some(Hdr::Hlg),
            pace,
            lead_us: 500_000,
        };
        for recipe in [Recipe::Picture(picture), Recipe::Sound(SoundRecipe { stream: 2, start_us: 40, lead_us: None })]
        {
            assert_eq!(Recipe::from_text(&recipe.to_text().unwrap()).unwrap(), recipe);
        }
        assert!(Recipe::from_text("{}").is_err());
    }
}
