//! Pixels: from what the screen holds (32-bit BGRX) to what the encoder takes (I420, BT.709, studio range), rectangle by rectangle,
//! so that a blinking cursor costs a cursor's worth of work. Pure; where pixels come from is no business of this file.

use crate::fit::Fit;

/// A rectangle in pixels of the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Area {
    pub x: i32,
    pub y: i32,
    pub width: i32,
    pub height: i32,
}

impl Area {
    pub(crate) fn new(x: i32, y: i32, width: i32, height: i32) -> Self {
        Area { x, y, width, height }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.width <= 0 || self.height <= 0
    }

    /// The smallest that holds both; an empty one adds nothing.
    pub(crate) fn union(self, other: Area) -> Area {
        match (self.is_empty(), other.is_empty()) {
            (true, _) => return other,
            (_, true) => return self,
            _ => {}
        }
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        let right = (self.x + self.width).max(other.x + other.width);
        let bottom = (self.y + self.height).max(other.y + other.height);
        Area::new(x, y, right - x, bottom - y)
    }

    pub(crate) fn intersect(self, other: Area) -> Area {
        let (x, y) = (self.x.max(other.x), self.y.max(other.y));
        let right = (self.x + self.width).min(other.x + other.width);
        let bottom = (self.y + self.height).min(other.y + other.height);
        Area::new(x, y, right - x, bottom - y)
    }

    /// Grown to even edges: colour is kept for two by two pixels.
    pub(crate) fn even(self) -> Area {
        let (x, y) = (self.x & !1, self.y & !1);
        Area::new(x, y, ((self.x + self.width + 1) & !1) - x, ((self.y + self.height + 1) & !1) - y)
    }
}

/// The picture as it was last seen.
#[derive(Debug)]
pub(crate) struct Canvas {
    pub width: usize,
    pub height: usize,
    /// I420.
    pub planes: Vec<u8>,
    /// How the display lies in it.
    pub fit: Fit,
}

impl Canvas {
    /// Black; width and height are even. `display` is the size of what it will show.
    pub(crate) fn new(width: usize, height: usize, display: (i32, i32)) -> Self {
        let fit = Fit::new(display, (width as i32, height as i32));
        let mut canvas = Canvas { width, height, planes: vec![0; width * height * 3 / 2], fit };
        canvas.blacken();
        canvas
    }

    pub(crate) fn blacken(&mut self) {
        let (luma, chroma) = self.planes.split_at_mut(self.width * self.height);
        luma.fill(16);
        chroma.fill(128);
    }

    /// From now on it shows a display of that size; what it showed is gone.
    pub(crate) fn show(&mut self, display: (i32, i32)) {
        self.fit = Fit::new(display, (self.width as i32, self.height as i32));
        self.blacken();
    }

    /// Takes over what `fit.needed` said is needed for `place`: rows of BGRX without padding.
    pub(crate) fn take(&mut self, place: Area, pixels: &[u8]) {
        match self.fit.shrink(place, pixels) {
            Some(shrunk) => self.draw(place, &shrunk),
            None => self.draw(place, pixels),
        }
    }

    fn draw(&mut self, area: Area, bgrx: &[u8]) {
        let (width, stride) = (area.width as usize, self.width);
        let (x, y) = (area.x as usize, area.y as usize);
        let (luma, chroma) = self.planes.split_at_mut(stride * self.height);
        let (blue, red) = chroma.split_at_mut(stride * self.height / 4);
        for (pair, rows) in bgrx.chunks_exact(width * 8).enumerate() {
            let (upper, lower) = rows.split_at(width * 4);
            let at = (y + pair * 2) * stride + x;
            luma_row(upper, &mut luma[at..at + width]);
            luma_row(lower, &mut luma[at + stride..at + stride + width]);
            let at = (y / 2 + pair) * (stride / 2) + x / 2;
            chroma_row(upper, lower, &mut blue[at..at + width / 2], &mut red[at..at + width / 2]);
        }
    }
}

fn luma_row(bgrx: &[u8], row: &mut [u8]) {
    for (pixel, luma) in bgrx.chunks_exact(4).zip(row) {
        let [b, g, r] = [pixel[0], pixel[1], pixel[2]].map(u16::from);
        *luma = (16 + ((47 * r + 157 * g + 16 * b + 128) >> 8)) as u8;
    }
}

fn chroma_row(upper: &[u8], lower: &[u8], blue: &mut [u8], red: &mut [u8]) {
    let pairs = upper.chunks_exact(8).zip(lower.chunks_exact(8));
    for ((up, low), (cb, cr)) in pairs.zip(blue.iter_mut().zip(red)) {
        let sum = |n: usize| i32::from(up[n]) + i32::from(up[n + 4]) + i32::from(low[n]) + i32::from(low[n + 4]);
        let (b, g, r) = (sum(0), sum(1), sum(2));
        // The sums are of four pixels: hence ten bits down, not eight.
        *cb = (128 + ((112 * b - 87 * g - 25 * r + 512) >> 10)) as u8;
        *cr = (128 + ((112 * r - 102 * g - 10 * b + 512) >> 10)) as u8;
    }
}

