//! The command line that makes chunks of an uploaded file. Pictures are turned upright (by ffmpeg itself), deinterlaced, made square,
//! even and eight bits deep, and shown at the times that the file has; sound becomes 48 kHz stereo, without a gap, from the file's first
//! moment on. Everything is said in ticks of the file's own line of time, so that a chunk made alone is cut where it is cut among others.

use std::path::Path;

use vitascope_model::{Error, Result, Span, WallTime};

use super::{Stretch, ticks_at};
use crate::codec::AAC_FRAME;
use crate::encoder::RATE;
use crate::encoder::chain::{
    self, ALONE, SHORT_LOOKAHEAD, coded_sound, even_sound, from_first_moment, most_pixels, steady, to_standard,
    whole_frames,
};
use crate::process::{CommandLine, Program};
use crate::promise::{Pace, PictureRecipe, Recipe, SoundRecipe, TICKS, second_start};
use crate::reading;

const FRAME: i64 = AAC_FRAME as i64;
const SOUND_KBPS: u32 = 160;
/// Frames of sound that are encoded before the first one that is wanted, so that it sounds as if all had been.
const SOUND_LEAD: i64 = 4;
/// Frames of sound that are encoded after the last one: the encoder looks ahead.
const SOUND_TAIL: i64 = 3;

pub(super) fn command_line(file: &Path, stretches: &[Stretch], threads: usize) -> Result<CommandLine> {
    let threads = if stretches.iter().any(|stretch| is_large(&stretch.recipe)) { 1 } else { threads };
    let mut words = vec!["-nostdin".to_owned()];
    let mut say = |text: &str| words.extend(text.split_whitespace().map(str::to_owned));
    say(&format!("{} {} -threads {threads} -copyts", reading::quiet(), reading::limits()));
    if let Some(from) = seek(stretches) {
        // What lies before the moment is decoded too: the filters cut, to the tick.
        say(&format!("-noaccurate_seek -ss {}us", from.0));
    }
    say("-i");
    words.push(reading::name_of(file));
    for stretch in stretches {
        let first = stretch.chunks.first().ok_or_else(|| Error::internal("a stretch without chunks"))?;
        let (options, filter) = match &stretch.recipe {
            Recipe::Picture(recipe) => {
                (picture_options(recipe, threads), ("-filter:v", picture_filter(recipe, stretch)))
            }
            Recipe::Sound(recipe) => (sound_options(recipe), ("-filter:a", sound_filter(recipe, stretch))),
        };
        words.extend(options.split_whitespace().map(str::to_owned));
        words.extend([filter.0.to_owned(), filter.1]);
        if let Recipe::Picture(_) = stretch.recipe {
            words.extend(["-force_key_frames".to_owned(), keys(first.start)]);
        }
    }
    // A fragment for each frame: nothing waits for a frame to come, and times are ticks.
    let form = format!(
        "{ALONE} -avoid_negative_ts disabled -video_track_timescale {TICKS} \
         -movflags frag_every_frame+empty_moov+default_base_moof -flush_packets 1 -f mp4 pipe:1"
    );
    words.extend(form.split_whitespace().map(str::to_owned));
    Ok(CommandLine::new(Program::Ffmpeg, words).within(reading::MOST_MEMORY))
}

/// Where reading begins, from the file's first moment on; none to read all of it.
fn seek(stretches: &[Stretch]) -> Option<Span> {
    let begin = |stretch: &Stretch| {
        let start = stretch.chunks.first()?.start - WallTime(0);
        let lead = match &stretch.recipe {
            Recipe::Picture(recipe) => recipe.lead_us,
            Recipe::Sound(recipe) => recipe.lead_us? + Span::of_ticks(SOUND_LEAD * FRAME, RATE).0,
        };
        Some(start - Span(lead)).filter(|from| *from > Span::ZERO)
    };
    let begins: Option<Vec<Span>> = stretches.iter().map(begin).collect();
    begins?.into_iter().min()
}

/// Whether encoding it takes so much memory that it is better done by one process at a time.
pub fn is_large(recipe: &Recipe) -> bool {
    matches!(recipe, Recipe::Picture(picture) if chain::is_large(most_pixels(picture)))
}

