//! The command lines of a transcode: one that encodes, in fragments and to a pipe, so that it ends when nobody reads any more, and one that
//! puts the index of the finished file in front. Pictures are upright, square and in standard brightness before they get their size.

use std::path::Path;

use vitascope_model::{Result, Span};

use super::shape::Layout;
use super::{Material, Mode, Wish};
use crate::encoder::chain::{
    ALONE, SHORT_LOOKAHEAD, coded_sound, even_sound, from_first_moment, is_large, steady, to_standard, whole_frames,
};
use crate::encoder::upload::ticks_at;
use crate::probe::Ratio;
use crate::process::{CommandLine, Program};
use crate::promise::{PictureRecipe, TICKS};
use crate::reading;

/// Sound that lasts so much longer than the picture is the rest of its last frame.
const REST_OF_A_FRAME: Span = Span::millis(100);

/// Pixels of a picture of which many threads may hold some.
const HD: u64 = 1280 * 720;
/// Pixels of all pictures that the encoder looks ahead at: with them, 1080p takes 340 MB and 1440p 400.
const LOOKAHEAD: u64 = 40_000_000;
/// x264's own.
const MOST_LOOKAHEAD: u64 = 40;

/// By what is measured in `docs/benchmarks.md`: faster ones than these make files of twice the size, slower ones hardly smaller ones.
fn preset(mode: Mode) -> &'static str {
    match mode {
        Mode::Economy => "medium",
        Mode::Lightning => "superfast",
    }
}

fn kbps(mode: Mode) -> u32 {
    match mode {
        Mode::Economy => 128,
        Mode::Lightning => 160,
    }
}

pub(super) fn encoding(file: &Path, material: &Material, wish: &Wish) -> Result<CommandLine> {
    let threads = threads(material, wish);
    let mut words = split(&format!("-nostdin {} {} -threads {threads} -copyts", reading::quiet(), reading::limits()));
    if material.is_mixed {
        // The filters scale each picture by itself: times go on over a change.
        words.extend(split("-reinit_filter:v 0"));
    }
    words.extend(["-i".to_owned(), reading::name_of(file)]);
    if let Some(picture) = &material.picture {
        let layout = Layout::of((picture.width, picture.height), wish)?;
        words.extend(split(&picture_options(picture, material, wish)));
        words.extend(["-filter:v".to_owned(), picture_filter(picture, material, wish, &layout)]);
    }
    if let Some(sound) = &material.sound {
        words.extend(split(&coded_sound(sound.stream, kbps(wish.mode))));
        words.extend(["-filter:a".to_owned(), even_sound(sound.start_us, 0)]);
    }
    // The head waits for the first frames: it says how far decoding runs ahead of what is shown.
    words.extend(split(&format!(
        "{ALONE} -video_track_timescale {TICKS} -movflags frag_every_frame+delay_moov+default_base_moof -flush_packets 1 -f mp4 pipe:1"
    )));
    Ok(CommandLine::new(Program::Ffmpeg, words).within(reading::MOST_MEMORY).patiently())
}

/// Our own file is read, and nothing coded anew.
pub(super) fn indexing(fragments: &Path, made: &Path) -> CommandLine {
    let before =
        split(&format!("-nostdin {} -protocol_whitelist file -format_whitelist mov -copyts -i", reading::quiet()));
    let after = split("-map 0 -c copy -map_metadata -1 -movflags +faststart -f mp4 -y");
    let words = [before, vec![reading::name_of(fragments)], after, vec![reading::name_of(made)]].concat();
    CommandLine::new(Program::Ffmpeg, words).within(reading::MOST_MEMORY)
}

