//! The client's side of RTSP RECORD, as much of it as a publisher needs: one stream, interleaved in the same TCP connection.
//! Requests go one after another; what the other side sends in between (receiver reports) is read and left. When to connect again
//! is decided in `publish`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;
use url::Url;
use vitascope_media::codec::Codec;
use vitascope_model::error::Context;
use vitascope_model::{Error, ErrorKind, Result};

/// How long the other side may take to answer a request or to take a sample.
const PATIENCE: Duration = Duration::from_secs(5);
const MOST_HEADERS: usize = 64;

/// A connection on which a recording runs.
#[derive(Debug)]
pub(crate) struct Recording {
    writer: OwnedWriteHalf,
    url: Url,
    session: String,
    sequence: u32,
    /// Answers to what is still asked; closed when the connection is.
    answers: mpsc::Receiver<Answer>,
    reading: tokio::task::JoinHandle<()>,
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    session: Option<String>,
}

/// Connects and goes all the way to RECORD. The kind of an error tells whether to try again: `Unavailable` may pass, the rest not.
pub(crate) async fn record(url: &Url, name: &str, codec: &Codec) -> Result<Recording> {
    let host = url.host_str().ok_or_else(|| Error::invalid("an RTSP address without a host"))?;
    // Brackets belong to the URL, not to the address.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let connect = TcpStream::connect((host, url.port().unwrap_or(554)));
    let stream = timeout(PATIENCE, connect).await.map_err(|_| Error::unavailable("the RTSP server does not answer"))?;
    let stream = stream.map_err(|e| Error::unavailable("the RTSP server cannot be reached").because(e))?;
    stream.set_nodelay(true).internal("set TCP_NODELAY")?;
    let (reader, writer) = stream.into_split();
    let (send, answers) = mpsc::channel(4);
    let reading = tokio::spawn(read_answers(BufReader::new(reader), send));
    let mut recording = Recording { writer, url: url.clone(), session: String::new(), sequence: 0, answers, reading };
    let body = sdp(url, name, codec)?;
    recording.ask("OPTIONS", url.as_str(), &[], "").await?;
    recording.ask("ANNOUNCE", url.as_str(), &[("Content-Type", "application/sdp")], &body).await?;
    let transport = ("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record");
    let answer = recording.ask("SETUP", control(url).as_str(), &[transport], "").await?;
    // What follows a semicolon is the server's timeout; our reports keep the session alive anyway.
    let session = answer.session.unwrap_or_default();
    recording.session = session.split(';').next().unwrap_or_default().trim().to_owned();
    recording.ask("RECORD", url.as_str(), &[("Range", "npt=0.000-")], "").await?;
    Ok(recording)
}

impl Recording {
    /// Writes packets; an error means that the connection is of no more use.
    pub(crate) async fn write(&mut self, wire: &[u8]) -> Result<()> {
        let write = timeout(PATIENCE, self.writer.write_all(wire)).await;
        let write = write.map_err(|_| Error::unavailable("the RTSP server no longer takes data"))?;
        write.map_err(|e| Error::unavailable("the RTSP connection broke").because(e))
    }

    /// Ends when the other side has closed.
    pub(crate) async fn closed(&mut self) {
        while self.answers.recv().await.is_some() {}
    }

    pub(crate) async fn teardown(mut self) -> Result<()> {
        let url = self.url.to_string();
        self.ask("TEARDOWN", &url, &[], "").await.map(|_| ())
    }

    async fn ask(&mut self, method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
        self.sequence += 1;
        let mut request = format!("{method} {url} RTSP/1.0\r\nCSeq: {}\r\n", self.sequence);
        request.push_str(concat!("User-Agent: vitascope-capture/", env!("CARGO_PKG_VERSION"), "\r\n"));
        let session = Some(("Session", self.session.as_str())).filter(|(_, value)| !value.is_empty());
        for (name, value) in headers.iter().copied().chain(session) {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body);
        self.write(request.as_bytes()).await?;
        let answer = timeout(PATIENCE, self.answers.recv()).await.ok().flatten();
        let answer = answer.ok_or_else(|| Error::unavailable(format!("the RTSP server did not answer {method}")))?;
        refusal(method, answer.status).map_or(Ok(answer), Err)
    }
}

fn refusal(method: &str, status: u16) -> Option<Error> {
    let (kind, why) = match status {
        200..=299 => return None,
        401 | 403 => (ErrorKind::Unauthenticated, "the server does not let us publish here"),
        404 => (ErrorKind::NotFound, "the server does not know this channel (any more)"),
        415 => (ErrorKind::InvalidArgument, "the server does not take this codec"),
        453 => (ErrorKind::Conflict, "somebody publishes on this channel already"),
        400..=499 => (ErrorKind::InvalidArgument, "the server refuses"),
        _ => (ErrorKind::Unavailable, "the server cannot"),
    };
    Some(Error::new(kind, format!("{why} ({method}: RTSP {status})")))
}

