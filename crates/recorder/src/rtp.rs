//! RTP as we send it over RTSP's own connection: H.264 (RFC 6184: single NAL units and FU-A), AAC-hbr (RFC 3640) and sender reports.
//! RTP time is one straight line of wall time for the whole life of a channel, and the reports say which line: that is how the
//! channels, each on a connection of its own, come to lie on one timeline. Pure: no sockets, no clock.

use bytes::{BufMut, BytesMut};
use vitascope_media::codec::{Codec, Sample};
use vitascope_model::{Error, Result, Span, WallTime};

/// What fits comfortably in any receiver's packet buffer, though TCP would carry more.
const PAYLOAD: usize = 1400;
const PAYLOAD_TYPE: u8 = 96;
/// Interleaved channels, as we ask for them in SETUP.
const RTP_CHANNEL: u8 = 0;
const RTCP_CHANNEL: u8 = 1;
/// From 1900 to 1970, in seconds.
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// Turns the samples of one channel into packets, ready for the wire.
#[derive(Debug)]
pub(crate) struct Packetiser {
    video: bool,
    rate: u32,
    ssrc: u32,
    base: u32,
    sequence: u16,
    /// A moment on the line: these ticks are this wall time.
    anchor: Option<(i64, WallTime)>,
    packets: u32,
    octets: u32,
}

impl Packetiser {
    /// `random` makes the SSRC, the first sequence number and the first RTP time.
    pub(crate) fn new(codec: &Codec, random: [u8; 10]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j] = random;
        Packetiser {
            video: codec.is_video(),
            rate: codec.timescale(),
            ssrc: u32::from_be_bytes([a, b, c, d]),
            base: u32::from_be_bytes([e, f, g, h]),
            sequence: u16::from_be_bytes([i, j]),
            anchor: None,
            packets: 0,
            octets: 0,
        }
    }

    /// Fixes the line, if it is not fixed yet; reports can be made from then on.
    pub(crate) fn anchor(&mut self, sample: &Sample) {
        self.anchor.get_or_insert((sample.ticks, sample.wall));
    }

    /// Whether no line is fixed yet.
    pub(crate) fn is_new(&self) -> bool {
        self.anchor.is_none()
    }

    /// The packets of one sample, each in its interleaved frame.
    pub(crate) fn sample(&mut self, sample: &Sample, wire: &mut BytesMut) -> Result<()> {
        self.anchor(sample);
        let time = self.base.wrapping_add(sample.ticks as u32);
        if !self.video {
            let size = u16::try_from(sample.data.len()).ok().filter(|n| *n < 1 << 13);
            let size = size.ok_or_else(|| Error::internal("an AAC frame that is too long"))?;
            let [high, low] = (size << 3).to_be_bytes();
            self.packet(time, true, &[0, 16, high, low], &sample.data, wire);
            return Ok(());
        }
        let mut rest = &sample.data[..];
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let torn = || Error::internal("a torn NAL unit");
            let unit = tail.get(..length).filter(|u| !u.is_empty()).ok_or_else(torn)?;
            rest = &tail[length..];
            self.nal_unit(time, unit, rest.is_empty(), wire);
        }
        Ok(())
    }

    fn nal_unit(&mut self, time: u32, unit: &[u8], last: bool, wire: &mut BytesMut) {
        if unit.len() <= PAYLOAD {
            return self.packet(time, last, &[], unit, wire);
        }
        let (indicator, kind) = (unit[0] & 0xe0 | 28, unit[0] & 31);
        let pieces = unit[1..].chunks(PAYLOAD - 2);
        let count = pieces.len();
        for (n, piece) in pieces.enumerate() {
            let (first, end) = (n == 0, n + 1 == count);
            let header = kind | u8::from(first) << 7 | u8::from(end) << 6;
            self.packet(time, last && end, &[indicator, header], piece, wire);
        }
    }

    fn packet(&mut self, time: u32, marker: bool, prefix: &[u8], payload: &[u8], wire: &mut BytesMut) {
        let length = prefix.len() + payload.len();
        wire.reserve(16 + length);
        wire.put_slice(&[b'$', RTP_CHANNEL]);
        wire.put_u16((12 + length) as u16);
        wire.put_slice(&[0x80, PAYLOAD_TYPE | u8::from(marker) << 7]);
        wire.put_u16(self.sequence);
        wire.put_u32(time);
        wire.put_u32(self.ssrc);
        wire.put_slice(prefix);
        wire.put_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(length as u32);
    }

    /// A sender report for `now` in its interleaved frame; nothing before the first sample is known.
    pub(crate) fn report(&self, now: WallTime, wire: &mut BytesMut) {
        let Some((ticks, wall)) = self.anchor else { return };
        let time = self.base.wrapping_add((ticks + (now - wall).to_ticks(self.rate)) as u32);
        let micros = now.0.max(0) as u64;
        let name = b"vitascope-capture";
        // SDES: its header, our SSRC, one item, and zeros up to a whole word, at least one.
        let sdes_words = 2 + (2 + name.len() + 1).div_ceil(4);
        wire.put_slice(&[b'$', RTCP_CHANNEL]);
        wire.put_u16((28 + 4 * sdes_words) as u16);
        wire.put_slice(&[0x80, 200, 0, 6]);
        wire.put_u32(self.ssrc);
        wire.put_u32((micros / 1_000_000 + NTP_TO_UNIX) as u32);
        wire.put_u32((((micros % 1_000_000) << 32) / 1_000_000) as u32);
        wire.put_u32(time);
        wire.put_u32(self.packets);
        wire.put_u32(self.octets);
        wire.put_slice(&[0x81, 202]);
        wire.put_u16(sdes_words as u16 - 1);
        wire.put_u32(self.ssrc);
        wire.put_slice(&[1, name.len() as u8]);
        wire.put_slice(name);
        wire.put_bytes(0, 4 * sdes_words - 8 - 2 - name.len());
    }
}

