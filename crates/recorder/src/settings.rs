//! How the screen is recorded, as the command line says it: how often, how large, how well, and what never. Each setting has an
//! environment variable too, since the SDKs start the recorder without arguments; `config` reads those, with the same checks.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use vitascope_model::{Error, Result};

use crate::windows::Pattern;

/// Pictures a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fps(pub u32);

/// The largest picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MaxSize {
    pub width: i32,
    pub height: i32,
}

/// How well pictures are kept, against what they take on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Quality {
    /// Small text suffers.
    Low,
    /// Text is as readable as on the screen.
    #[default]
    Medium,
    /// Hardly told from the screen; takes more disk.
    High,
}

/// A flag wins over its variable.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Screen (each also as an environment variable)")]
pub(crate) struct Flags {
    /// At most so many pictures a second, 1 to 60; a still screen gives fewer [default: 15] [VITASCOPE_CAPTURE_FPS]
    #[arg(long, value_name = "N", global = true)]
    pub fps: Option<Fps>,
    /// Makes larger displays smaller, keeping their shape, as in 1920x1080 [default: no limit] [VITASCOPE_CAPTURE_MAX_SIZE]
    #[arg(long, value_name = "WIDTHxHEIGHT", global = true)]
    pub max_size: Option<MaxSize>,
    /// low, medium or high [default: medium] [VITASCOPE_CAPTURE_QUALITY]
    #[arg(long, value_name = "QUALITY", global = true)]
    pub quality: Option<Quality>,
    /// Paints windows black whose title or class has this in it; case does not count; with * or ? it must fit the whole name.
    /// May be given more than once [VITASCOPE_CAPTURE_EXCLUDE_WINDOWS: several with commas between them]
    #[arg(long = "exclude-window", value_name = "PATTERN", global = true)]
    pub exclude_windows: Vec<Pattern>,
}

impl FromStr for Fps {
    type Err = Error;

    fn from_str(text: &str) -> Result<Fps> {
        let number = text.trim().parse().ok().filter(|n| (1..=60).contains(n));
        number.map(Fps).ok_or_else(|| Error::invalid(format!("{text:?} is no whole number from 1 to 60")))
    }
}

impl FromStr for MaxSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<MaxSize> {
        let edge = |text: &str| text.trim().parse().ok().filter(|n| (16..=16_384).contains(n));
        let size = text.split_once(['x', 'X', '×']).and_then(|(w, h)| Some((edge(w)?, edge(h)?)));
        let (width, height) = size.ok_or_else(|| {
            Error::invalid(format!("{text:?} is no size as in 1920x1080, each edge from 16 to 16384"))
        })?;
        Ok(MaxSize { width, height })
    }
}

impl FromStr for Quality {
    type Err = Error;

    fn from_str(text: &str) -> Result<Quality> {
        <Quality as ValueEnum>::from_str(text.trim(), true)
            .map_err(|_| Error::invalid(format!("{text:?} is none of low, medium, high")))
    }
}

impl Quality {
    /// x264's scale: lower is better.
    pub(crate) fn crf(self) -> u8 {
        match self {
            Quality::Low => 30,
            Quality::Medium => 24,
            Quality::High => 18,
        }
    }

    /// For moving pictures, which would take any amount.
    pub(crate) fn max_kbps(self) -> u32 {
        match self {
            Quality::Low => 2_000,
            Quality::Medium => 4_000,
            Quality::High => 8_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        assert_eq!("24".parse::<Fps>().unwrap(), Fps(24));
        for text in ["0", "61", "abc", "", "15.5", "-1"] {
            assert!(text.parse::<Fps>().unwrap_err().to_string().contains("1 to 60"), "{text}");
        }
        assert_eq!("1280x720".parse::<MaxSize>().unwrap(), MaxSize { width: 1280, height: 720 });
        for text in ["1280", "1280x", "0x0", "axb", "1280x720x3", "1x99999"] {
            assert!(text.parse::<MaxSize>().unwrap_err().to_string().contains("1920x1080"), "{text}");
        }
        assert_eq!(<Quality as FromStr>::from_str("HIGH").unwrap(), Quality::High);
        assert!(<Quality as FromStr>::from_str("best").is_err());
    }
}
