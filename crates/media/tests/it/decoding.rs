//! The decoder in this process against ffmpeg's: the same sound, sample for sample.

use vitascope_media::compile::{PlanOptions, plan};
use vitascope_media::pcm::AacDecoder;

use crate::film::{pictures, sound};
use crate::player::Served;
use crate::recording::{Recording, range};

#[test]
fn sound_decodes_as_ffmpeg_decodes_it() {
    let recording = Recording::of(sound());
    let served = Served::new(plan(None, Some(&recording.view), range(0, 60_000), &PlanOptions::default()).unwrap());
    let expected = served.listen();
    let mut decoder = AacDecoder::new(&sound().codec).unwrap();
    let heard: Vec<f32> = sound().samples.iter().flat_map(|s| decoder.decode(&s.data).to_vec()).collect();
    assert_eq!((heard.len(), decoder.damaged), (expected.len(), 0));
    let worst = heard.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-3, "{worst}");
    assert!(heard.iter().any(|s| s.abs() > 0.2));
}

#[test]
fn a_damaged_frame_is_silent_counted_and_forgotten() {
    let mut decoder = AacDecoder::new(&sound().codec).unwrap();
    for frame in &sound().samples[..40] {
        decoder.decode(&frame.data);
    }
    for torn in [&[][..], &[0xff; 40], &sound().samples[40].data[..20]] {
        let pcm = decoder.decode(torn);
        assert_eq!(pcm.len(), 2048);
        assert!(pcm.iter().all(|s| *s == 0.0), "{torn:x?}");
    }
    assert_eq!(decoder.damaged, 3);
    let after: Vec<f32> = sound().samples[43..60].iter().flat_map(|s| decoder.decode(&s.data).to_vec()).collect();
    assert!(after[8192..].iter().any(|s| s.abs() > 0.2));
    assert_eq!(decoder.damaged, 3);
}

#[test]
fn pictures_are_no_sound() {
    assert!(AacDecoder::new(&pictures().codec).is_err());
}

#[test]
fn no_damage_stops_the_decoder() {
    let mut decoder = AacDecoder::new(&sound().codec).unwrap();
    let mut noise = 1_u32;
    for round in 0..4 {
        for frame in &sound().samples {
            let mut bytes = frame.data.to_vec();
            for _ in 0..=round * 4 {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (noise >> 8) as usize % bytes.len();
                bytes[at] ^= 1 << (noise >> 4 & 7);
            }
            let pcm = decoder.decode(&bytes);
            assert_eq!(pcm.len(), 2048);
            assert!(pcm.iter().all(|s| s.is_finite()));
        }
    }
    assert!(decoder.damaged > 100, "{}", decoder.damaged);
}
