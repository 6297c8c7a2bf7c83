//! The integration tests of the server: one binary, one module per subject. They run a whole server in this process on free ports,
//! with a clock that the test turns, and speak to it over its doors as a client would.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may as well panic")]

mod capture;
mod coverage;
mod deletion;
mod delivery;
mod harness;
mod images;
mod jobs;
mod keys;
mod listing;
mod live_indexes;
mod receiver;
mod retention;
mod rtsp;
mod rtsp_faults;
mod scopes;
mod socket;
mod sockets;
mod storage;
mod takeouts;
mod tidy;
mod uploads;
mod usage;
mod webhooks;
