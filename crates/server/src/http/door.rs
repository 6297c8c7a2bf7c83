//! The door of HTTP, and the wire of each connection that comes through it. What a WebSocket sends is written in two places: frames of the hub
//! straight to the wire, all else by the WebSocket library; the wire sees to it that neither cuts the other's frames.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::events::{Outlet, Taken};

pub(super) struct Door(pub(super) TcpListener);

impl Listener for Door {
    type Io = Wire;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Wire, Self::Addr) {
        let (stream, from) = Listener::accept(&mut self.0).await;
        let (read, half) = stream.into_split();
        let out = Out { half, rest: Bytes::new(), owed: 0 };
        (Wire { read, write: WireEnd(Arc::new(Mutex::new(out))) }, from)
    }

    fn local_addr(&self) -> Result<Self::Addr> {
        self.0.local_addr()
    }
}

pub(super) struct Wire {
    read: OwnedReadHalf,
    write: WireEnd,
}

struct Out {
    half: OwnedWriteHalf,
    /// What remains of a frame of the hub.
    rest: Bytes,
    /// How much the library still has of what it began to write.
    owed: usize,
}

impl Out {
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while !self.rest.is_empty() {
            let count = ready!(Pin::new(&mut self.half).poll_write(cx, &self.rest))?;
            self.rest.advance(count);
        }
        Poll::Ready(Ok(()))
    }

    /// Lets the library write: all that it has, so that a frame ends where that ends.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        length: usize,
        write: impl FnOnce(Pin<&mut OwnedWriteHalf>, &mut Context<'_>) -> Poll<Result<usize>>,
    ) -> Poll<Result<usize>> {
        ready!(self.poll_rest(cx))?;
        let count = ready!(write(Pin::new(&mut self.half), cx))?;
        self.owed = length - count;
        Poll::Ready(Ok(count))
    }
}

/// The end of a connection that is written to.
#[derive(Clone)]
pub(super) struct WireEnd(Arc<Mutex<Out>>);

impl WireEnd {
    fn out(&self) -> MutexGuard<'_, Out> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outlet for WireEnd {
    fn try_write(&self, frame: &Bytes) -> Taken {
        let mut out = self.out();
        if out.owed > 0 || !out.rest.is_empty() {
            return Taken::Nothing;
        }
        match out.half.try_write(frame) {
            Ok(count) if count == frame.len() => Taken::All,
            Ok(count) => {
                out.rest = frame.slice(count..);
                Taken::Part
            }
            // Full, or broken: the task of the connection finds out.
            Err(_) => Taken::Nothing,
        }
    }
}

impl Connected<IncomingStream<'_, Door>> for WireEnd {
    fn connect_info(stream: IncomingStream<'_, Door>) -> WireEnd {
        stream.io().write.clone()
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        self.write.out().poll_write(cx, buf.len(), |half, cx| half.poll_write(cx, buf))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        let length = bufs.iter().map(|b| b.len()).sum();
        self.write.out().poll_write(cx, length, |half, cx| half.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.write.out().poll_rest(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.write.out().half).poll_shutdown(cx)
    }
}
