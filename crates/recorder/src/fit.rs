//! How a display lies in the picture: as it is where it fits, made smaller where it does not, in the middle of what is left over.
//! The picture keeps the size that the recording began with, whatever becomes of the display: every player takes that. Pure.

use crate::picture::Area;

/// A display of one size in a picture of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fit {
    /// Width and height of the display.
    from: (i32, i32),
    /// Where it lies in the picture: on even edges, since colour is kept for two by two pixels.
    place: Area,
}

/// The greatest even size within `most` that looks like `size`; never larger than that.
pub(crate) fn size_within(size: (i32, i32), most: (i32, i32)) -> (i32, i32) {
    let ((w, h), (most_w, most_h)) = (size, most);
    let (width, height) = if w <= most_w && h <= most_h {
        size
    } else if i64::from(w) * i64::from(most_h) >= i64::from(h) * i64::from(most_w) {
        (most_w, scaled(h, most_w, w))
    } else {
        (scaled(w, most_h, h), most_h)
    };
    ((width & !1).max(2), (height & !1).max(2))
}

fn scaled(length: i32, by: i32, of: i32) -> i32 {
    (i64::from(length) * i64::from(by) / i64::from(of.max(1))) as i32
}

impl Fit {
    pub(crate) fn new(display: (i32, i32), picture: (i32, i32)) -> Fit {
        let (width, height) = size_within(display, picture);
        let place = Area::new(((picture.0 - width) / 2) & !1, ((picture.1 - height) / 2) & !1, width, height);
        // Of an odd edge the last row or column is left out; it does not count as scaling.
        let same = (display.0 & !1, display.1 & !1) == (width, height);
        Fit { from: if same { (width, height) } else { display }, place }
    }

    fn is_scaled(&self) -> bool {
        self.from != (self.place.width, self.place.height)
    }

    /// The part of the picture that shows `area` of the display.
    pub(crate) fn place_of(&self, area: Area) -> Area {
        let area = area.intersect(Area::new(0, 0, self.from.0, self.from.1));
        if area.is_empty() {
            return Area::default();
        }
        let (left, right) = outwards(area.x, area.x + area.width, self.place.width, self.from.0);
        let (top, bottom) = outwards(area.y, area.y + area.height, self.place.height, self.from.1);
        let place = Area::new(left + self.place.x, top + self.place.y, right - left, bottom - top);
        place.even().intersect(self.place)
    }

    /// The part of the display that is needed to draw `place` of the picture.
    pub(crate) fn needed(&self, place: Area) -> Area {
        let (x, y) = (place.x - self.place.x, place.y - self.place.y);
        let (left, right) = outwards(x, x + place.width, self.from.0, self.place.width);
        let (top, bottom) = outwards(y, y + place.height, self.from.1, self.place.height);
        Area::new(left, top, right - left, bottom - top)
    }

    /// The pixels of `place` of the picture, made of those of `needed`; nothing if they are the same.
    pub(crate) fn shrink(&self, place: Area, pixels: &[u8]) -> Option<Vec<u8>> {
        if !self.is_scaled() {
            return None;
        }
        let needed = self.needed(place);
        let columns = Shares::new(place.x - self.place.x, place.width, needed.x, self.place.width, self.from.0);
        let rows = Shares::new(place.y - self.place.y, place.height, needed.y, self.place.height, self.from.1);
        let stride = needed.width as usize * 4;
        let mut shrunk = Vec::with_capacity(place.width as usize * place.height as usize * 4);
        let mut narrow = Narrow { row: usize::MAX, sums: vec![0; place.width as usize * 3] };
        let mut sums = vec![0; narrow.sums.len()];
        for of_row in rows.of() {
            sums.fill(0);
            for (row, weight) in of_row {
                narrow.take(row, &pixels[row * stride..(row + 1) * stride], &columns);
                sums.iter_mut().zip(&narrow.sums).for_each(|(sum, part)| *sum += part * weight);
            }
            shrunk.extend(sums.chunks_exact(3).flat_map(|bgr| [bgr[0], bgr[1], bgr[2], 0].map(rows.whole())));
        }
        Some(shrunk)
    }
}

/// From a stretch of `of` units to the whole ones of `to` units that cover it.
fn outwards(begin: i32, end: i32, to: i32, of: i32) -> (i32, i32) {
    let (begin, end, to, of) = (i64::from(begin), i64::from(end), i64::from(to), i64::from(of.max(1)));
    ((begin * to / of) as i32, ((end * to + of - 1) / of) as i32)
}

/// Which pixels of the display a pixel of the picture is made of, and how much of each, along one edge.
struct Shares {
    /// For each pixel of the picture: the first of the display, and the shares of that and those after it.
    shares: Vec<(usize, Vec<u32>)>,
    /// What the shares of one pixel add up to.
    sum: u32,
}

