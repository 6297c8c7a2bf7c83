//! A stand-in for the server's RTSP door that keeps what it is sent: whole access units with the wall time that the sender reports
//! give them. Written apart from the recorder's own RTP code, from the RFCs.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Clone, Debug)]
pub(crate) struct Unit {
    /// Seconds since the epoch.
    pub wall: f64,
    pub key: bool,
    /// H.264 in Annex B, AAC with an ADTS header.
    pub data: Vec<u8>,
    /// Counts the connections of this path.
    pub connection: usize,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Publication {
    pub description: String,
    pub units: Vec<Unit>,
    pub connections: usize,
    pub torn_down: bool,
    /// A packet that came before any report has no time.
    pub packets_without_report: usize,
    pub reports: usize,
    /// The first of this connection came at this time (by the reports), for each connection.
    rate: f64,
    video: bool,
    report: Option<(f64, u32)>,
    partial: Vec<u8>,
}

#[derive(Clone)]
pub(crate) struct RtspServer {
    pub base: String,
    paths: Arc<Mutex<HashMap<String, Publication>>>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    refuse: Arc<Mutex<Option<u16>>>,
}

impl RtspServer {
    pub(crate) fn start() -> RtspServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("rtsp://{}/live", listener.local_addr().unwrap());
        let server = RtspServer { base, paths: Arc::default(), streams: Arc::default(), refuse: Arc::default() };
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = serving.clone();
                server.streams.lock().unwrap().push(stream.try_clone().unwrap());
                std::thread::spawn(move || server.converse(BufReader::new(stream)));
            }
        });
        server
    }

    /// ANNOUNCE is answered with this status from now on.
    pub(crate) fn refuse(&self, status: u16) {
        *self.refuse.lock().unwrap() = Some(status);
    }

    pub(crate) fn accept(&self) {
        *self.refuse.lock().unwrap() = None;
    }

    /// Hangs up on everybody.
    pub(crate) fn cut(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    /// What came for channel `n`.
    pub(crate) fn channel(&self, n: usize) -> Publication {
        self.paths.lock().unwrap().get(&format!("/live/{n}")).cloned().unwrap_or_default()
    }

    fn converse(&self, mut reader: BufReader<TcpStream>) -> Option<()> {
        let mut path = String::new();
        loop {
            let first = *reader.fill_buf().ok()?.first()?;
            if first == b'$' {
                let mut head = [0; 4];
                reader.read_exact(&mut head).ok()?;
                let mut packet = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
                reader.read_exact(&mut packet).ok()?;
                let mut paths = self.paths.lock().unwrap();
                let publication = paths.get_mut(&path).expect("a packet before ANNOUNCE");
                match head[1] {
                    0 => publication.packet(&packet),
                    _ => publication.reported(&packet),
                }
                continue;
            }
            let (method, url, sequence, body) = request(&mut reader)?;
            let refused = *self.refuse.lock().unwrap();
            let mut status = 200;
            match method.as_str() {
                "ANNOUNCE" if refused.is_some() => status = refused?,
                "ANNOUNCE" => {
                    path = format!("/{}", url.splitn(4, '/').nth(3)?);
                    let mut paths = self.paths.lock().unwrap();
                    paths.entry(path.clone()).or_default().announced(body);
                }
                "SETUP" => assert!(url.ends_with(&format!("{path}/streamid=0")), "{url}"),
                "TEARDOWN" => self.paths.lock().unwrap().get_mut(&path)?.torn_down = true,
                _ => {}
            }
            let session = if method == "SETUP" {
                "Session: 7;timeout=30\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n"
            } else {
                ""
            };
            let answer = format!("RTSP/1.0 {status} X\r\nCSeq: {sequence}\r\n{session}\r\n");
            reader.get_mut().write_all(answer.as_bytes()).ok()?;
        }
    }
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, String, String, String)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, url) = (words.next()?, words.next()?);
    let (mut sequence, mut length) = (String::new(), 0);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim().split_once(": ") {
            Some(("CSeq", value)) => sequence = value.to_owned(),
            Some(("Content-Length", value)) => length = value.parse().ok()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((method, url, sequence, String::from_utf8(body).ok()?))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

impl Publication {
    fn announced(&mut self, description: String) {
        self.video = description.contains("m=video");
        self.rate = if self.video { 90_000.0 } else { 48_000.0 };
        self.description = description;
        self.connections += 1;
        self.report = None;
        self.partial.clear();
    }

    fn reported(&mut self, packet: &[u8]) {
        assert_eq!(packet[1], 200, "a sender report comes first in its packet");
        let seconds = f64::from(word(packet, 8)) - 2_208_988_800.0 + f64::from(word(packet, 12)) / 4_294_967_296.0;
        self.report = Some((seconds, word(packet, 16)));
        self.reports += 1;
    }

    fn packet(&mut self, packet: &[u8]) {
        let Some((wall, at)) = self.report else {
            self.packets_without_report += 1;
            return;
        };
        let wall = wall + f64::from(word(packet, 4).wrapping_sub(at) as i32) / self.rate;
        let payload = &packet[12..];
        if !self.video {
            let size = usize::from(u16::from_be_bytes([payload[2], payload[3]]) >> 3);
            assert_eq!(size, payload.len() - 4);
            let long = size + 7;
            let mut data =
                vec![0xff, 0xf1, 0x4c, 0x80 | (long >> 11) as u8, (long >> 3) as u8, (long << 5) as u8 | 31, 0xfc];
            data.extend(&payload[4..]);
            return self.units.push(Unit { wall, key: true, data, connection: self.connections });
        }
        match payload[0] & 31 {
            28 => {
                if payload[1] & 0x80 != 0 {
                    self.partial.extend([0, 0, 0, 1, payload[0] & 0xe0 | payload[1] & 31]);
                }
                self.partial.extend(&payload[2..]);
            }
            _ => {
                self.partial.extend([0, 0, 0, 1]);
                self.partial.extend(payload);
            }
        }
        if packet[1] & 0x80 != 0 {
            let data = std::mem::take(&mut self.partial);
            let key = data[4] & 31 == 7;
            self.units.push(Unit { wall, key, data, connection: self.connections });
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.units.iter().flat_map(|u| u.data.clone()).collect()
    }
}
