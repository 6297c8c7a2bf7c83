//! What an ANNOUNCE announces: each media section as a codec, or why it cannot be recorded.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sdp_types::{Fmtp, Media, RtpMap, Session};
use vitascope_media::codec::Codec;
use vitascope_model::error::Context;
use vitascope_model::{Error, Result};

/// One `m=` section.
#[derive(Debug)]
pub(super) struct Announced {
    /// None where it is in a codec that is not recorded.
    pub(super) codec: Option<Codec>,
    pub(super) payload_type: u8,
    /// What SETUP appends to the URL.
    pub(super) control: String,
}

/// The media sections of an SDP, in order.
pub(super) fn announced(sdp: &[u8]) -> Result<Vec<Announced>> {
    let session = Session::parse(sdp).invalid("the SDP cannot be read")?;
    session.medias.iter().map(section).collect()
}

fn section(media: &Media) -> Result<Announced> {
    let control = media.get_first_attribute_value("control").flatten().unwrap_or_default().to_owned();
    let Some(map) = media.get_first_attribute_typed::<RtpMap>() else {
        // One of the old static payload types, such as a camera's telephone sound: known, and not recorded.
        let payload_type = media.fmt.split_whitespace().next().and_then(|pt| pt.parse().ok()).filter(|pt| *pt < 128);
        let payload_type = payload_type.ok_or_else(|| Error::invalid("a media section without rtpmap"))?;
        return Ok(Announced { codec: None, payload_type, control });
    };
    let map = map.invalid("an unreadable rtpmap")?;
    let fmtp = media.get_first_attribute_typed::<Fmtp>().transpose().invalid("an unreadable fmtp")?;
    let codec = match map.encoding_name.to_ascii_uppercase().as_str() {
        "H264" if map.clock_rate == 90_000 => Some(h264(fmtp.as_ref())),
        "MPEG4-GENERIC" => aac(&map, fmtp.as_ref()),
        _ => None,
    };
    Ok(Announced { codec, payload_type: map.payload_type, control })
}

/// The library keeps the blank after each `;` in the key, and the case as sent.
fn param<'a>(fmtp: Option<&'a Fmtp>, name: &str) -> Option<&'a str> {
    let params = &fmtp?.format_specific_params;
    params.iter().find(|p| p.param.trim().eq_ignore_ascii_case(name)).and_then(|p| p.val.as_deref()).map(str::trim)
}

/// Parameter sets that are not announced are learnt from the stream.
fn h264(fmtp: Option<&Fmtp>) -> Codec {
    let (mut sps, mut pps) = (Vec::new(), Vec::new());
    for set in param(fmtp, "sprop-parameter-sets").unwrap_or_default().split(',') {
        let nal = STANDARD.decode(set.trim()).unwrap_or_default();
        match nal.first().map(|b| b & 31) {
            Some(7) => sps = nal,
            Some(8) => pps = nal,
            _ => {}
        }
    }
    Codec::H264 { sps, pps }
}

/// AAC-hbr with the usual header sizes; anything else is not recorded.
fn aac(map: &RtpMap, fmtp: Option<&Fmtp>) -> Option<Codec> {
    if !param(fmtp, "mode")?.eq_ignore_ascii_case("AAC-hbr") {
        return None;
    }
    let sizes = ["sizelength", "indexlength", "indexdeltalength"].map(|name| param(fmtp, name).unwrap_or("0"));
    if sizes != ["13", "3", "3"] {
        return None;
    }
    let text = param(fmtp, "config")?;
    let config: Option<Vec<u8>> =
        (0..text.len() / 2).map(|i| u8::from_str_radix(text.get(i * 2..i * 2 + 2)?, 16).ok()).collect();
    let config = config.filter(|c| (2..=64).contains(&c.len()))?;
    // AudioSpecificConfig: 5 bits of object type, 4 of frequency, 4 of channels. Only AAC-LC has frames of 1024 samples here.
    let channels = config[1] >> 3 & 15;
    (config[0] >> 3 == 2 && matches!(channels, 1 | 2)).then_some(Codec::Aac { rate: map.clock_rate, channels, config })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(rtpmap: &str, fmtp: &str) -> Option<Codec> {
        let sdp = format!(
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 {rtpmap}\r\na=fmtp:96 {fmtp}\r\na=control:streamid=0\r\n"
        );
        let mut all = announced(sdp.as_bytes()).unwrap();
        assert_eq!((all.len(), all[0].payload_type, all[0].control.as_str()), (1, 96, "streamid=0"));
        all.remove(0).codec
    }

    #[test]
    fn what_ffmpeg_announces_is_read() {
        let h264 =
            one("H264/90000", "packetization-mode=1; sprop-parameter-sets=Z2QAH6w=,aOvjyyLA; profile-level-id=64001F");
        assert!(matches!(h264, Some(Codec::H264 { sps, pps }) if sps[0] == 0x67 && pps[0] == 0x68));
        let aac = one(
            "MPEG4-GENERIC/48000/2",
            "profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3; config=1190",
        );
        assert_eq!(aac, Some(Codec::Aac { rate: 48_000, channels: 2, config: vec![0x11, 0x90] }));
    }

    #[test]
    fn other_codecs_are_not_recorded() {
        assert_eq!(one("VP8/90000", "x=1"), None);
        assert_eq!(one("OPUS/48000/2", "x=1"), None);
        assert_eq!(one("MPEG4-GENERIC/48000/2", "mode=AAC-lbr;config=1190"), None);
        assert_eq!(
            one("MPEG4-GENERIC/48000/2", "mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=2b92"),
            None,
            "HE-AAC"
        );
        assert!(announced(b"garbage").is_err());
    }

    #[test]
    fn a_static_payload_type_is_let_be() {
        let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\na=control:t1\r\n\
            m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:t2\r\n";
        let all = announced(sdp.as_bytes()).unwrap();
        let seen: Vec<_> = all.iter().map(|a| (a.codec.is_some(), a.payload_type, a.control.as_str())).collect();
        assert_eq!(seen, [(false, 0, "t1"), (true, 96, "t2")]);
    }

    #[test]
    fn garbage_never_panics() {
        let whole = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=audio 0 RTP/AVP 96\r\na=rtpmap:96 MPEG4-GENERIC/48000/2\r\n\
            a=fmtp:96 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1190\r\na=control:t1\r\n";
        let mut state = 5_u32;
        for _ in 0..5000 {
            let mut bytes = whole.as_bytes().to_vec();
            for _ in 0..4 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (state >> 8) as usize % bytes.len();
                bytes[at] = (state >> 24) as u8;
            }
            drop(announced(&bytes));
        }
    }
}
