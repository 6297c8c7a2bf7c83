//! The encoder of transcodes: a file in, an MP4 of another size, shape, frame rate or weight out. Pictures and sound are read as those of
//! uploads are. What is wished for is checked here as far as it can be known without the file; where the result goes, and who else waits
//! for the processor meanwhile, is the caller's business.

mod plan;
mod run;
mod shape;

use serde::{Deserialize, Serialize};
use vitascope_model::{Error, Result, WallTime};

pub use run::{Transcoding, put_index_in_front, start};

use super::chain;
use crate::probe::Ratio;
use crate::promise::{PictureRecipe, Promised, PromisedTrack, Recipe, SoundRecipe};

/// Lines of a picture that may be wished for.
pub const HEIGHTS: std::ops::RangeInclusive<u32> = 144..=4320;
/// x264's constant rate factor: 0 loses nothing, 51 nearly everything.
pub const QUALITIES: std::ops::RangeInclusive<u8> = 0..=51;
/// x264's own.
pub const USUAL_QUALITY: u8 = 23;
/// Frames a second.
pub const RATES: std::ops::RangeInclusive<f64> = 1.0..=120.0;
/// Width by height.
pub const SHAPES: std::ops::RangeInclusive<f64> = 0.1..=10.0;

/// What matters more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A small file.
    #[default]
    Economy,
    /// Little time.
    Lightning,
}

/// How a picture gets another shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// It fills the shape; what is over is cut off on both sides.
    #[default]
    Crop,
    /// It keeps its own shape and is as large as the wished one allows.
    Fit,
    /// It is fitted, and black bars fill the rest.
    Pad,
}

/// What a file is to become. What is not said stays as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wish {
    pub mode: Mode,
    pub quality: u8,
    /// Lines.
    pub height: Option<u32>,
    /// Width by height.
    pub shape: Option<f64>,
    pub resize: Resize,
    pub rate: Option<Ratio>,
    pub mute: bool,
}

impl Default for Wish {
    fn default() -> Wish {
        Wish {
            mode: Mode::default(),
            quality: USUAL_QUALITY,
            height: None,
            shape: None,
            resize: Resize::default(),
            rate: None,
            mute: false,
        }
    }
}

impl Wish {
    /// What is wrong with it, whatever the file is.
    pub fn check(&self) -> Result<()> {
        if !QUALITIES.contains(&self.quality) {
            let (best, worst) = (QUALITIES.start(), QUALITIES.end());
            return Err(Error::invalid(format!("quality must be a whole number from {best} (best) to {worst}")));
        }
        if self.height.is_some_and(|height| !HEIGHTS.contains(&height)) {
            let (least, most) = (HEIGHTS.start(), HEIGHTS.end());
            return Err(Error::invalid(format!("resolution must be a number of lines from {least} to {most}")));
        }
        if self.shape.is_some_and(|shape| !SHAPES.contains(&shape)) {
            return Err(Error::invalid("aspect_ratio must lie between 1:10 and 10:1"));
        }
        if let Some(height) = self.height {
            // How wide a picture is that keeps its shape only the file says.
            let width = f64::from(height) * self.shape.unwrap_or(*SHAPES.start());
            shape::check_size((width, f64::from(height)))?;
        }
        Ok(())
    }
}

/// Frames a second as a fraction: the rates of television are known by their first digits.
pub fn rate_of(wished: f64) -> Result<Ratio> {
    if !RATES.contains(&wished) {
        let (least, most) = (RATES.start(), RATES.end());
        return Err(Error::invalid(format!("framerate must be a number of frames a second from {least} to {most}")));
    }
    let whole = wished.ceil();
    let television = whole * 1000.0 / 1001.0;
    Ok(if wished.fract() == 0.0 {
        Ratio { num: wished as u32, den: 1 }
    } else if (wished - television).abs() < 0.006 {
        Ratio { num: whole as u32 * 1000, den: 1001 }
    } else {
        Ratio { num: (wished * 1000.0).round() as u32, den: 1000 }
    })
}