fn picture_options(recipe: &PictureRecipe, threads: usize) -> String {
    let lookahead = if chain::is_large(most_pixels(recipe)) { SHORT_LOOKAHEAD } else { "" };
    format!(
        "-map 0:{} -c:v libx264 -preset veryfast -profile:v high -crf 21 -bf 0 -g 100000 -forced-idr 1 -pix_fmt yuv420p \
         -threads {threads} -x264-params scenecut=0:open-gop=0:stitchable=1{lookahead} -fps_mode passthrough -enc_time_base 1:{TICKS}",
        recipe.stream
    )
}

/// A key frame is the first frame of each second. A tick before it is near enough, and half a tick is rounding.
fn keys(start: WallTime) -> String {
    let offset = (ticks_at(start, TICKS) as f64 + 1.5) / f64::from(TICKS);
    format!("expr:isnan(prev_forced_t)+gt(floor(t+{offset:.9}),floor(prev_forced_t+{offset:.9}))")
}

fn picture_filter(recipe: &PictureRecipe, stretch: &Stretch) -> String {
    let start = ticks_at(stretch.chunks.first().map_or(WallTime(0), |c| c.start), TICKS);
    let mut filters = Vec::new();
    filters.extend(whole_frames(recipe));
    filters.push(from_first_moment(recipe.start_us));
    if let Pace::Steady(rate) = recipe.pace {
        // The last picture stays for as long as was promised.
        filters.push(steady(rate, start == 0));
    }
    filters.push(trim(recipe, stretch, start));
    // The first frame of a chunk begins where the chunk begins.
    filters.push(format!("setpts='if(eq(N,0),0,PTS-{start})'"));
    filters.push(format!("scale={}:{}:flags=bicubic", recipe.width, recipe.height));
    filters.extend(recipe.hdr.map(to_standard));
    filters.push("setsar=1,format=yuv420p".to_owned());
    filters.join(",")
}

/// Exactly what belongs to the stretch: by seconds, as its key frames.
fn trim(recipe: &PictureRecipe, stretch: &Stretch, start: i64) -> String {
    let end = ticks_at(stretch.chunks.last().map_or(WallTime(0), |c| c.end), TICKS);
    let begin = if start == 0 { -1 } else { second_start(start) };
    let stop = match (stretch.is_rest, recipe.pace) {
        (true, Pace::AsFilmed) => None,
        (true, Pace::Steady(_)) => Some(end),
        (false, _) => Some(second_start(end)),
    };
    let stop = stop.map(|stop| format!(":end_pts={stop}")).unwrap_or_default();
    format!("trim=start_pts={begin}{stop}")
}

fn sound_options(recipe: &SoundRecipe) -> String {
    coded_sound(recipe.stream, SOUND_KBPS)
}

/// Frames of sound that come before the first one that is wanted: those for the lead, and the encoder's own.
pub(super) fn frames_before(start: WallTime) -> i64 {
    sound_lead(start) + 1
}

fn sound_lead(start: WallTime) -> i64 {
    SOUND_LEAD.min(frame_at(start))
}

pub(super) fn frame_at(at: WallTime) -> i64 {
    (ticks_at(at, RATE) + FRAME / 2) / FRAME
}

