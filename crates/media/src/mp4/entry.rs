//! The sample description of a track (`stsd`): what it is coded in, with the configuration that its decoder needs, and what of the
//! container changes how it must be shown. A codec that is not ours is none, which is no error.

use vitascope_model::Result;

use super::boxes::{Bx, Fields, boxes, broken, find};
use crate::codec::Codec;

/// What a description says.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) codec: Option<Codec>,
    /// Why samples in this codec cannot be taken as they lie, if the description alone tells.
    pub(super) obstacle: Option<&'static str>,
}

/// An AudioSpecificConfig is a few bytes; more is not believed.
const LONGEST_CONFIG: usize = 64;
const AAC_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350];

/// The first description of an `stsd`; several of them are an obstacle.
pub(super) fn parse(stsd: &[u8]) -> Result<Entry> {
    let (_, mut fields) = Fields::versioned(stsd, "stsd")?;
    let count = fields.u32()?;
    let Some(first) = boxes(fields.rest()).next().transpose()? else { return Ok(Entry::default()) };
    let mut entry = match &first.kind {
        b"avc1" | b"avc3" => picture(first)?,
        b"mp4a" => sound(first)?,
        _ => Entry::default(),
    };
    if count != 1 {
        entry.obstacle = Some("several sample descriptions");
    }
    Ok(entry)
}

fn picture(entry: Bx<'_>) -> Result<Entry> {
    let mut fields = Fields::new(entry.body, "avc1");
    fields.skip(78)?;
    let inside = fields.rest();
    let Some(config) = find(inside, b"avcC")? else { return Ok(Entry::default()) };
    let mut fields = Fields::new(config, "avcC");
    fields.skip(4)?;
    let length_bytes = (fields.u8()? & 3) + 1;
    let mut sets = Vec::new();
    let mut counts = [0; 2];
    for (count, mask) in counts.iter_mut().zip([0x1f, 0xff]) {
        *count = fields.u8()? & mask;
        for _ in 0..*count {
            let size = fields.u16()?;
            sets.push(fields.take(size.into())?);
        }
    }
    let obstacle = match (counts, length_bytes) {
        ([1, 1], 4) => (!is_square(inside)?).then_some("pixels that are not square"),
        ([1, 1], _) => Some("NAL units with short lengths"),
        _ => Some("not one SPS and one PPS"),
    };
    let set = |kind: u8| sets.iter().find(|s| s.first().is_some_and(|b| b & 31 == kind)).map(|s| s.to_vec());
    let codec = set(7).zip(set(8)).map(|(sps, pps)| Codec::H264 { sps, pps });
    Ok(Entry { codec, obstacle })
}

fn is_square(inside: &[u8]) -> Result<bool> {
    let Some(pasp) = find(inside, b"pasp")? else { return Ok(true) };
    let mut fields = Fields::new(pasp, "pasp");
    Ok(fields.u32()? == fields.u32()?)
}

fn sound(entry: Bx<'_>) -> Result<Entry> {
    let mut fields = Fields::new(entry.body, "mp4a");
    fields.skip(8)?;
    let version = fields.u16()?;
    fields.skip(18)?;
    // QuickTime has longer descriptions, and puts the configuration one box deeper.
    fields.skip(match version {
        1 => 16,
        2 => 36,
        _ => 0,
    })?;
    let inside = fields.rest();
    let esds = match find(inside, b"esds")? {
        Some(esds) => Some(esds),
        None => find(inside, b"wave")?.map(|wave| find(wave, b"esds")).transpose()?.flatten(),
    };
    let config = esds.map(specific_config).transpose()?.flatten();
    Ok(config.map_or_else(Entry::default, |config| aac(&config)))
}

/// The AudioSpecificConfig in an `esds`, if it is AAC that it describes.
fn specific_config(esds: &[u8]) -> Result<Option<Vec<u8>>> {
    let (_, fields) = Fields::versioned(esds, "esds")?;
    let Some(mut stream) = descriptor(fields.rest(), 3)? else { return Ok(None) };
    stream.skip(2)?;
    let flags = stream.u8()?;
    stream.skip(if flags & 0x80 > 0 { 2 } else { 0 })?;
    let url = if flags & 0x40 > 0 { stream.u8()?.into() } else { 0 };
    stream.skip(url)?;
    stream.skip(if flags & 0x20 > 0 { 2 } else { 0 })?;
    let Some(mut decoder) = descriptor(stream.rest(), 4)? else { return Ok(None) };
    // MPEG-4 AAC, or MPEG-2 AAC LC, which is the same.
    if !matches!(decoder.u8()?, 0x40 | 0x67) {
        return Ok(None);
    }
    decoder.skip(12)?;
    let config = descriptor(decoder.rest(), 5)?.map(|config| config.rest().to_vec());
    Ok(config.filter(|config| (2..=LONGEST_CONFIG).contains(&config.len())))
}

/// The first descriptor of MPEG-4 systems, if it has this tag.
fn descriptor(bytes: &[u8], tag: u8) -> Result<Option<Fields<'_>>> {
    let mut fields = Fields::new(bytes, "esds");
    if fields.u8()? != tag {
        return Ok(None);
    }
    let mut size = 0;
    for _ in 0..4 {
        let byte = fields.u8()?;
        size = size << 7 | usize::from(byte & 0x7f);
        if byte < 0x80 {
            return Ok(Some(Fields::new(fields.take(size)?, "esds")));
        }
    }
    Err(broken("a descriptor without end"))
}

/// What an AudioSpecificConfig of at least two bytes says.
fn aac(config: &[u8]) -> Entry {
    let bits = u32::from(config[0]) << 8 | u32::from(config[1]);
    let (object, rate, channels) = (bits >> 11, bits >> 7 & 15, (bits >> 3 & 15) as u8);
    // Then: 960 samples a frame, a core coder, extensions.
    let has_960 = bits & 4 > 0;
    // An extension that is named may still be switched off, and by ffmpeg is.
    let extended = matches!(config.get(2..5), Some([0x56, 0xe5, flags]) if flags & 0x80 > 0);
    let obstacle = match (object, channels) {
        (2, 1 | 2) if has_960 => Some("frames of 960 samples"),
        (2, 1 | 2) if extended => Some("AAC with spectral band replication"),
        (2, 1 | 2) => None,
        (2, _) => Some("AAC in other channels than one or two"),
        _ => Some("AAC that is not LC"),
    };
    // A rate that is spelled out, as only rates that nobody uses are, has no place in the table.
    let rate = AAC_RATES.get(rate as usize);
    let codec = rate.map(|rate| Codec::Aac { rate: *rate, channels, config: config.to_vec() });
    Entry { codec, obstacle }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_aac_has_no_obstacle() {
        let entry = aac(&[0x11, 0x90]);
        assert_eq!(entry.codec, Some(Codec::Aac { rate: 48_000, channels: 2, config: vec![0x11, 0x90] }));
        assert_eq!(entry.obstacle, None);
        assert_eq!(aac(&[0x12, 0x08, 0x56, 0xe5, 0]).obstacle, None, "mono, 44.1 kHz");
        for odd in
            [&[0x11, 0x94][..], &[0x11, 0xb0], &[0x2b, 0x92, 0x08], &[0x13, 0x10, 0x56, 0xe5, 0xa0], &[0x11, 0x80]]
        {
            assert!(aac(odd).obstacle.is_some(), "{odd:x?}");
        }
        assert_eq!(aac(&[0x17, 0x90]).codec, None);
    }
}
