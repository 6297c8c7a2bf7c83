//! The byte stream of a connection cut into requests and interleaved frames, and the way back after garbage.
//! Everything is capped: a request, a body, the garbage of a whole connection. Nothing here knows what the messages mean.

use bytes::{Buf, Bytes, BytesMut};
use rtsp_types::{Message, ParseError, Request};
use vitascope_model::{Error, Result};

/// More than the largest interleaved frame (4 + 65535 bytes); a longer request is refused.
const MAX_MESSAGE: usize = 80 << 10;
/// So many bytes of garbage in one connection, and it ends.
const MAX_GARBAGE: usize = 256 << 10;
/// What it takes to recognise a frame: its header, and the first two bytes of the packet.
const LOOK_AHEAD: usize = 6;
const METHODS: [&[u8]; 7] =
    [b"OPTIONS ", b"ANNOUNCE ", b"SETUP ", b"RECORD ", b"TEARDOWN ", b"GET_PARAMETER ", b"SET_PARAMETER "];

/// What was found at the front of the stream.
#[derive(Debug)]
pub(super) enum Found {
    Request(Request<Vec<u8>>),
    Frame {
        channel: u8,
        body: Bytes,
    },
    /// Bytes that were skipped: what is under construction is damaged.
    Garbage(usize),
    /// More must be read first.
    Nothing,
}

#[derive(Debug, Default)]
pub(super) struct Framing {
    pub(super) buffer: BytesMut,
    garbage: usize,
}

impl Framing {
    /// The next message. `knows` tells whether a frame on a channel that begins with some bytes can be one of ours;
    /// before anything is recorded (`recording` false) garbage ends the connection at once.
    pub(super) fn next(&mut self, recording: bool, knows: &impl Fn(u8, &[u8]) -> bool) -> Result<Found> {
        loop {
            let Some(&first) = self.buffer.first() else { return Ok(Found::Nothing) };
            match first {
                b'\r' | b'\n' => self.buffer.advance(1),
                b'$' if self.is_ours(knows) => return Ok(self.frame()),
                b'$' => return self.skip(recording, knows),
                _ if METHODS.iter().any(|m| self.buffer.starts_with(m) || m.starts_with(&self.buffer)) => {
                    return self.request(recording, knows);
                }
                _ => return self.skip(recording, knows),
            }
        }
    }

    fn is_ours(&self, knows: &impl Fn(u8, &[u8]) -> bool) -> bool {
        self.buffer.get(1).is_none_or(|&channel| knows(channel, self.buffer.get(4..LOOK_AHEAD).unwrap_or_default()))
    }

    fn frame(&mut self) -> Found {
        let size = match self.buffer[..] {
            [_, _, high, low, ..] => usize::from(u16::from_be_bytes([high, low])),
            _ => return Found::Nothing,
        };
        if self.buffer.len() < 4 + size {
            return Found::Nothing;
        }
        let channel = self.buffer[1];
        self.buffer.advance(4);
        Found::Frame { channel, body: self.buffer.split_to(size).freeze() }
    }

    fn request(&mut self, recording: bool, knows: &impl Fn(u8, &[u8]) -> bool) -> Result<Found> {
        match Message::<Vec<u8>>::parse(&self.buffer[..]) {
            Ok((Message::Request(request), used)) => {
                self.buffer.advance(used);
                Ok(Found::Request(request))
            }
            Ok((_, used)) => {
                self.buffer.advance(used);
                Ok(Found::Garbage(used))
            }
            Err(ParseError::Incomplete(_)) if self.buffer.len() <= MAX_MESSAGE => Ok(Found::Nothing),
            Err(ParseError::Incomplete(_)) => Err(Error::invalid("a request is too long")),
            Err(ParseError::Error) => self.skip(recording, knows),
        }
    }

    fn skip(&mut self, recording: bool, knows: &impl Fn(u8, &[u8]) -> bool) -> Result<Found> {
        if !recording {
            return Err(Error::invalid("this is not RTSP"));
        }
        if self.buffer.len() <= LOOK_AHEAD {
            return Ok(Found::Nothing);
        }
        let skipped = self.way_back(knows);
        self.buffer.advance(skipped);
        self.garbage += skipped;
        if self.garbage > MAX_GARBAGE {
            return Err(Error::invalid("too much garbage"));
        }
        Ok(Found::Garbage(skipped))
    }

