//! The RECORD door (RFC 2326, interleaved TCP): publishers push H.264 and AAC, samples with wall times come out.
//! The session is free of sockets and timers, the depacketiser of everything; what becomes of samples is `live`'s business.

mod clock;
mod depay;
mod framing;
mod listener;
mod sdp;
mod session;
mod track;
mod transport;

pub use listener::serve;