/// Paints what lies within `hidden` black in the pixels of `area`.
pub(crate) fn black_out(hidden: Area, area: Area, bgrx: &mut [u8]) {
    let shared = hidden.intersect(area);
    if shared.is_empty() {
        return;
    }
    let (left, stride) = ((shared.x - area.x) as usize * 4, area.width as usize * 4);
    let rows = bgrx.chunks_exact_mut(stride).skip((shared.y - area.y) as usize);
    for row in rows.take(shared.height as usize) {
        row[left..left + shared.width as usize * 4].fill(0);
    }
}

/// The mouse pointer: premultiplied ARGB.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pointer {
    pub area: Area,
    /// The point in it that points.
    pub hot: (i32, i32),
    pub pixels: Vec<u32>,
}

impl Pointer {
    /// Lays the pointer over the pixels of `area`.
    pub(crate) fn blend(&self, area: Area, bgrx: &mut [u8]) {
        let shared = self.area.intersect(area);
        for y in shared.y..shared.y + shared.height.max(0) {
            for x in shared.x..shared.x + shared.width.max(0) {
                let from = (y - self.area.y) * self.area.width + (x - self.area.x);
                let to = ((y - area.y) * area.width + (x - area.x)) as usize * 4;
                let Some(pixel) = self.pixels.get(from as usize) else { continue };
                let [blue, green, red, alpha] = pixel.to_le_bytes();
                for (under, over) in bgrx[to..to + 3].iter_mut().zip([blue, green, red]) {
                    *under = over.saturating_add((u16::from(*under) * u16::from(255 - alpha) / 255) as u8);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canvas_of(colour: [u8; 3]) -> Canvas {
        let mut canvas = Canvas::new(4, 4, (4, 4));
        let area = canvas.fit.place_of(Area::new(-5, -5, 100, 100));
        assert_eq!(area, Area::new(0, 0, 4, 4));
        let [r, g, b] = colour;
        canvas.take(area, &[b, g, r, 0].repeat(16));
        canvas
    }

    #[test]
    fn colours_are_those_of_bt709() {
        // From the standard's formulas, rounded.
        let expected = [
            ([255, 255, 255], [235, 128, 128]),
            ([0, 0, 0], [16, 128, 128]),
            ([255, 0, 0], [63, 102, 240]),
            ([0, 255, 0], [173, 42, 26]),
            ([0, 0, 255], [32, 240, 118]),
        ];
        for (rgb, yuv) in expected {
            let canvas = canvas_of(rgb);
            let found = [canvas.planes[0], canvas.planes[16], canvas.planes[20]];
            assert!(found.iter().zip(yuv).all(|(a, b)| a.abs_diff(b) <= 1), "{rgb:?}: {found:?}, not {yuv:?}");
        }
    }

    #[test]
    fn a_part_is_drawn_where_it_belongs_and_nowhere_else() {
        let mut canvas = Canvas::new(8, 6, (8, 6));
        let area = canvas.fit.place_of(Area::new(3, 3, 1, 1));
        assert_eq!(area, Area::new(2, 2, 2, 2));
        canvas.take(area, &[255; 16]);
        let lit: Vec<usize> = (0..48).filter(|n| canvas.planes[*n] == 235).collect();
        assert_eq!(lit, [18, 19, 26, 27]);
    }

    #[test]
    fn only_what_is_hidden_is_blacked_out() {
        let mut bgrx = vec![7; 4 * 3 * 4];
        black_out(Area::new(11, 21, 100, 1), Area::new(10, 20, 4, 3), &mut bgrx);
        let black: Vec<usize> = (0..12).filter(|n| bgrx[n * 4..][..4] == [0; 4]).collect();
        assert_eq!(black, [5, 6, 7]);
        black_out(Area::new(0, 0, 10, 100), Area::new(10, 20, 4, 3), &mut bgrx);
        assert_eq!(bgrx[..20], [7; 20]);
    }

    #[test]
    fn the_pointer_covers_and_shines_through() {
        let pointer = Pointer { area: Area::new(1, 0, 2, 1), hot: (0, 0), pixels: vec![0xff00_00ff, 0x8000_0000] };
        let mut bgrx = vec![200; 16];
        pointer.blend(Area::new(0, 0, 2, 2), &mut bgrx);
        assert_eq!(bgrx[..8], [200, 200, 200, 200, 255, 0, 0, 200]);
        let mut bgrx = vec![200; 4];
        pointer.blend(Area::new(2, 0, 1, 1), &mut bgrx);
        assert_eq!(bgrx[0], 99);
    }

    #[test]
    fn areas_join_and_meet() {
        let (a, b) = (Area::new(0, 0, 2, 2), Area::new(5, 1, 1, 4));
        assert_eq!(a.union(b), Area::new(0, 0, 6, 5));
        assert!(a.intersect(b).is_empty());
        assert_eq!(Area::default().union(b), b);
    }
}
