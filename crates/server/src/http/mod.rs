//! The wire: one file per resource holds its routes, its requests and its handlers. JSON that clients send or read exists here only
//! (what is pushed to them: `events::frames`). Handlers parse, call `app` or read the store, and answer; nothing else imports this room.

mod asset;
mod asset_transcript;
mod async_response;
mod audio;
mod billing;
mod capture;
mod capture_media;
mod capture_page;
mod capture_view;
mod collection;
mod compile;
mod deliver;
mod door;
mod download;
mod error;
mod expiring;
mod export;
mod extract;
mod file;
mod guard;
mod health;
mod image;
mod index;
mod ingest;
mod language;
mod link;
mod live_index;
mod playback;
mod player;
mod reply;
mod router;
mod rtstream;
mod search;
mod speech;
mod thumbnail;
mod transcode;
mod transcription;
mod tus;
mod unbuilt;
mod upload;
mod user;
mod video;
mod webhook;
mod websocket;

pub use router::{Operation, RouteList, route_list, serve};
