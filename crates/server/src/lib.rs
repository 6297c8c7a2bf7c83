//! The server of Vitascope: doors (`http`, `rtsp`), what runs by itself (`live`, `jobs`, `events`), and the use cases they share (`app`).
//! `main.rs` reads the command line; `serve.rs` puts the parts together. Nobody imports `http`.

pub mod app;
pub mod client;
pub mod clock;
pub mod commands;
pub mod config;
pub mod events;
pub mod http;
pub mod jobs;
pub mod live;
pub mod metrics;
pub mod outbound;
pub mod random;
pub mod rtsp;
pub mod serve;
mod views;