/// Where the one stream of `url` is set up: a path segment more, whatever query there is.
fn control(url: &Url) -> Url {
    let mut control = url.clone();
    control.set_path(&format!("{}/streamid=0", url.path().trim_end_matches('/')));
    control
}

fn sdp(url: &Url, name: &str, codec: &Codec) -> Result<String> {
    let media = match codec {
        Codec::H264 { sps, pps } => {
            let profile = sps.get(1..4).ok_or_else(|| Error::internal("a torn SPS"))?;
            let sets = format!("{},{}", STANDARD.encode(sps), STANDARD.encode(pps));
            let [a, b, c] = [profile[0], profile[1], profile[2]];
            format!(
                "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
                 a=fmtp:96 packetization-mode=1;profile-level-id={a:02X}{b:02X}{c:02X};sprop-parameter-sets={sets}\r\n"
            )
        }
        Codec::Aac { rate, channels, config } => {
            let config: String = config.iter().map(|b| format!("{b:02X}")).collect();
            format!(
                "m=audio 0 RTP/AVP 96\r\na=rtpmap:96 MPEG4-GENERIC/{rate}/{channels}\r\n\
                 a=fmtp:96 profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config={config}\r\n"
            )
        }
    };
    // A name with a line break would be a line of its own.
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    Ok(format!(
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns={name}\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=tool:vitascope-capture\r\n\
         {media}a=control:{}\r\n",
        control(url)
    ))
}

/// Reads to the end of the connection, passing answers on and leaving interleaved frames.
async fn read_answers(mut reader: BufReader<OwnedReadHalf>, answers: mpsc::Sender<Answer>) {
    while let Ok(Some(answer)) = next_answer(&mut reader).await {
        // An answer that nobody waits for is dropped, so that reading never stops.
        answers.try_send(answer).ok();
    }
}

/// None when the other side has closed.
async fn next_answer(reader: &mut BufReader<OwnedReadHalf>) -> std::io::Result<Option<Answer>> {
    loop {
        match reader.fill_buf().await?.first() {
            None => return Ok(None),
            Some(b'$') => {
                let mut head = [0; 4];
                reader.read_exact(&mut head).await?;
                let mut frame = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
                reader.read_exact(&mut frame).await?;
            }
            Some(_) => return message(reader).await,
        }
    }
}

async fn message(reader: &mut BufReader<OwnedReadHalf>) -> std::io::Result<Option<Answer>> {
    let torn = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    let mut first = String::new();
    reader.take(1024).read_line(&mut first).await?;
    // A request of the server's own, or nonsense, has no status: it is read to its end and passed on as a refusal.
    let status = first.strip_prefix("RTSP/1.0 ").and_then(|s| s.get(..3)).and_then(|s| s.parse().ok()).unwrap_or(400);
    let (mut session, mut length) = (None, 0u64);
    for _ in 0..MOST_HEADERS {
        let mut line = String::new();
        reader.take(4096).read_line(&mut line).await?;
        let line = line.trim_end();
        if line.is_empty() {
            let mut body = Vec::new();
            reader.take(length).read_to_end(&mut body).await?;
            return Ok(Some(Answer { status, session }));
        }
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("session") => session = Some(value.trim().to_owned()),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().ok().filter(|n| *n <= 65_536).ok_or_else(torn)?;
            }
            _ => {}
        }
    }
    Err(torn())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_says_all_that_a_decoder_needs() {
        let url = Url::parse("rtsp://127.0.0.1:8554/abc?token=x").unwrap();
        let codec = Codec::H264 { sps: vec![0x67, 0x64, 0, 0x1f], pps: vec![0x68, 1] };
        let text = sdp(&url, "dis\nplay:1", &codec).unwrap();
        assert_eq!(
            text.replace("\r\n", "\n"),
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=display:1\nc=IN IP4 0.0.0.0\nt=0 0\na=tool:vitascope-capture\n\
             m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\n\
             a=fmtp:96 packetization-mode=1;profile-level-id=64001F;sprop-parameter-sets=Z2QAHw==,aAE=\n\
             a=control:rtsp://127.0.0.1:8554/abc/streamid=0?token=x\n"
        );
    }

    #[test]
    fn refusals_tell_whether_to_try_again() {
        assert!(refusal("RECORD", 200).is_none());
        assert_eq!(refusal("ANNOUNCE", 404).unwrap().kind, ErrorKind::NotFound);
        assert_eq!(refusal("ANNOUNCE", 503).unwrap().kind, ErrorKind::Unavailable);
        assert!(refusal("ANNOUNCE", 453).unwrap().message.contains("RTSP 453"));
    }
}