    /// How much to skip to what looks like a frame of ours that is followed by another one, or by the end of what we have.
    fn way_back(&self, knows: &impl Fn(u8, &[u8]) -> bool) -> usize {
        let is_frame = |b: &[u8]| match *b {
            [b'$', channel, _, _, ref head @ ..] => knows(channel, &head[..head.len().min(2)]),
            _ => false,
        };
        let is_good = |&at: &usize| {
            let here = &self.buffer[at..];
            let size = usize::from(u16::from_be_bytes([here[2], here[3]])) + 4;
            let follows =
                |next: &[u8]| next.len() < LOOK_AHEAD || is_frame(next) || METHODS.iter().any(|m| next.starts_with(m));
            is_frame(here) && here.get(size..).is_none_or(follows)
        };
        let last = self.buffer.len() - LOOK_AHEAD;
        (1..last).find(is_good).unwrap_or(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knows(channel: u8, head: &[u8]) -> bool {
        channel == 0 && head.first().is_none_or(|b| b >> 6 == 2) && head.get(1).is_none_or(|b| b & 0x7f == 96)
    }

    fn frame(length: u8) -> Vec<u8> {
        let mut out = vec![b'$', 0, 0, length + 2, 0x80, 0x60];
        out.extend(std::iter::repeat_n(7, length.into()));
        out
    }

    fn all(bytes: &[u8], recording: bool) -> Result<Vec<Found>> {
        let mut framing = Framing { buffer: bytes.into(), garbage: 0 };
        let mut found = Vec::new();
        loop {
            match framing.next(recording, &knows)? {
                Found::Nothing => return Ok(found),
                other => found.push(other),
            }
        }
    }

    #[test]
    fn requests_and_frames_are_cut_wherever_the_pieces_fall() {
        let mut bytes = b"OPTIONS rtsp://x/y RTSP/1.0\r\nCSeq: 1\r\n\r\n".to_vec();
        bytes.extend(frame(20));
        bytes.extend(b"TEARDOWN rtsp://x/y RTSP/1.0\r\nCSeq: 2\r\n\r\n");
        for cut in 0..bytes.len() {
            let mut framing = Framing::default();
            let mut kinds = Vec::new();
            for piece in [&bytes[..cut], &bytes[cut..]] {
                framing.buffer.extend_from_slice(piece);
                loop {
                    match framing.next(true, &knows).unwrap() {
                        Found::Request(request) => kinds.push(<&str>::from(request.method()).to_owned()),
                        Found::Frame { body, .. } => kinds.push(format!("frame {}", body.len())),
                        Found::Garbage(n) => kinds.push(format!("garbage {n}")),
                        Found::Nothing => break,
                    }
                }
            }
            assert_eq!(kinds, ["OPTIONS", "frame 22", "TEARDOWN"], "cut at {cut}");
        }
    }

    #[test]
    fn after_garbage_the_next_frame_is_found() {
        let mut bytes = frame(20);
        bytes.extend([b'$', 9, 3, 3, 1, 2, 3, b'$', b'$', 0, 1]);
        bytes.extend(frame(20));
        bytes.extend(frame(30));
        let frames = all(&bytes, true).unwrap().into_iter().filter(|f| matches!(f, Found::Frame { .. })).count();
        assert_eq!(frames, 3);
    }

    #[test]
    fn what_is_not_rtsp_is_refused_and_a_flood_ends() {
        assert!(all(b"GET / HTTP/1.1\r\n\r\n", false).is_err());
        assert!(all(&vec![0; 300 << 10], true).is_err());
        let huge = format!("ANNOUNCE rtsp://x RTSP/1.0\r\nContent-Length: 1000000000\r\n\r\n{}", "x".repeat(90 << 10));
        assert!(all(huge.as_bytes(), false).is_err());
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut state = 7_u32;
        for _ in 0..2000 {
            let bytes: Vec<u8> = (0..200)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    if state & 0x700 == 0 { b'$' } else { (state >> 24) as u8 }
                })
                .collect();
            drop(all(&bytes, state & 1 == 0));
        }
    }
}