fn split(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Each thread holds some pictures more, so that their number is bounded whatever the machine has.
fn threads(material: &Material, wish: &Wish) -> u8 {
    match material.most_pixels(wish) {
        pixels if is_large(pixels) => 1,
        pixels if pixels > HD => 2,
        _ => 4,
    }
}

fn picture_options(picture: &PictureRecipe, material: &Material, wish: &Wish) -> String {
    // Which level a player must be of follows from it.
    let rate = wish.rate.or(material.rate).map(|Ratio { num, den }| format!(":fps={num}/{den}")).unwrap_or_default();
    let pixels = material.most_pixels(wish);
    let kept = match wish.mode {
        _ if is_large(pixels) => format!("{SHORT_LOOKAHEAD}:ref=1:bframes=0"),
        Mode::Economy => format!(":rc-lookahead={}:sync-lookahead=0", (LOOKAHEAD / pixels.max(1)).min(MOST_LOOKAHEAD)),
        // As the preset has it: hardly any.
        Mode::Lightning => String::new(),
    };
    format!(
        "-map 0:{} -c:v libx264 -preset {} -profile:v high -crf {} -pix_fmt yuv420p -threads {} \
         -x264-params open-gop=0{rate}{kept} -fps_mode passthrough -enc_time_base 1:{TICKS}",
        picture.stream,
        preset(wish.mode),
        wish.quality,
        threads(material, wish),
    )
}

fn picture_filter(picture: &PictureRecipe, material: &Material, wish: &Wish, layout: &Layout) -> String {
    let mut filters = Vec::new();
    let base = (picture.width, picture.height);
    if material.is_mixed {
        let (width, height) = base;
        filters.push(format!(
            "scale={width}:{height}:force_original_aspect_ratio=decrease:force_divisible_by=2:flags=bicubic,setsar=1,\
             pad={width}:{height}:(ow-iw)/2:(oh-ih)/2:black:eval=frame"
        ));
    }
    filters.extend(whole_frames(picture));
    filters.push(from_first_moment(picture.start_us));
    filters.push(times(material, wish));
    filters.extend(layout.cut());
    let scale = |(width, height): (u32, u32)| format!("scale={width}:{height}:flags=bicubic");
    let pixels = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
    if let Some(hdr) = picture.hdr {
        // Light is brought down where the picture is smallest: each pixel takes twelve bytes there.
        if pixels(layout.scaled) > pixels(base) {
            let cut = (f64::from(base.0) * layout.kept.0, f64::from(base.1) * layout.kept.1);
            filters.push(scale(((cut.0 / 2.0).round() as u32 * 2, (cut.1 / 2.0).round() as u32 * 2)));
            filters.push(to_standard(hdr));
            filters.push(scale(layout.scaled));
        } else {
            filters.push(scale(layout.scaled));
            filters.push(to_standard(hdr));
        }
    } else {
        filters.push(scale(layout.scaled));
    }
    filters.push("setsar=1,format=yuv420p".to_owned());
    filters.extend(layout.bars());
    filters.join(",")
}

/// The frames of the file at their times, or so many a second until its picture is over.
fn times(material: &Material, wish: &Wish) -> String {
    let Some(rate) = wish.rate else { return "trim=start_pts=-1,setpts='max(PTS,0)'".to_owned() };
    let is_held = material.end - material.picture_end > REST_OF_A_FRAME;
    let end = ticks_at(if is_held { material.end } else { material.picture_end }, TICKS);
    format!("{},trim=start_pts=-1:end_pts={}", steady(rate, true), end.max(1))
}

#[cfg(test)]
mod tests {
    use vitascope_model::WallTime;

    use super::*;
    use crate::encoder::transcode::Resize;
    use crate::probe::Hdr;
    use crate::promise::{Pace, SoundRecipe};

    fn picture() -> PictureRecipe {
        PictureRecipe {
            stream: 0,
            decoded_pixels: 1280 * 720,
            start_us: 0,
            width: 1280,
            height: 720,
            interlaced: false,
            hdr: None,
            pace: Pace::AsFilmed,
            lead_us: 500_000,
        }
    }

    fn material(picture: PictureRecipe) -> Material {
        Material {
            picture: Some(picture),
            sound: Some(SoundRecipe { stream: 1, start_us: 0, lead_us: None }),
            rate: Some(Ratio { num: 30, den: 1 }),
            picture_end: WallTime(10_000_000),
            end: WallTime(10_005_000),
            is_mixed: false,
        }
    }

    fn after_input(material: &Material, wish: &Wish) -> String {
        let line = encoding(Path::new("/data/x"), material, wish).unwrap().to_string();
        line[line.find("-copyts").unwrap()..].to_owned()
    }

    #[test]
    fn as_it_is() {
        insta::assert_snapshot!(after_input(&material(picture()), &Wish::default()), @r#"-copyts -i file:/data/x -map 0:0 -c:v libx264 -preset medium -profile:v high -crf 23 -pix_fmt yuv420p -threads 4 -x264-params open-gop=0:fps=30/1:rc-lookahead=40:sync-lookahead=0 -fps_mode passthrough -enc_time_base 1:90000 -filter:v settb=1/90000,setpts=PTS-(0),select='isnan(prev_selected_pts)+gt(pts,prev_selected_pts)',trim=start_pts=-1,setpts='max(PTS,0)',scale=1280:720:flags=bicubic,setsar=1,format=yuv420p -map 0:1 -c:a aac -profile:a aac_low -b:a 128k -ar 48000 -ac 2 -filter:a asetpts=PTS-(0.000000/TB),aresample=48000,aresample=48000:async=1:min_comp=0.00001:min_hard_comp=0.1:first_pts=0,aformat=sample_fmts=fltp:channel_layouts=stereo -sn -dn -map_metadata -1 -map_chapters -1 -max_muxing_queue_size 4096 -video_track_timescale 90000 -movflags frag_every_frame+delay_moov+default_base_moof -flush_packets 1 -f mp4 pipe:1"#);
    }

    #[test]
    fn everything_wished_for() {
        let wish = Wish {
            mode: Mode::Lightning,
            quality: 30,
            height: Some(480),
            shape: Some(1.0),
            resize: Resize::Pad,
            rate: Some(Ratio { num: 15, den: 1 }),
            mute: true,
        };
        let made =
            Material { sound: None, ..material(PictureRecipe { interlaced: true, start_us: 40_000, ..picture() }) };
        insta::assert_snapshot!(after_input(&made, &wish), @r#"-copyts -i file:/data/x -map 0:0 -c:v libx264 -preset superfast -profile:v high -crf 30 -pix_fmt yuv420p -threads 4 -x264-params open-gop=0:fps=15/1 -fps_mode passthrough -enc_time_base 1:90000 -filter:v bwdif=mode=send_frame:deint=interlaced,settb=1/90000,setpts=PTS-(3600),select='isnan(prev_selected_pts)+gt(pts,prev_selected_pts)',fps=15/1:round=near:start_time=0:eof_action=pass,tpad=stop_mode=clone:stop=-1,settb=1/90000,trim=start_pts=-1:end_pts=900000,scale=480:270:flags=bicubic,setsar=1,format=yuv420p,pad=480:480:(ow-iw)/2:(oh-ih)/2:black -sn -dn -map_metadata -1 -map_chapters -1 -max_muxing_queue_size 4096 -video_track_timescale 90000 -movflags frag_every_frame+delay_moov+default_base_moof -flush_packets 1 -f mp4 pipe:1"#);
    }

    #[test]
    fn light_is_brought_down_where_the_picture_is_smallest() {
        let bright = material(PictureRecipe { hdr: Some(Hdr::Pq), ..picture() });
        let at = |height| {
            let wish = Wish { height: Some(height), ..Wish::default() };
            let filter = after_input(&bright, &wish);
            (filter.find("scale=").unwrap() < filter.find("tonemap").unwrap(), filter.matches(":flags=bicubic").count())
        };
        assert_eq!((at(360), at(1440)), ((true, 1), (true, 2)));
    }

    #[test]
    fn large_pictures_are_made_by_one_thread() {
        let large = material(PictureRecipe { width: 3840, height: 2160, decoded_pixels: 3840 * 2160, ..picture() });
        let line = after_input(&large, &Wish { height: Some(720), ..Wish::default() });
        assert!(line.contains("-threads 1 ") && line.contains(SHORT_LOOKAHEAD), "{line}");
    }

    #[test]
    fn pictures_of_a_list_are_fitted_into_the_first_one() {
        let mixed = Material { is_mixed: true, ..material(picture()) };
        let line = after_input(&mixed, &Wish::default());
        assert!(
            line.starts_with("-copyts -reinit_filter:v 0 -i file:/data/x") && line.contains("eval=frame"),
            "{line}"
        );
    }

    #[test]
    fn the_index_is_put_in_front_without_coding() {
        insta::assert_snapshot!(indexing(Path::new("/data/x"), Path::new("/data/y")), @r#"ffmpeg -nostdin -hide_banner -loglevel error -max_alloc 268435456 -protocol_whitelist file -format_whitelist mov -copyts -i file:/data/x -map 0 -c copy -map_metadata -1 -movflags +faststart -f mp4 -y file:/data/y"#);
    }
}
