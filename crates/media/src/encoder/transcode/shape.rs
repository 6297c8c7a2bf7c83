//! The size and the shape that a picture gets: arithmetic on sizes, and the filters that follow from it. Sizes are of square pixels and
//! even. What is wished for is made exactly or refused; what follows from other wishes is kept within what can be made.

use vitascope_model::{Error, Result};

use super::{Resize, Wish};
use crate::promise::{LONGEST_SIDE, MOST_PIXELS};

/// The smallest side, as of uploads.
const LEAST_SIDE: u32 = 16;

type Size = (f64, f64);

/// How a picture of one size becomes one of another: cut, then scaled, then laid on black.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Layout {
    /// How much of the picture's width and height is kept.
    pub(super) kept: Size,
    /// What that is scaled to.
    pub(super) scaled: (u32, u32),
    /// What is made.
    pub(super) size: (u32, u32),
}

impl Layout {
    pub(super) fn of(source: (u32, u32), wish: &Wish) -> Result<Layout> {
        let source = (f64::from(source.0), f64::from(source.1));
        if let Some(height) = wish.height {
            let height = f64::from(height);
            let width = height * wish.shape.unwrap_or(source.0 / source.1);
            check_size((width, height))?;
            let Some(_) = wish.shape else { return Ok(Layout::whole(even((width, height)))) };
            return Ok(in_box(source, (width, height), wish.resize));
        }
        let Some(shape) = wish.shape else { return Ok(Layout::whole(even(source))) };
        let (inside, around) = boxes(source, shape);
        let around = bounded(around);
        Ok(in_box(source, if wish.resize == Resize::Crop { inside } else { around }, wish.resize))
    }

    fn whole(size: (u32, u32)) -> Layout {
        Layout { kept: (1.0, 1.0), scaled: size, size }
    }

    /// Cuts what does not belong to the shape, as ffmpeg says it.
    pub(super) fn cut(&self) -> Option<String> {
        let (width, height) = self.kept;
        let is_all = width == 1.0 && height == 1.0;
        (!is_all).then(|| format!("crop=w=trunc(iw*{width:.9}+0.5):h=trunc(ih*{height:.9}+0.5)"))
    }

    /// Lays it in the middle of a black picture.
    pub(super) fn bars(&self) -> Option<String> {
        let (width, height) = self.size;
        (self.scaled != self.size).then(|| format!("pad={width}:{height}:(ow-iw)/2:(oh-ih)/2:black"))
    }
}

/// An error where a picture is larger than what is made.
pub(super) fn check_size((width, height): Size) -> Result<()> {
    let longest = f64::from(LONGEST_SIDE);
    // An odd line more or less does not matter.
    if width.max(height) < longest + 2.0 && width * height < f64::from(MOST_PIXELS) * 1.01 {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "resolution asks for a picture of {} by {}: the longest side may have {LONGEST_SIDE} pixels, and all of it {MOST_PIXELS}, as of 3840 by 2160",
        width.round(),
        height.round()
    )))
}

/// The largest box of a shape that lies in a picture, and the smallest that the picture lies in.
fn boxes((width, height): Size, shape: f64) -> (Size, Size) {
    let (by_width, by_height) = ((width, width / shape), (height * shape, height));
    if width / height > shape { (by_height, by_width) } else { (by_width, by_height) }
}

fn in_box(source: Size, wished: Size, resize: Resize) -> Layout {
    let size = even(wished);
    match resize {
        Resize::Crop => {
            let (inside, _) = boxes(source, wished.0 / wished.1);
            Layout { kept: (inside.0 / source.0, inside.1 / source.1), scaled: size, size }
        }
        Resize::Fit => Layout::whole(even(fitted(source, wished))),
        Resize::Pad => {
            let scaled = even(fitted(source, wished));
            Layout { kept: (1.0, 1.0), scaled: (scaled.0.min(size.0), scaled.1.min(size.1)), size }
        }
    }
}

/// As large as the box allows.
fn fitted(source: Size, within: Size) -> Size {
    let by = (within.0 / source.0).min(within.1 / source.1);
    (source.0 * by, source.1 * by)
}

