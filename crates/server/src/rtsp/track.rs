//! One media section that was set up: its interleaved channels, its depacketiser and its clock.
//! What order its samples must keep, and what becomes of them, is the session's business.

use rtcp_types::{Compound, Packet};
use rtp_types::RtpPacket;
use vitascope_media::codec::Codec;

use super::clock::TrackClock;
use super::depay::{Depay, Unit};
use super::sdp::Announced;

pub(super) struct Track {
    /// Which of the announced sections.
    pub(super) media: usize,
    /// The channel of RTP; RTCP has the next one.
    pub(super) channel: u8,
    payload_type: u8,
    next_sequence: Option<u16>,
    pub(super) depay: Depay,
    pub(super) clock: TrackClock,
    pub(super) last_ticks: Option<i64>,
    /// Whether it is the one that the path takes; the others are let in and forgotten.
    pub(super) is_recorded: bool,
}

impl Track {
    pub(super) fn new(media: usize, channel: u8, announced: &Announced, is_recorded: bool) -> Track {
        // What is not recorded is still cut out of the stream: any depacketiser will do for that.
        let codec = announced.codec.clone().unwrap_or(Codec::H264 { sps: Vec::new(), pps: Vec::new() });
        Track {
            media,
            channel,
            payload_type: announced.payload_type,
            next_sequence: None,
            depay: Depay::new(&codec),
            clock: TrackClock::new(codec.timescale()),
            last_ticks: None,
            is_recorded,
        }
    }

    /// Whether an interleaved frame on `channel` that begins with `head` can be one of ours.
    pub(super) fn knows(&self, channel: u8, head: &[u8]) -> bool {
        match head {
            [] => self.channel == channel & !1,
            [v, rest @ ..] if self.channel == channel => {
                v >> 6 == 2 && rest.first().is_none_or(|pt| pt & 0x7f == self.payload_type)
            }
            [v, rest @ ..] if self.channel + 1 == channel => {
                v >> 6 == 2 && rest.first().is_none_or(|pt| (200..=207).contains(pt))
            }
            _ => false,
        }
    }

    /// One RTCP packet: of interest are sender reports.
    pub(super) fn reports(&mut self, body: &[u8]) {
        for packet in Compound::parse(body).into_iter().flatten() {
            if let Ok(Packet::Sr(report)) = packet {
                self.clock.report(report.ntp_timestamp(), report.rtp_timestamp());
            }
        }
    }

    /// One RTP packet; finished units go to `units`. Returns how many were dropped.
    pub(super) fn packet(&mut self, body: &[u8], units: &mut Vec<Unit>) -> u32 {
        let Ok(packet) = RtpPacket::parse(body) else {
            self.depay.lost();
            return 0;
        };
        if packet.payload_type() != self.payload_type {
            return 0;
        }
        let sequence = packet.sequence_number();
        if self.next_sequence.is_some_and(|expected| expected != sequence) {
            self.depay.lost();
        }
        self.next_sequence = Some(sequence.wrapping_add(1));
        self.depay.push(packet.timestamp(), packet.marker_bit(), packet.payload(), units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_never_panics() {
        let announced = Announced { codec: None, payload_type: 96, control: String::new() };
        let mut track = Track::new(0, 0, &announced, true);
        let (mut state, mut units) = (11_u32, Vec::new());
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        for sequence in 0..20_000_u16 {
            let mut body: Vec<u8> = (0..random() % 48).map(|_| random()).collect();
            // Some look like what they should be, and then lie about their lengths.
            if let (Some(first), 0..200) = (body.first_mut(), random()) {
                *first = if *first & 3 == 0 { 0x80 | *first & 0x3f } else { 0x80 };
            }
            if let (Some(kind), 0..200) = (body.get_mut(1), random()) {
                *kind = if *kind & 1 == 0 { 96 } else { 200 };
            }
            if let (Some(number), 0..200) = (body.get_mut(2..4), random()) {
                number.copy_from_slice(&sequence.to_be_bytes());
            }
            track.reports(&body);
            track.packet(&body, &mut units);
        }
        assert!(!units.is_empty(), "some packets were whole");
    }
}
