//! The hands on bytes: codecs, tracks, playlists, fMP4, PCM, and the only place that starts a process.
//! No SQL, no sockets, no wire JSON; what is stored where is the `store`'s business and what is served is the `server`'s.

pub mod camera;
pub mod codec;
pub mod compile;
pub mod encoder;
pub mod faststart;
pub mod flv;
mod fmp4;
pub mod frame;
pub mod image;
pub mod index;
pub mod journal;
pub mod mp4;
pub mod pcm;
pub mod probe;
pub mod process;
pub mod promise;
mod reading;
pub mod recovery;
pub mod site;
pub mod track;
pub mod webm;
