//! The commands of somebody who uses a server that runs, on this machine or elsewhere: everything goes over the API, with a key, as any
//! other client does it. No data folder is touched, and nothing of `app` is called. What each command does has a file of its own.

mod api;
mod download;
mod library;
mod meter;
mod playlist;
mod remembered;
mod show;
mod tus;
mod upload;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use vitascope_model::{Error, ErrorKind};

use self::api::Api;
use crate::config::ClientConfig;

/// As a shell has it for Ctrl+C.
const INTERRUPTED: u8 = 130;
const USUAL_SERVER: &str = "http://127.0.0.1:8484";

#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Send files, folders or URLs to a server. What was interrupted goes on where it was when the same command is given again.
    Upload(upload::UploadArguments),
    /// List what a server has: videos, audios, images, or collections.
    Ls(library::ListArguments),
    /// Print the URL of the page that plays a video, an audio or an rtstream, or that shows an image.
    Play(library::PlayArguments),
    /// Print the URLs of an exact range of a video or an rtstream, as a stream and as a page.
    Clip(download::ClipArguments),
    /// Save a video, an audio, an image or any stream as a file.
    Download(download::DownloadArguments),
}

/// Where the server is, and how to talk to it and to the user.
#[derive(Debug, Args)]
struct Terms {
    /// The server; VITASCOPE_SERVER or http://127.0.0.1:8484 if not given.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// An API key (sk-…). VITASCOPE_API_KEY keeps it out of the list of processes.
    #[arg(long)]
    key: Option<String>,
    /// One JSON document on stdout and nothing else there, errors included.
    #[arg(long)]
    json: bool,
}

impl Terms {
    fn api(&self, config: &ClientConfig) -> vitascope_model::Result<Api> {
        let server = self.server.as_deref().or(config.server.as_deref()).unwrap_or(USUAL_SERVER);
        let key = self.key.as_deref().or(config.key.as_deref()).ok_or_else(|| {
            Error::unauthenticated("no API key: set VITASCOPE_API_KEY or give --key (`vitascope key` mints one)")
        })?;
        Api::new(server, key)
    }
}

/// What a command has to say: to a person, and to a program. Lines of progress were shown before.
struct Said {
    text: String,
    json: Value,
    code: u8,
}

impl Said {
    fn new(text: impl Into<String>, json: Value) -> Said {
        Said { text: text.into(), json, code: 0 }
    }
}

pub async fn run(command: ClientCommand, config: ClientConfig) -> ExitCode {
    let as_json = command.terms().json;
    let work = async {
        match &command {
            ClientCommand::Upload(wish) => upload::upload(wish, &config).await,
            ClientCommand::Ls(wish) => library::list(wish, &config).await,
            ClientCommand::Play(wish) => library::play(wish, &config).await,
            ClientCommand::Clip(wish) => download::clip(wish, &config).await,
            ClientCommand::Download(wish) => download::download(wish, &config).await,
        }
    };
    tokio::select! {
        said = work => tell(as_json, said),
        _ = tokio::signal::ctrl_c() => tell_interrupted(as_json, matches!(command, ClientCommand::Upload(_))),
    }
}

impl ClientCommand {
    fn terms(&self) -> &Terms {
        match self {
            ClientCommand::Upload(wish) => &wish.terms,
            ClientCommand::Ls(wish) => &wish.terms,
            ClientCommand::Play(wish) => &wish.terms,
            ClientCommand::Clip(wish) => &wish.terms,
            ClientCommand::Download(wish) => &wish.terms,
        }
    }
}

fn tell_interrupted(as_json: bool, goes_on: bool) -> ExitCode {
    let said = if goes_on { "interrupted; the same command goes on where it was" } else { "interrupted" };
    if as_json {
        show::document(&json!({ "success": false, "error": { "code": "interrupted", "message": said } }));
    } else {
        eprintln!("\nvitascope: {said}");
    }
    INTERRUPTED.into()
}

fn tell(as_json: bool, said: vitascope_model::Result<Said>) -> ExitCode {
    match said {
        Ok(said) => {
            if as_json {
                show::document(&said.json);
            } else {
                show::text(&said.text);
            }
            said.code.into()
        }
        Err(error) => {
            if as_json {
                show::document(&json!({ "success": false, "error": described(&error) }));
            } else {
                eprintln!("vitascope: {error}");
            }
            exit_code(error.kind).into()
        }
    }
}

fn described(error: &Error) -> Value {
    json!({ "code": error.kind.code(), "message": error.to_string() })
}

/// For scripts: each asks for another next step. 2 is the command line's (clap) and 6 says that some of several things failed.
fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Unavailable => 3,
        ErrorKind::Unauthenticated | ErrorKind::PermissionDenied => 4,
        ErrorKind::NotFound | ErrorKind::Gone => 5,
        _ => 1,
    }
}