/// Samples that wait for a connection: bounded in time, and always beginning where a decoder can begin.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    samples: std::collections::VecDeque<Sample>,
    /// After a break: what comes before the next key frame cannot be shown.
    awaits_key: bool,
    pub lost: u64,
}

impl Backlog {
    /// Longer than the distance of key frames, so that there is always one to begin with.
    const MOST: Span = Span::seconds(6);

    pub(crate) fn push(&mut self, sample: Sample) {
        if self.awaits_key && !sample.key {
            self.lost += 1;
            return;
        }
        self.awaits_key = false;
        let newest = sample.wall;
        self.samples.push_back(sample);
        while self.samples.front().is_some_and(|first| newest - first.wall > Self::MOST) {
            self.drop_to_next_key();
        }
    }

    fn drop_to_next_key(&mut self) {
        self.lost += u64::from(self.samples.pop_front().is_some());
        while self.samples.front().is_some_and(|s| !s.key) {
            self.samples.pop_front();
            self.lost += 1;
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Sample> {
        self.samples.pop_front()
    }

    pub(crate) fn first(&self) -> Option<&Sample> {
        self.samples.front()
    }

    /// The connection broke: the next one begins at a key frame.
    pub(crate) fn broken(&mut self) {
        while self.samples.front().is_some_and(|s| !s.key) {
            self.samples.pop_front();
            self.lost += 1;
        }
        self.awaits_key = self.samples.is_empty();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: WallTime = WallTime(1_764_000_000_500_000);

    fn video() -> Packetiser {
        Packetiser::new(&Codec::H264 { sps: vec![], pps: vec![] }, [1, 2, 3, 4, 0, 0, 0, 100, 0xff, 0xff])
    }

    fn sample(ticks: i64, key: bool, data: Vec<u8>) -> Sample {
        Sample { ticks, key, data: data.into(), wall: WALL + Span::of_ticks(ticks, 90_000) }
    }

    /// Cuts a wire into (channel, packet).
    fn frames(mut wire: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Vec::new();
        while let Some((head, rest)) = wire.split_first_chunk::<4>() {
            assert_eq!(head[0], b'$');
            let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
            frames.push((head[1], rest[..length].to_vec()));
            wire = &rest[length..];
        }
        frames
    }

    #[test]
    fn a_long_unit_is_cut_and_comes_together_again() {
        let unit: Vec<u8> = std::iter::once(0x65).chain((0..5000u32).map(|n| n as u8)).collect();
        let mut data = vec![0, 0, 0, 2, 0x67, 9];
        data.extend((unit.len() as u32).to_be_bytes());
        data.extend(&unit);
        let mut wire = BytesMut::new();
        let mut packetiser = video();
        packetiser.sample(&sample(900, true, data), &mut wire).unwrap();
        let packets = frames(&wire);
        assert_eq!(packets.len(), 5);
        let heads: Vec<_> =
            packets.iter().map(|(_, p)| (p[1], u16::from_be_bytes([p[2], p[3]]), p[7], p[12])).collect();
        // (marker and type, sequence, low byte of time 100 + 900, NAL or FU indicator)
        assert_eq!(heads[0], (96, 0xffff, 232, 0x67));
        assert_eq!(heads[1], (96, 0, 232, 0x7c));
        assert_eq!(heads[4], (96 | 128, 3, 232, 0x7c));
        assert_eq!((packets[1].1[13], packets[2].1[13], packets[4].1[13]), (0x85, 0x05, 0x45));
        let again: Vec<u8> = packets[1..].iter().flat_map(|(_, p)| p[14..].to_vec()).collect();
        assert_eq!(again, unit[1..]);
    }

    #[test]
    fn an_aac_frame_is_one_packet_with_its_size() {
        let codec = Codec::Aac { rate: 48_000, channels: 2, config: vec![] };
        let mut packetiser = Packetiser::new(&codec, [0; 10]);
        let mut wire = BytesMut::new();
        packetiser.sample(&sample(0, true, vec![7; 300]), &mut wire).unwrap();
        let packets = frames(&wire);
        assert_eq!(packets[0].1[12..18], [0, 16, (300u16 << 3 >> 8) as u8, (300u16 << 3) as u8, 7, 7]);
        assert!(packetiser.sample(&sample(0, true, vec![7; 8192]), &mut wire).is_err());
    }

    #[test]
    fn a_report_lies_on_the_line_of_the_packets() {
        let mut packetiser = video();
        let mut wire = BytesMut::new();
        packetiser.report(WALL, &mut wire);
        assert!(wire.is_empty(), "nothing is known yet");
        packetiser.anchor(&sample(180_000, true, vec![]));
        // Two seconds of ticks from the line's origin, so WALL + 2 s is 180 000; half a second later it is 225 000.
        packetiser.report(WALL + Span::millis(2500), &mut wire);
        let reports = frames(&wire);
        let report = &reports[0].1;
        assert_eq!((reports[0].0, report[1], report.len() % 4), (1, 200, 0));
        let word = |at: usize| u32::from_be_bytes(report[at..at + 4].try_into().unwrap());
        assert_eq!(u64::from(word(8)), 1_764_000_003 + NTP_TO_UNIX);
        assert_eq!(word(12), 0);
        assert_eq!(word(16), 100 + 225_000);
        assert_eq!(report[29], 202);
        assert_eq!(report.len(), 28 + 4 * (usize::from(u16::from_be_bytes([report[30], report[31]])) + 1));
    }

    #[test]
    fn a_backlog_is_bounded_and_begins_at_a_key_frame() {
        let mut backlog = Backlog::default();
        for n in 0..100 {
            backlog.push(sample(n * 9000, n % 35 == 0, vec![]));
        }
        let first = backlog.first().unwrap();
        assert!(first.key && first.ticks == 70 * 9000);
        assert_eq!(backlog.lost, 70);
        backlog.pop();
        backlog.broken();
        assert!(backlog.first().is_none());
        backlog.push(sample(101 * 9000, false, vec![]));
        assert!(backlog.first().is_none());
        backlog.push(sample(102 * 9000, true, vec![]));
        assert!(backlog.pop().is_some());
    }
}
