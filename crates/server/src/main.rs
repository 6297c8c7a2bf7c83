//! The command line of the server. Each subcommand is a few lines here and a function elsewhere.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use vitascope_model::Result;
use vitascope_model::error::Context;
use vitascope_server::client::{self, ClientCommand};
use vitascope_server::commands::KeyCommand;
use vitascope_server::config::{ClientConfig, Config};
use vitascope_server::{commands, serve};

/// A self-hosted video database for AI agents: the server, and commands for who uses one. Settings come from VITASCOPE_… variables and the file VITASCOPE_CONFIG names.
#[derive(Parser)]
#[command(name = "vitascope", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Server(ServerCommand),
    #[command(flatten)]
    Client(ClientCommand),
}

/// What works on the data folder and with the settings of a server.
#[derive(Subcommand)]
enum ServerCommand {
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

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("vitascope: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().internal("start the runtime")?;
    match arguments.command {
        Command::Server(command) => run_server(&runtime, command).map(|()| ExitCode::SUCCESS),
        // A client may be anywhere: the server's settings do not concern it, and it keeps no log.
        Command::Client(command) => Ok(runtime.block_on(client::run(command, ClientConfig::from_environment()))),
    }
}

fn run_server(runtime: &tokio::runtime::Runtime, command: ServerCommand) -> Result<()> {
    let config = Config::from_environment()?;
    start_log(&config);
    match command {
        ServerCommand::Serve => runtime.block_on(serve::run(config)),
        ServerCommand::Key { what } => runtime.block_on(commands::key(config, what.unwrap_or(KeyCommand::Mint))),
        ServerCommand::WebhookSecret { rotate } => runtime.block_on(commands::webhook_secret(config, rotate)),
        ServerCommand::Models => commands::models(&config),
        ServerCommand::Doctor => runtime.block_on(commands::doctor(&config)),
        ServerCommand::Check { deep, repair } => runtime.block_on(commands::check(&config, deep, repair)),
        ServerCommand::Routes => {
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
