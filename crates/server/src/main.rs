//! The command line of the server. Each subcommand is a few lines here and a function elsewhere.

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use vitascope_model::Result;
use vitascope_model::error::Context;
use vitascope_server::commands::KeyCommand;
use vitascope_server::config::Config;
use vitascope_server::{commands, serve};

/// A self-hosted video database for AI agents. Settings come from VITASCOPE_… variables and the file VITASCOPE_CONFIG names.
#[derive(Parser)]
#[command(name = "vitascope", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    Serve,
    /// API keys: mint another (so without a word more), list them, revoke one.
    Key {
        #[command(subcommand)]
        what: Option<KeyCommand>,
    },
    /// Print the secret that webhooks are signed with (`whsec_…`).
    WebhookSecret {
        /// Change it first; what it replaces is good for another day.
        #[arg(long)]
        rotate: bool,
    },
    /// List the installed models and verify their checksums.
    Models,
    /// Say whether everything the server needs is there.
    Doctor,
    /// Verify that what the database speaks of is on the disk, and name what is on the disk that nothing speaks of.
    Check {
        /// Read every object, and count its samples.
        #[arg(long)]
        deep: bool,
        /// Remove objects that nothing has spoken of for an hour.
        #[arg(long)]
        repair: bool,
    },
    /// List every operation of the contract: built, or 501.
    Routes,
}

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vitascope: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments = Arguments::parse();
    let config = Config::from_environment()?;
    start_log(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().internal("start the runtime")?;
    match arguments.command {
        Command::Serve => runtime.block_on(serve::run(config)),
        Command::Key { what } => runtime.block_on(commands::key(config, what.unwrap_or(KeyCommand::Mint))),
        Command::WebhookSecret { rotate } => runtime.block_on(commands::webhook_secret(config, rotate)),
        Command::Models => commands::models(&config),
        Command::Doctor => runtime.block_on(commands::doctor(&config)),
        Command::Check { deep, repair } => runtime.block_on(commands::check(&config, deep, repair)),
        Command::Routes => {
            commands::routes();
            Ok(())
        }
    }
}

fn start_log(config: &Config) {
    let filter = EnvFilter::try_new(&config.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if config.log_json { log.json().init() } else { log.init() }
}