/// What a file has that goes into the result.
#[derive(Clone, Debug)]
pub struct Material {
    pub picture: Option<PictureRecipe>,
    pub sound: Option<SoundRecipe>,
    /// Frames a second of the file, if it says so.
    pub rate: Option<Ratio>,
    /// When the picture is over, and when all is.
    pub picture_end: WallTime,
    pub end: WallTime,
    /// Whether its pictures may change their size on the way, as those of a list of spans do.
    pub is_mixed: bool,
}

impl Material {
    /// Of what a file promises, as far as it is wished for; an error if that leaves nothing.
    pub fn of(promised: Promised, rate: Option<Ratio>, wish: &Wish, is_mixed: bool) -> Result<Material> {
        let tracks = [&promised.picture, &promised.sound];
        let end = tracks.into_iter().flatten().filter_map(|t| Some(t.chunks.last()?.end)).max().unwrap_or(WallTime(0));
        let recipe = |track: Option<PromisedTrack>| track.map(|t| t.recipe);
        let picture = match recipe(promised.picture) {
            Some(Recipe::Picture(picture)) => Some(picture),
            _ => None,
        };
        let sound = match recipe(promised.sound) {
            Some(Recipe::Sound(sound)) if !wish.mute => Some(sound),
            _ => None,
        };
        if picture.is_none() && sound.is_none() {
            return Err(Error::invalid("the source has no picture: without its sound nothing is left of it"));
        }
        let made = Material { picture, sound, rate, picture_end: promised.picture_end, end, is_mixed };
        if let Some(picture) = &made.picture {
            shape::Layout::of((picture.width, picture.height), wish)?;
        }
        Ok(made)
    }

    /// Whether it takes so much memory that only one process at a time should do it.
    pub fn is_large(&self, wish: &Wish) -> bool {
        chain::is_large(self.most_pixels(wish))
    }

    /// Of the largest picture on the way from the decoder to the encoder.
    fn most_pixels(&self, wish: &Wish) -> u64 {
        let Some(picture) = &self.picture else { return 0 };
        let made = shape::Layout::of((picture.width, picture.height), wish).map_or((0, 0), |layout| layout.size);
        chain::most_pixels(picture).max(u64::from(made.0) * u64::from(made.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_television_are_exact() {
        let rate = |wished| rate_of(wished).map(|r| (r.num, r.den)).ok();
        assert_eq!(rate(30.0), Some((30, 1)));
        assert_eq!(rate(29.97), Some((30_000, 1001)));
        assert_eq!(rate(23.976), Some((24_000, 1001)));
        assert_eq!(rate(59.94), Some((60_000, 1001)));
        assert_eq!(rate(12.5), Some((12_500, 1000)));
        assert_eq!([rate(0.9), rate(120.5), rate(f64::NAN)], [None, None, None]);
    }

    #[test]
    fn what_no_file_can_become_is_told_at_once() {
        let fine = Wish::default();
        assert!(fine.check().is_ok());
        for (wish, word) in [
            (Wish { quality: 52, ..fine.clone() }, "quality"),
            (Wish { height: Some(142), ..fine.clone() }, "resolution"),
            (Wish { height: Some(4322), ..fine.clone() }, "resolution"),
            (Wish { height: Some(4320), ..fine.clone() }, "3840"),
            (Wish { height: Some(2160), shape: Some(2.4), ..fine.clone() }, "3840"),
            (Wish { shape: Some(10.1), ..fine.clone() }, "aspect_ratio"),
            (Wish { shape: Some(f64::NAN), ..fine.clone() }, "aspect_ratio"),
        ] {
            assert!(wish.check().unwrap_err().message.contains(word), "{wish:?}");
        }
        assert!(Wish { height: Some(2160), shape: Some(16.0 / 9.0), ..fine }.check().is_ok());
    }
}
