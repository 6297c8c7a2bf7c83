//! The small subcommands: they print for a person and exit.
#![expect(clippy::print_stdout, reason = "printing is what these commands are for")]

use std::sync::Arc;
use std::time::Duration;

use vitascope_ai::models::Installed;
use vitascope_media::process::{CommandLine, Program, output};
use vitascope_model::{Clock, Error, Result};

use crate::app::{App, account, check, open_objects, webhook};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::http::route_list;

/// What is done with the API keys of the installation's owner.
#[derive(clap::Subcommand)]
pub enum KeyCommand {
    /// Mint another key and print it; its hash is all that is kept.
    Mint,
    /// List the keys that are good: id, beginning, since when, and the collections that one is bound to.
    List,
    /// End a key, the client tokens that it minted, and the sockets of both; a running server closes them within a second.
    Revoke {
        /// The key itself, its id, or how it begins, as the list has it.
        key: String,
    },
}

/// Works on the data folder, so it needs no key and may run beside the server.
pub async fn key(config: Config, what: KeyCommand) -> Result<()> {
    let app = App::open(config, Arc::new(SystemClock::new())).await?;
    let minted = account::bootstrap(&app).await?;
    let user = app.store.find_first_user().await?.ok_or_else(|| Error::internal("there is no user"))?;
    match what {
        KeyCommand::Mint => match minted {
            Some(key) => println!("{key}"),
            None => println!("{}", account::mint_key(&app, &user).await?),
        },
        KeyCommand::List => {
            for key in app.store.api_keys_of(&user).await? {
                let bound = key.scope.collections().map(|ids| ids.iter().map(ToString::to_string).collect::<Vec<_>>());
                let sees = bound.map_or_else(|| "the whole account".to_owned(), |ids| ids.join(" "));
                println!("{}  {:<11}  {}  {sees}", key.id, key.hint, key.created_at);
            }
        }
        KeyCommand::Revoke { key } => {
            let revoked = account::revoke_key(&app, &user, key).await?;
            println!("revoked {}", revoked.id);
        }
    }
    app.store.close().await;
    Ok(())
}

/// Prints the secret that webhooks are signed with, after a change if that is wished.
pub async fn webhook_secret(config: Config, rotate: bool) -> Result<()> {
    let app = App::open(config, Arc::new(SystemClock::new())).await?;
    let user = app.store.find_first_user().await?.ok_or_else(|| Error::not_found("a user: start the server once"))?;
    let secret = if rotate { webhook::rotate_secret(&app, &user).await? } else { webhook::secret(&app, &user).await? };
    println!("{}", secret.secret);
    app.store.close().await;
    Ok(())
}

/// Lists the installed models; fails if a file is missing or not what was installed.
pub fn models(config: &Config) -> Result<()> {
    let installed = Installed::read(&config.models_dir)?;
    for model in installed.list() {
        println!("{:<24} {:>6.1} MB  {}", model.name, model.bytes() as f64 / 1e6, model.licence);
    }
    installed.verify()?;
    println!("all files in {} are what was installed", config.models_dir.display());
    Ok(())
}

/// Verifies rows against objects; fails if anything is damaged, or is left that nothing speaks of. It only reads, unless it is asked to repair.
pub async fn check(config: &Config, deep: bool, repair: bool) -> Result<()> {
    let found = check::check(config, deep, SystemClock::new().now()).await?;
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    println!("tracks   {}, {} of them growing", found.tracks, found.open_tracks);
    println!("chunks   {}, {:.1} MB, {} samples", found.chunks, megabytes(found.bytes), found.samples);
    println!("promised {} chunks that are still to be encoded", found.promised);
    println!("journals {} chunks that are not sealed yet", found.unsealed);
    if let Some((count, bytes)) = found.unsent {
        println!("unsent   {count} objects that the object store does not have yet, {:.1} MB", megabytes(bytes));
    }
    println!("waiting  {} objects that were deleted, {:.1} MB", found.waiting.0, megabytes(found.waiting.1 as u64));
    let orphans = found.orphans.iter().map(|o| o.bytes).sum();
    println!("orphans  {} objects that nothing speaks of, {:.1} MB", found.orphans.len(), megabytes(orphans));
    for orphan in &found.orphans {
        println!("orphan   {} ({} bytes)", orphan.key, orphan.bytes);
    }
    for note in &found.notes {
        println!("note     {note}");
    }
    for damage in &found.damage {
        println!("damaged  {damage}");
    }
    let mut left = found.orphans.len();
    if repair {
        let removed = check::remove_orphans(config, &found).await?;
        println!("removed  {removed} orphans");
        left -= removed;
    }
    match (found.damage.len(), left) {
        (0, 0) => Ok(()),
        (0, n) => Err(Error::internal(format!("{n} objects are orphans: --repair removes them"))),
        (n, _) => Err(Error::internal(format!("{n} things are damaged"))),
    }
}

/// Checks what the server needs from the machine.
pub async fn doctor(config: &Config) -> Result<()> {
    let mut checks = vec![
        ("ffmpeg", ffmpeg_version().await),
        ("models", Installed::read(&config.models_dir).and_then(|m| m.verify()).map(|()| "verified".to_owned())),
        ("data folder", writable(&config.data_dir).map(|()| config.data_dir.display().to_string())),
    ];
    if config.objects.remote.is_some() {
        let tried = async { open_objects(config)?.try_remote().await };
        checks.push(("object store", tried.await.map(Option::unwrap_or_default)));
    }
    let mut missing = 0;
    for (what, found) in checks {
        match found {
            Ok(detail) => println!("ok       {what}: {detail}"),
            Err(error) => {
                missing += 1;
                println!("missing  {what}: {error}");
            }
        }
    }
    if missing == 0 {
        Ok(())
    } else {
        Err(Error::unavailable(format!("{missing} of the parts above are missing; ./run setup installs them")))
    }
}

async fn ffmpeg_version() -> Result<String> {
    let line = CommandLine::new(Program::Ffmpeg, ["-hide_banner", "-version"]);
    let text = output(&line, 1 << 20, Duration::from_secs(10)).await?;
    Ok(String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned())
}

fn writable(folder: &std::path::Path) -> Result<()> {
    use vitascope_model::error::Context;
    std::fs::create_dir_all(folder).internal(format_args!("make {}", folder.display()))?;
    let probe = folder.join(".writable");
    std::fs::write(&probe, b"").internal(format_args!("write to {}", folder.display()))?;
    std::fs::remove_file(&probe).internal(format_args!("write to {}", folder.display()))
}

/// Prints `done METHOD PATH` or `501 METHOD PATH` for every operation.
pub fn routes() {
    let routes = route_list();
    for (method, path) in routes.built {
        println!("done {method} {path}");
    }
    for (method, path) in routes.unbuilt {
        println!("501 {method} {path}");
    }
}
