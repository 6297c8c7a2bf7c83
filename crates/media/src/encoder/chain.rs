//! What all encoders of strangers' files have in common: filters that bring pictures and sound to our form, and what bounds their memory.
//! Words of a command line and nothing more. Where a stretch begins and ends, and what size a picture gets, is said by who uses them.

use vitascope_model::WallTime;

use super::RATE;
use super::upload::ticks_at;
use crate::probe::{Hdr, Ratio};
use crate::promise::{PictureRecipe, TICKS};

/// Pixels of a picture of which the encoder keeps fewer, and the decoder, too: memory is bounded.
const LARGE: u64 = 2560 * 1440;
/// For the encoder of a large picture.
pub(super) const SHORT_LOOKAHEAD: &str = ":rc-lookahead=2:sync-lookahead=0";
/// Nothing comes along but pictures and sound.
pub(super) const ALONE: &str = "-sn -dn -map_metadata -1 -map_chapters -1 -max_muxing_queue_size 4096";

/// Whether pictures of so many pixels take so much memory that it is better done by one process at a time.
pub(super) fn is_large(pixels: u64) -> bool {
    pixels > LARGE
}

/// Of the larger of what is decoded and what is made.
pub(super) fn most_pixels(recipe: &PictureRecipe) -> u64 {
    recipe.decoded_pixels.max(u64::from(recipe.width) * u64::from(recipe.height))
}

/// Both fields of an interlaced picture as one frame.
pub(super) fn whole_frames(recipe: &PictureRecipe) -> Option<String> {
    recipe.interlaced.then(|| "bwdif=mode=send_frame:deint=interlaced".to_owned())
}

/// Times in our ticks from the file's first moment on, and each later than the one before.
pub(super) fn from_first_moment(start_us: i64) -> String {
    let start = ticks_at(WallTime(start_us), TICKS);
    format!("settb=1/{TICKS},setpts=PTS-({start}),select='isnan(prev_selected_pts)+gt(pts,prev_selected_pts)'")
}

/// So many frames a second, each showing what the file shows then, and the last one for ever; from the first moment on, or from where
/// the frames begin.
pub(super) fn steady(Ratio { num, den }: Ratio, from_start: bool) -> String {
    let from = if from_start { ":start_time=0" } else { "" };
    format!("fps={num}/{den}:round=near{from}:eof_action=pass,tpad=stop_mode=clone:stop=-1,settb=1/{TICKS}")
}

/// What only bright screens show, brought down to what every screen shows.
pub(super) fn to_standard(hdr: Hdr) -> String {
    let transfer = match hdr {
        Hdr::Pq => "smpte2084",
        Hdr::Hlg => "arib-std-b67",
    };
    format!(
        "zscale=tin={transfer}:pin=bt2020:min=bt2020nc:rin=tv:t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,\
         tonemap=tonemap=hable:desat=0,zscale=t=bt709:m=bt709:r=tv"
    )
}

/// Of a stream of the file.
pub(super) fn coded_sound(stream: u32, kbps: u32) -> String {
    format!("-map 0:{stream} -c:a aac -profile:a aac_low -b:a {kbps}k -ar {RATE} -ac 2")
}

/// Brought to our rate first, so that samples are ours where they are counted. Holes are silence, and overlaps are left out.
pub(super) fn even_sound(start_us: i64, first: i64) -> String {
    format!(
        "asetpts=PTS-({:.6}/TB),aresample={RATE},\
         aresample={RATE}:async=1:min_comp=0.00001:min_hard_comp=0.1:first_pts={first},\
         aformat=sample_fmts=fltp:channel_layouts=stereo",
        start_us as f64 / 1e6
    )
}
