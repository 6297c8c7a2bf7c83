//! The sockets and timers of the RECORD door: one task a connection. A panic in a parser ends one connection, not the server.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use vitascope_model::error::Context;
use vitascope_model::{Error, Result};

use super::framing::{Found, Framing};
use super::session::Session;
use crate::app::App;

/// A publisher that is silent for so long is gone, and its path is free again. While it records only RTP and RTCP count
/// as signs of life.
const SILENCE: Duration = Duration::from_secs(10);
/// Journals are flushed so often: less than a second of media is ever only in memory.
const TICK: Duration = Duration::from_millis(250);
/// Who does not take an answer within so long is gone.
const WRITE_WITHIN: Duration = Duration::from_secs(10);
/// Room for what the kernel has: few wake-ups, and few copies of what is incomplete.
const READ_SIZE: usize = 64 << 10;

/// Accepts publishers until shutdown.
pub async fn serve(app: App, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = app.shutdown.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection_app = app.clone();
                app.spawn(async move {
                    if let Err(error) = connection(stream, connection_app).await {
                        tracing::warn!(%peer, %error, "a publisher's connection ended");
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, say: there is nothing to do but to let others finish.
                tracing::error!(%error, "a publisher could not be accepted");
                tokio::time::sleep(TICK).await;
            }
        }
    }
}

async fn connection(mut stream: TcpStream, app: App) -> Result<()> {
    stream.set_nodelay(true).internal("set up a connection")?;
    let shutdown = app.shutdown.clone();
    let mut session = Session::new(app.clone());
    let mut framing = Framing::default();
    let talk = AssertUnwindSafe(converse(&mut stream, &app, &mut session, &mut framing)).catch_unwind();
    let done = tokio::select! {
        done = talk => done.unwrap_or_else(|_| Err(Error::internal("a publisher made the server stumble"))),
        () = shutdown.cancelled() => Ok(()),
    };
    // However it ended, what came is kept.
    session.end(false).await;
    done
}

/// Until the publisher has gone, was asked to go, or is no longer understood.
async fn converse(stream: &mut TcpStream, app: &App, session: &mut Session, framing: &mut Framing) -> Result<()> {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    while !session.closed {
        framing.buffer.reserve(READ_SIZE);
        let cancelled = session.cancelled();
        tokio::select! {
            read = stream.read_buf(&mut framing.buffer) => {
                if read.internal("read from a publisher")? == 0 {
                    return Ok(());
                }
            }
            _ = ticks.tick() => {
                session.tick()?;
                if heard.elapsed() > SILENCE {
                    return Err(Error::unavailable("the publisher fell silent"));
                }
                continue;
            }
            () = cancelled.cancelled() => return Ok(()),
        }
        let (answers, is_alive) = consume(app, session, framing).await?;
        if is_alive {
            heard = Instant::now();
        }
        if !answers.is_empty() {
            timeout(WRITE_WITHIN, stream.write_all(&answers))
                .await
                .internal("answer a publisher")?
                .internal("answer a publisher")?;
        }
    }
    Ok(())
}

/// Takes every whole message out of the buffer; returns the answers to send, and whether there was a sign of life.
async fn consume(app: &App, session: &mut Session, framing: &mut Framing) -> Result<(Vec<u8>, bool)> {
    let arrival = app.now();
    let (mut answers, mut is_alive) = (Vec::new(), false);
    while !session.closed {
        match framing.next(session.recording, &|channel, head| session.knows(channel, head))? {
            Found::Frame { channel, body } => {
                is_alive = true;
                session.frame(channel, &body, arrival)?;
            }
            Found::Request(request) => {
                is_alive |= !session.recording;
                session.request(&request).await.write(&mut answers).internal("write an answer")?;
            }
            Found::Garbage(bytes) => {
                tracing::warn!(bytes, "garbage from a publisher was skipped");
                session.damaged();
            }
            Found::Nothing => break,
        }
    }
    Ok((answers, is_alive))
}
