//! RTP payloads to samples: H.264 (RFC 6184: single NAL, STAP-A, FU-A) and AAC-hbr (RFC 3640). No I/O and no clock.
//! A damaged access unit is dropped whole and counted; the next one starts clean.

use bytes::Bytes;
use vitascope_media::codec::{AAC_FRAME, Codec};

/// The largest access unit taken: a publisher must not grow our memory at will.
const MAX_SAMPLE: usize = 8 << 20;

/// One coded sample: H.264 as 4-byte length + NAL units with SPS and PPS in front of each IDR; AAC as a raw frame.
#[derive(Debug)]
pub(super) struct Unit {
    /// RTP time stamp.
    pub(super) stamp: u32,
    pub(super) key: bool,
    pub(super) data: Bytes,
}

#[derive(Debug)]
pub(super) enum Depay {
    H264(H264),
    Aac(Fragments),
}

#[derive(Debug, Default)]
pub(super) struct H264 {
    sps: Vec<u8>,
    pps: Vec<u8>,
    unit: Vec<u8>,
    stamp: u32,
    key: bool,
    has_sets: bool,
    /// Where in `unit` the open FU-A's length field is.
    open_fragment: Option<usize>,
    broken: bool,
    /// Packets are missing in front of the next one.
    gap: bool,
}

#[derive(Debug, Default)]
pub(super) struct Fragments {
    data: Vec<u8>,
    size: usize,
}

impl Depay {
    pub(super) fn new(codec: &Codec) -> Self {
        match codec {
            Codec::H264 { sps, pps } => Depay::H264(H264 { sps: sps.clone(), pps: pps.clone(), ..H264::default() }),
            Codec::Aac { .. } => Depay::Aac(Fragments::default()),
        }
    }

    /// Takes one RTP payload, gives finished units to `out`; returns how many it had to drop.
    pub(super) fn push(&mut self, stamp: u32, marker: bool, payload: &[u8], out: &mut Vec<Unit>) -> u32 {
        match self {
            Depay::H264(h264) => h264.push(stamp, marker, payload, out),
            Depay::Aac(fragments) => fragments.push(stamp, payload, out).map_or(1, |()| 0),
        }
    }

    /// Packets were lost: what is under construction is damaged, and so may be what the next packet belongs to.
    pub(super) fn lost(&mut self) {
        self.damaged();
        if let Depay::H264(h264) = self {
            h264.gap = true;
        }
    }

    /// What is under construction cannot be trusted.
    pub(super) fn damaged(&mut self) {
        match self {
            Depay::H264(h264) => h264.broken |= !h264.unit.is_empty(),
            Depay::Aac(fragments) => *fragments = Fragments::default(),
        }
    }
}

impl H264 {
    fn push(&mut self, stamp: u32, marker: bool, payload: &[u8], out: &mut Vec<Unit>) -> u32 {
        // A publisher that forgets the marker bit still changes the time stamp.
        let mut dropped = if stamp != self.stamp { self.finish(out) } else { 0 };
        self.stamp = stamp;
        self.broken |= std::mem::take(&mut self.gap);
        // What is damaged will be dropped whole: nothing more of it is kept.
        if !self.broken && (self.payload(payload).is_none() || self.unit.len() > MAX_SAMPLE) {
            self.broken = true;
        }
        if marker {
            dropped += self.finish(out);
        }
        dropped
    }

