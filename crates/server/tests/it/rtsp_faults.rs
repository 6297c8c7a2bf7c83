//! Publishers that break off, send garbage or never stop doing so: what was recorded before stays, what comes after goes on.
//! A proxy between ffmpeg and the server does the damage at a known picture.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use vitascope_model::{TimeRange, WallTime};

use crate::rtsp::{Live, clip, live, publish};

#[derive(Clone, Copy)]
enum Fault {
    /// So many random bytes between two packets.
    Garbage(usize),
    /// A thousand of them inside a packet, not the last of its picture.
    Wound,
    /// In the middle of a packet.
    HangUp,
}

/// Passes a publisher on to the server and does the damage after so many pictures. Returns how many it passed on whole.
async fn meddle(door: TcpListener, server: SocketAddr, after: usize, fault: Fault) -> usize {
    let (mut publisher, mut answers) = door.accept().await.unwrap().0.into_split();
    let (mut back, mut to_server) = TcpStream::connect(server).await.unwrap().into_split();
    let backward = tokio::spawn(async move { copy(&mut back, &mut answers).await });
    let (mut buffer, mut passed, mut is_done) = (Vec::new(), 0, false);
    // The server hangs up on a flood of garbage: then the rest cannot be passed on.
    'passing: while publisher.read_buf(&mut buffer).await.unwrap_or(0) > 0 {
        while let Some(size) = message(&buffer) {
            let message: Vec<u8> = buffer.drain(..size).collect();
            let is_media = message[0] == b'$' && message[1] == 0;
            let is_last = is_media && message[5] & 0x80 != 0;
            let mut sent = message.clone();
            if is_media && passed == after && !is_done {
                is_done = true;
                match fault {
                    Fault::Garbage(bytes) => drop(sent.splice(0..0, random(bytes))),
                    Fault::Wound if is_last => is_done = false,
                    Fault::Wound => drop(sent.splice(size / 2..size / 2, random(1000))),
                    Fault::HangUp => sent.truncate(size / 2),
                }
            }
            let is_sent = to_server.write_all(&sent).await.is_ok();
            if !is_sent || sent.len() < size {
                break 'passing;
            }
            passed += usize::from(is_last);
        }
    }
    drop(to_server);
    backward.abort();
    passed
}

/// The length of the first whole message: an interleaved frame, or a request with its body.
fn message(buffer: &[u8]) -> Option<usize> {
    let size = if buffer.first()? == &b'$' {
        4 + usize::from(u16::from_be_bytes([*buffer.get(2)?, *buffer.get(3)?]))
    } else {
        let head = 4 + buffer.windows(4).position(|w| w == b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
        let body = text.lines().find_map(|l| l.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        head + body.unwrap_or(0)
    };
    (buffer.len() >= size).then_some(size)
}

fn random(bytes: usize) -> Vec<u8> {
    let mut state = 9_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

impl Live {
    /// Publishes the clip's picture through the proxy; pictures passed, and samples sealed when the publication is over.
    async fn suffer(&self, after: usize, fault: Fault) -> (usize, i64) {
        let clip = clip(self.folder.path()).await;
        let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = self.urls[1].replace(&self.server.rtsp.to_string(), &door.local_addr().unwrap().to_string());
        let proxy = tokio::spawn(meddle(door, self.server.rtsp, after, fault));
        publish(&clip, "0:v", &url).await;
        let passed = proxy.await.unwrap();
        (passed, self.sealed().await)
    }

    async fn sealed(&self) -> i64 {
        let app = &self.server.app;
        let is_over = async {
            while !app.ingest.is_idle() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), is_over).await.unwrap();
        let track = app.store.find_rtstream_track(&self.rtstreams[1].parse().unwrap()).await.unwrap().unwrap();
        let ever = TimeRange::new(WallTime(0), WallTime(i64::MAX)).unwrap();
        app.store.list_chunks(&track.id, ever).await.unwrap().iter().map(|c| c.samples).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_breaks_off_loses_nothing_and_may_come_back_at_once() {
    let live = live().await;
    let (passed, sealed) = live.suffer(100, Fault::HangUp).await;
    assert_eq!((passed, sealed), (100, 100), "all but the torn packet");
    assert!(publish(&clip(live.folder.path()).await, "0:v", &live.urls[1]).await);
    assert_eq!(live.sealed().await, 100 + 300, "its track goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_between_packets_costs_nothing_and_inside_of_one_a_picture() {
    let live = live().await;
    assert_eq!(live.suffer(100, Fault::Garbage(1000)).await, (300, 300));
    assert_eq!(live.suffer(100, Fault::Wound).await, (300, 300 + 299));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_garbage_ends_the_connection_and_keeps_what_came_before() {
    let live = live().await;
    let (_, sealed) = live.suffer(100, Fault::Garbage(1 << 20)).await;
    assert!((99..=101).contains(&sealed), "{sealed} pictures");
}
