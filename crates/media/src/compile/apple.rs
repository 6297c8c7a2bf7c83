//! The same plan in the layout that Apple's authoring guide asks for: where the parameter sets of the pictures change, a discontinuity and
//! a map of their own. Segments are those of the plan; the one layout that all other players take is in `mod.rs`.

use std::fmt::Write as _;

use bytes::Bytes;
use vitascope_model::{Error, Result, Span};

use super::run::Run;
use super::{Plan, Segment};
use crate::codec::Codec;
use crate::fmp4;
use crate::track::Place;

impl Plan {
    /// The m3u8 with a map for each stretch of segments whose pictures come from one kind of source. How what is only promised will be
    /// coded nobody knows, so that there is none as long as something is.
    pub fn apple_playlist(&self) -> Result<String> {
        if self.tracks[0].chunks.iter().any(|chunk| matches!(chunk.place, Place::Promised(_))) {
            return Err(Error::unavailable(
                "this layout is there when all of the stream is encoded; index.m3u8 plays now",
            ));
        }
        let rate = u64::from(self.timescale());
        let longest = self.segments.iter().map(|s| s.duration.div_ceil(rate)).max().unwrap_or(0).max(self.promise);
        let mut out = String::with_capacity(60 * self.segments.len() + 256);
        let mut line = |text: std::fmt::Arguments<'_>| out.write_fmt(text).expect("writing to a string succeeds");
        line(format_args!("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{longest}\n#EXT-X-PLAYLIST-TYPE:VOD\n"));
        let mut stretches = 0;
        for (n, segment) in self.segments.iter().enumerate() {
            if n == 0 || self.is_new_stretch(n) {
                if n > 0 {
                    line(format_args!("#EXT-X-DISCONTINUITY\n"));
                }
                line(format_args!("#EXT-X-MAP:URI=\"init-{stretches}.mp4\"\n"));
                stretches += 1;
            }
            let micros = segment.duration * 1_000_000 / rate;
            line(format_args!("#EXTINF:{}.{:06},\n{n}.m4s\n", micros / 1_000_000, micros % 1_000_000));
        }
        out.push_str("#EXT-X-ENDLIST\n");
        Ok(out)
    }

    /// The init of a stretch, by its number.
    pub fn apple_init(&self, stretch: usize) -> Result<Bytes> {
        let mut begins = (0..self.segments.len()).filter(|n| *n == 0 || self.is_new_stretch(*n));
        let n = begins.nth(stretch).ok_or_else(|| Error::not_found(format_args!("init {stretch}")))?;
        let own = self.codec_of(&self.segments[n]);
        let others = self.tracks.iter().skip(1).map(|t| &t.codec);
        fmp4::init(&std::iter::once(own).chain(others).collect::<Vec<_>>(), Span::ZERO).map(Bytes::from)
    }

    fn is_new_stretch(&self, n: usize) -> bool {
        self.codec_of(&self.segments[n]) != self.codec_of(&self.segments[n - 1])
    }

    /// Of the source of a segment's first picture.
    fn codec_of(&self, segment: &Segment) -> &Codec {
        let leading = &self.tracks[0];
        match segment.parts[0].runs.first() {
            Some(Run::Samples { chunk, .. } | Run::Edge { chunk, .. }) if leading.codec.is_video() => {
                &leading.chunks[*chunk].codec
            }
            _ => &leading.codec,
        }
    }
}