fn sound_filter(recipe: &SoundRecipe, stretch: &Stretch) -> String {
    let start = stretch.chunks.first().map_or(WallTime(0), |c| c.start);
    let first = (frame_at(start) - sound_lead(start)) * FRAME;
    let end = frame_at(stretch.chunks.last().map_or(start, |c| c.end));
    let stop = if stretch.is_rest { String::new() } else { format!(",atrim=end_pts={}", (end + SOUND_TAIL) * FRAME) };
    format!("{}{stop}", even_sound(recipe.start_us, first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Hdr;
    use crate::promise::PromisedChunk;

    fn chunk(start: i64, end: i64) -> PromisedChunk {
        PromisedChunk { start: WallTime(start), end: WallTime(end), samples: 0, index: Vec::new() }
    }

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

    fn after_input(stretches: &[Stretch]) -> String {
        let line = command_line(Path::new("/data/x"), stretches, 2).unwrap().to_string();
        let at = line.find("-threads").unwrap();
        line[at..].to_owned()
    }

    #[test]
    fn all_of_a_film() {
        let recipe = Recipe::Picture(picture());
        let sound = Recipe::Sound(SoundRecipe { stream: 1, start_us: 0, lead_us: Some(500_000) });
        let stretch =
            |recipe| Stretch { recipe, chunks: vec![chunk(0, 2_002_000), chunk(2_002_000, 3_000_000)], is_rest: true };
        insta::assert_snapshot!(after_input(&[stretch(recipe), stretch(sound)]), @r#"-threads 2 -copyts -i file:/data/x -map 0:0 -c:v libx264 -preset veryfast -profile:v high -crf 21 -bf 0 -g 100000 -forced-idr 1 -pix_fmt yuv420p -threads 2 -x264-params scenecut=0:open-gop=0:stitchable=1 -fps_mode passthrough -enc_time_base 1:90000 -filter:v settb=1/90000,setpts=PTS-(0),select='isnan(prev_selected_pts)+gt(pts,prev_selected_pts)',trim=start_pts=-1,setpts='if(eq(N,0),0,PTS-0)',scale=1280:720:flags=bicubic,setsar=1,format=yuv420p -force_key_frames expr:isnan(prev_forced_t)+gt(floor(t+0.000016667),floor(prev_forced_t+0.000016667)) -map 0:1 -c:a aac -profile:a aac_low -b:a 160k -ar 48000 -ac 2 -filter:a asetpts=PTS-(0.000000/TB),aresample=48000,aresample=48000:async=1:min_comp=0.00001:min_hard_comp=0.1:first_pts=0,aformat=sample_fmts=fltp:channel_layouts=stereo -sn -dn -map_metadata -1 -map_chapters -1 -max_muxing_queue_size 4096 -avoid_negative_ts disabled -video_track_timescale 90000 -movflags frag_every_frame+empty_moov+default_base_moof -flush_packets 1 -f mp4 pipe:1"#);
    }

    #[test]
    fn one_chunk_of_a_bright_interlaced_one() {
        let recipe = PictureRecipe { start_us: 1_400_000, interlaced: true, hdr: Some(Hdr::Pq), ..picture() };
        let stretch =
            Stretch { recipe: Recipe::Picture(recipe), chunks: vec![chunk(6_006_000, 10_010_000)], is_rest: false };
        insta::assert_snapshot!(after_input(&[stretch]), @r#"-threads 2 -copyts -noaccurate_seek -ss 5506000us -i file:/data/x -map 0:0 -c:v libx264 -preset veryfast -profile:v high -crf 21 -bf 0 -g 100000 -forced-idr 1 -pix_fmt yuv420p -threads 2 -x264-params scenecut=0:open-gop=0:stitchable=1 -fps_mode passthrough -enc_time_base 1:90000 -filter:v bwdif=mode=send_frame:deint=interlaced,settb=1/90000,setpts=PTS-(126000),select='isnan(prev_selected_pts)+gt(pts,prev_selected_pts)',trim=start_pts=539999:end_pts=899999,setpts='if(eq(N,0),0,PTS-540540)',scale=1280:720:flags=bicubic,zscale=tin=smpte2084:pin=bt2020:min=bt2020nc:rin=tv:t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=tonemap=hable:desat=0,zscale=t=bt709:m=bt709:r=tv,setsar=1,format=yuv420p -force_key_frames expr:isnan(prev_forced_t)+gt(floor(t+6.006016667),floor(prev_forced_t+6.006016667)) -sn -dn -map_metadata -1 -map_chapters -1 -max_muxing_queue_size 4096 -avoid_negative_ts disabled -video_track_timescale 90000 -movflags frag_every_frame+empty_moov+default_base_moof -flush_packets 1 -f mp4 pipe:1"#);
    }

    #[test]
    fn one_chunk_of_sound() {
        let recipe = Recipe::Sound(SoundRecipe { stream: 1, start_us: -20_000, lead_us: None });
        let stretch = Stretch { recipe, chunks: vec![chunk(2_005_333, 6_016_000)], is_rest: false };
        insta::assert_snapshot!(after_input(&[stretch]), @r#"-threads 2 -copyts -i file:/data/x -map 0:1 -c:a aac -profile:a aac_low -b:a 160k -ar 48000 -ac 2 -filter:a asetpts=PTS-(-0.020000/TB),aresample=48000,aresample=48000:async=1:min_comp=0.00001:min_hard_comp=0.1:first_pts=92160,aformat=sample_fmts=fltp:channel_layouts=stereo,atrim=end_pts=291840 -sn -dn -map_metadata -1 -map_chapters -1 -max_muxing_queue_size 4096 -avoid_negative_ts disabled -video_track_timescale 90000 -movflags frag_every_frame+empty_moov+default_base_moof -flush_packets 1 -f mp4 pipe:1"#);
    }
}