impl Shares {
    /// `count` pixels from `first` on, of `small` that show `large`; the pixels at hand begin with number `base`.
    fn new(first: i32, count: i32, base: i32, small: i32, large: i32) -> Shares {
        let (small, large) = (i64::from(small), i64::from(large));
        let shares = (i64::from(first)..i64::from(first + count)).map(|n| {
            let (begin, end) = (n * large, (n + 1) * large);
            let (from, to) = (begin / small, (end + small - 1) / small);
            let share = |m: i64| (end.min((m + 1) * small) - begin.max(m * small)) as u32;
            ((from - i64::from(base)) as usize, (from..to).map(share).collect())
        });
        Shares { shares: shares.collect(), sum: large as u32 }
    }

    fn of(&self) -> impl Iterator<Item = impl Iterator<Item = (usize, u32)> + '_> + '_ {
        self.shares.iter().map(|(first, shares)| (*first..).zip(shares.iter().copied()))
    }

    /// From a sum of rows of `Narrow` to a byte.
    fn whole(&self) -> impl Fn(u32) -> u8 + use<> {
        let sum = self.sum;
        move |n| ((n / sum + 128) >> 8).min(255) as u8
    }
}

/// A row of the display, narrowed to the picture's width, in 256ths: the next row of the picture often needs it again.
struct Narrow {
    row: usize,
    sums: Vec<u32>,
}

impl Narrow {
    fn take(&mut self, row: usize, pixels: &[u8], columns: &Shares) {
        if std::mem::replace(&mut self.row, row) == row {
            return;
        }
        for ((first, shares), sums) in columns.shares.iter().zip(self.sums.chunks_exact_mut(3)) {
            let mut sum = [0; 3];
            for (pixel, share) in pixels[first * 4..].chunks_exact(4).zip(shares) {
                for (sum, byte) in sum.iter_mut().zip(pixel) {
                    *sum += u32::from(*byte) * share;
                }
            }
            // 255 times a width of 65 535 times 256 just fits 32 bits.
            sums.iter_mut().zip(sum).for_each(|(to, sum)| *to = sum * 256 / columns.sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_keeps_its_shape_and_never_grows() {
        assert_eq!(size_within((3840, 2160), (1920, 1080)), (1920, 1080));
        assert_eq!(size_within((2560, 1080), (1920, 1080)), (1920, 810));
        assert_eq!(size_within((1080, 1920), (1920, 1080)), (606, 1080));
        assert_eq!(size_within((1367, 767), (1920, 1080)), (1366, 766));
        assert_eq!(size_within((8000, 1), (1920, 1080)), (1920, 2));
    }

    #[test]
    fn what_fits_lies_in_the_middle_as_it_is() {
        let fit = Fit::new((320, 201), (640, 360));
        assert!(!fit.is_scaled());
        let place = fit.place_of(Area::new(0, 0, 320, 201));
        assert_eq!(place, Area::new(160, 80, 320, 200));
        assert_eq!(fit.needed(place), Area::new(0, 0, 320, 200));
        assert_eq!(fit.place_of(Area::new(3, 3, 1, 1)), Area::new(162, 82, 2, 2));
        assert!(fit.place_of(Area::new(0, 200, 320, 1)).is_empty());
        assert_eq!(fit.shrink(place, &[]), None);
    }

    #[test]
    fn what_is_too_large_is_averaged_wherever_it_is_cut() {
        let (display, picture) = ((7, 5), (4, 4));
        let fit = Fit::new(display, picture);
        let everything = fit.place_of(Area::new(0, 0, 7, 5));
        assert_eq!(everything, Area::new(0, 0, 4, 2));
        let pixel = |x: i32, y: i32| [(x * 30) as u8, (y * 50) as u8, 200, 9];
        let pixels = |a: Area| -> Vec<u8> {
            (a.y..a.y + a.height).flat_map(|y| (a.x..a.x + a.width).flat_map(move |x| pixel(x, y))).collect()
        };
        let whole = fit.shrink(everything, &pixels(fit.needed(everything))).unwrap();
        // Of the first pixel: columns 0 and three quarters of 1, rows 0, 1 and half of 2.
        assert_eq!(whole[..4], [13, 40, 200, 0]);
        for x in [0, 2] {
            let part = Area::new(x, 0, 2, 2);
            let drawn = fit.shrink(part, &pixels(fit.needed(part))).unwrap();
            assert_eq!(drawn[..8], whole[x as usize * 4..][..8]);
            assert_eq!(drawn[8..], whole[16 + x as usize * 4..][..8]);
        }
    }

    #[test]
    fn white_stays_white_at_any_size() {
        for width in 12..40 {
            let fit = Fit::new((width, width), (10, 10));
            let place = fit.place_of(Area::new(0, 0, width, width));
            let shrunk = fit.shrink(place, &vec![255; (width * width * 4) as usize]).unwrap();
            assert!(shrunk.chunks_exact(4).all(|p| p[..3] == [255; 3]), "{width}");
        }
    }
}
