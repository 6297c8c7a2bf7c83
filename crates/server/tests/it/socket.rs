//! A small WebSocket client: it opens, reads text frames and the close frame, and reads only when it is asked to.
//! Enough to be a slow client, which a finished library would not let us be.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::harness::{KEY, TestServer};

pub(crate) struct Socket(BufReader<TcpStream>);

/// What a server says.
#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    Frame(Value),
    Closed(u16, String),
}

impl Socket {
    /// A socket of the account, and the id of its connection. `resume` goes into the URL of the ticket, as in `?last_event_id=…`.
    pub(crate) async fn open(server: &TestServer, resume: &str) -> (Socket, Value) {
        let mut socket = Socket::connect(&url(server, resume).await).await.unwrap();
        let hello = socket.frame().await;
        assert_eq!((&hello["channel"], &hello["status"]), (&"connection".into(), &"connected".into()));
        (socket, hello)
    }

    /// The status of the answer if it is no switch of protocols.
    pub(crate) async fn connect(url: &str) -> Result<Socket, String> {
        let (host, path) = url.strip_prefix("ws://").unwrap().split_once('/').unwrap();
        let mut stream = TcpStream::connect(host).await.unwrap();
        let request = format!(
            "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap();
        if status == "101" { Ok(Socket(BufReader::new(stream))) } else { Err(status.to_owned()) }
    }

    /// The next thing said; pings are read over.
    pub(crate) async fn next(&mut self) -> Said {
        let reading = async {
            loop {
                let kind = self.0.read_u8().await.unwrap() & 0x0f;
                let length = match self.0.read_u8().await.unwrap() {
                    126 => u64::from(self.0.read_u16().await.unwrap()),
                    127 => self.0.read_u64().await.unwrap(),
                    short => u64::from(short),
                };
                let mut payload = vec![0; usize::try_from(length).unwrap()];
                self.0.read_exact(&mut payload).await.unwrap();
                match kind {
                    1 => return Said::Frame(serde_json::from_slice(&payload).unwrap()),
                    8 => {
                        let reason = String::from_utf8(payload[2..].to_vec()).unwrap();
                        return Said::Closed(u16::from_be_bytes([payload[0], payload[1]]), reason);
                    }
                    _ => {}
                }
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), reading).await.expect("the server says something")
    }

    pub(crate) async fn frame(&mut self) -> Value {
        match self.next().await {
            Said::Frame(frame) => frame,
            closed => panic!("{closed:?}"),
        }
    }
}

/// A self-authenticating URL (call 9).
pub(crate) async fn url(server: &TestServer, resume: &str) -> String {
    url_for(server, KEY, resume).await
}

pub(crate) async fn url_for(server: &TestServer, secret: &str, resume: &str) -> String {
    let path = format!("/collection/default/websocket{resume}");
    let made = server.send("GET", &path, Some(secret), None).await.data();
    made["websocket_url"].as_str().unwrap().to_owned()
}