    fn payload(&mut self, payload: &[u8]) -> Option<()> {
        const STAP_A: u8 = 24;
        const FU_A: u8 = 28;
        let (&head, body) = payload.split_first()?;
        match head & 31 {
            1..=23 => self.nal(payload),
            STAP_A => {
                let mut rest = body;
                while let Some((size, tail)) = rest.split_first_chunk::<2>() {
                    let (nal, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
                    self.nal(nal);
                    rest = tail;
                }
                rest.is_empty().then_some(())?;
            }
            FU_A => self.fragment(head, body)?,
            _ => return None,
        }
        Some(())
    }

    fn fragment(&mut self, head: u8, body: &[u8]) -> Option<()> {
        let (&header, data) = body.split_first()?;
        let (begins, ends) = (header & 0x80 != 0, header & 0x40 != 0);
        if begins {
            self.key |= header & 31 == 5;
            self.open_fragment = Some(self.unit.len());
            self.unit.extend([0, 0, 0, 0, head & 0xe0 | header & 31]);
        }
        let start = self.open_fragment?;
        self.unit.extend_from_slice(data);
        if ends {
            let size = (self.unit.len() - start - 4) as u32;
            self.unit.get_mut(start..start + 4)?.copy_from_slice(&size.to_be_bytes());
            self.open_fragment = None;
        }
        Some(())
    }

    fn nal(&mut self, nal: &[u8]) {
        match nal.first().map_or(0, |b| b & 31) {
            0 | 9 | 12 => return, // nothing, access unit delimiter, filler
            5 => self.key = true,
            7 => (self.sps, self.has_sets) = (nal.to_vec(), true),
            8 => self.pps = nal.to_vec(),
            _ => {}
        }
        self.unit.extend((nal.len() as u32).to_be_bytes());
        self.unit.extend_from_slice(nal);
    }

    fn finish(&mut self, out: &mut Vec<Unit>) -> u32 {
        let data = std::mem::take(&mut self.unit);
        let (key, has_sets) = (std::mem::take(&mut self.key), std::mem::take(&mut self.has_sets));
        let broken = std::mem::take(&mut self.broken) | self.open_fragment.take().is_some();
        if data.is_empty() || broken {
            return u32::from(broken);
        }
        let knows_sets = !self.sps.is_empty() && !self.pps.is_empty();
        let data = if key && !has_sets && knows_sets { self.with_sets(&data) } else { data };
        out.push(Unit { stamp: self.stamp, key, data: data.into() });
        0
    }

    fn with_sets(&self, data: &[u8]) -> Vec<u8> {
        let mut whole = Vec::with_capacity(data.len() + self.sps.len() + self.pps.len() + 8);
        for set in [&self.sps, &self.pps] {
            whole.extend((set.len() as u32).to_be_bytes());
            whole.extend_from_slice(set);
        }
        whole.extend_from_slice(data);
        whole
    }
}

impl Fragments {
    fn push(&mut self, stamp: u32, payload: &[u8], out: &mut Vec<Unit>) -> Option<()> {
        let (bits, rest) = payload.split_first_chunk::<2>()?;
        let count = usize::from(u16::from_be_bytes(*bits)) / 16;
        let (headers, mut data) = rest.split_at_checked(count * 2)?;
        let size = |i: usize| usize::from(u16::from_be_bytes([headers[i * 2], headers[i * 2 + 1]]) >> 3);
        if (0..count).any(|i| size(i) == 0) {
            return None;
        }
        if count == 1 && size(0) > data.len() {
            if self.data.is_empty() {
                self.size = size(0);
            }
            self.data.extend_from_slice(data);
            if self.data.len() >= self.size {
                let whole = std::mem::take(self);
                (whole.data.len() == whole.size).then_some(())?;
                out.push(Unit { stamp, key: true, data: whole.data.into() });
            }
            return Some(());
        }
        for i in 0..count {
            let (frame, tail) = data.split_at_checked(size(i))?;
            data = tail;
            let stamp = stamp.wrapping_add(i as u32 * AAC_FRAME);
            out.push(Unit { stamp, key: true, data: Bytes::copy_from_slice(frame) });
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h264() -> Depay {
        Depay::new(&Codec::H264 { sps: vec![0x67, 1], pps: vec![0x68, 2] })
    }

    fn push(depay: &mut Depay, stamp: u32, marker: bool, payload: &[u8]) -> (Vec<Unit>, u32) {
        let mut out = Vec::new();
        let dropped = depay.push(stamp, marker, payload, &mut out);
        (out, dropped)
    }

    #[test]
    fn an_idr_gets_its_parameter_sets_once() {
        let mut depay = h264();
        let (units, _) = push(&mut depay, 1, true, &[0x65, 9]);
        assert_eq!(&units[0].data[..], [0, 0, 0, 2, 0x67, 1, 0, 0, 0, 2, 0x68, 2, 0, 0, 0, 2, 0x65, 9]);
        assert!(units[0].key);
        // STAP-A with sets of its own: nothing is added.
        let (units, _) = push(&mut depay, 2, true, &[24, 0, 2, 0x67, 3, 0, 2, 0x68, 4, 0, 1, 0x65]);
        assert_eq!(&units[0].data[..], [0, 0, 0, 2, 0x67, 3, 0, 0, 0, 2, 0x68, 4, 0, 0, 0, 1, 0x65]);
    }

    #[test]
    fn fragments_are_put_together_and_a_torn_one_is_dropped_alone() {
        let mut depay = h264();
        assert!(push(&mut depay, 1, false, &[0x7c, 0x81, 1, 2]).0.is_empty());
        let (units, dropped) = push(&mut depay, 1, true, &[0x7c, 0x41, 3]);
        assert_eq!((&units[0].data[..], dropped), (&[0, 0, 0, 4, 0x61, 1, 2, 3][..], 0));
        push(&mut depay, 2, false, &[0x7c, 0x81, 1]);
        let (units, dropped) = push(&mut depay, 3, true, &[0x61, 7]);
        assert_eq!((units.len(), units[0].stamp, dropped), (1, 3, 1));
        depay.lost();
        assert_eq!(push(&mut depay, 4, true, &[0x61, 7]).1, 1, "its first slice may be what was lost");
        assert_eq!(push(&mut depay, 5, true, &[0x61, 7]).1, 0);
        depay.damaged();
        assert_eq!(push(&mut depay, 6, true, &[0x61, 7]).1, 0, "nothing was under construction");
    }

    #[test]
    fn aac_frames_come_whole_together_or_in_pieces() {
        let mut depay = Depay::new(&Codec::Aac { rate: 48_000, channels: 2, config: vec![0x11, 0x90] });
        let (units, _) = push(&mut depay, 100, true, &[0, 32, 0, 16, 0, 8, 1, 2, 3]);
        let seen: Vec<_> = units.iter().map(|u| (u.stamp, u.data.to_vec())).collect();
        assert_eq!(seen, [(100, vec![1, 2]), (100 + 1024, vec![3])]);
        assert!(push(&mut depay, 7, false, &[0, 16, 0, 24, 1, 2]).0.is_empty());
        let (units, _) = push(&mut depay, 7, true, &[0, 16, 0, 24, 3]);
        assert_eq!(&units[0].data[..], [1, 2, 3]);
    }

    #[test]
    fn garbage_never_panics() {
        let mut state = 1_u32;
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        for codec in [
            Codec::H264 { sps: vec![], pps: vec![] },
            Codec::Aac { rate: 48_000, channels: 2, config: vec![0x11, 0x90] },
        ] {
            let mut depay = Depay::new(&codec);
            for _ in 0..20_000 {
                let length = usize::from(random()) % 40;
                let payload: Vec<u8> = (0..length).map(|_| random()).collect();
                push(&mut depay, u32::from(random() % 4), random() % 5 == 0, &payload);
            }
        }
    }
}