/// Made smaller where it is larger than what is made.
fn bounded((width, height): Size) -> Size {
    let longest = f64::from(LONGEST_SIDE) / width.max(height);
    let by = longest.min((f64::from(MOST_PIXELS) / (width * height)).sqrt()).min(1.0);
    (width * by, height * by)
}

/// To the nearest even numbers.
fn even((width, height): Size) -> (u32, u32) {
    let side = |side: f64| (((side / 2.0).round() as u32) * 2).clamp(LEAST_SIDE, LONGEST_SIDE);
    (side(width), side(height))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILM: (u32, u32) = (1280, 720);
    const WIDE: f64 = 16.0 / 9.0;

    fn layout(source: (u32, u32), height: Option<u32>, shape: Option<f64>, resize: Resize) -> Layout {
        Layout::of(source, &Wish { height, shape, resize, ..Wish::default() }).unwrap()
    }

    fn size(source: (u32, u32), height: Option<u32>, shape: Option<f64>, resize: Resize) -> (u32, u32) {
        layout(source, height, shape, resize).size
    }

    #[test]
    fn lines_alone_keep_the_shape() {
        assert_eq!(layout(FILM, None, None, Resize::Crop), Layout::whole(FILM));
        for resize in [Resize::Crop, Resize::Fit, Resize::Pad] {
            assert_eq!(layout(FILM, Some(360), None, resize), Layout::whole((640, 360)));
        }
        assert_eq!(size(FILM, Some(1080), None, Resize::Crop), (1920, 1080));
        assert_eq!(size((720, 1280), Some(481), None, Resize::Crop), (270, 482));
    }

    #[test]
    fn a_shape_alone_neither_blows_up_nor_shrinks() {
        assert_eq!(size(FILM, None, Some(1.0), Resize::Crop), (720, 720));
        assert_eq!(size(FILM, None, Some(1.0), Resize::Pad), (1280, 1280));
        assert_eq!(size(FILM, None, Some(1.0), Resize::Fit), FILM);
        assert_eq!(size((640, 480), None, Some(WIDE), Resize::Crop), (640, 360));
        assert_eq!(size((640, 480), None, Some(WIDE), Resize::Pad), (854, 480));
        assert_eq!(size((3840, 2160), None, Some(1.0), Resize::Pad), (2880, 2880));
    }

    #[test]
    fn lines_and_a_shape_are_a_box() {
        let cut = layout((640, 480), Some(720), Some(WIDE), Resize::Crop);
        assert_eq!((cut.size, cut.scaled, cut.kept), ((1280, 720), (1280, 720), (1.0, 0.75)));
        assert_eq!(cut.cut().unwrap(), "crop=w=trunc(iw*1.000000000+0.5):h=trunc(ih*0.750000000+0.5)");
        let fit = layout((640, 480), Some(720), Some(WIDE), Resize::Fit);
        assert_eq!((fit.size, fit.cut(), fit.bars()), ((960, 720), None, None));
        let pad = layout((640, 480), Some(720), Some(WIDE), Resize::Pad);
        assert_eq!((pad.size, pad.scaled), ((1280, 720), (960, 720)));
        assert_eq!(pad.bars().unwrap(), "pad=1280:720:(ow-iw)/2:(oh-ih)/2:black");
        assert_eq!(layout((640, 480), Some(480), Some(4.0 / 3.0), Resize::Pad).bars(), None);
    }

    #[test]
    fn what_would_be_too_large_is_refused_or_kept_small() {
        let wish = Wish { height: Some(2160), ..Wish::default() };
        assert_eq!(Layout::of((1920, 1080), &wish).unwrap().size, (3840, 2160));
        assert!(Layout::of((2000, 1000), &wish).unwrap_err().message.contains("4320 by 2160"));
        let tall = Wish { height: Some(3840), ..Wish::default() };
        assert_eq!(Layout::of((1080, 1920), &tall).unwrap().size, (2160, 3840));
        assert!(Layout::of((1080, 1080), &tall).is_err());
        assert_eq!(size((160, 16), Some(144), Some(0.1), Resize::Fit), (16, 16));
    }
}
