//! The recorder as its users have it: the built program, driven over stdio, on a virtual desktop, against a stand-in for the server.
//! Needs the packages xvfb, pulseaudio, pulseaudio-utils, ffmpeg and mpv.

#![expect(clippy::unwrap_used, reason = "in a test, a failed unwrap is a failed test")]

mod camera;
mod desk;
mod devices;
mod displays;
mod driver;
mod endings;
mod faults;
mod hidden;
mod install;
mod listing;
mod media;
mod recording;
mod rtsp_server;
mod server;
mod suspension;
mod sync;
mod x;
