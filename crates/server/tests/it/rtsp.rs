//! The RECORD door with a real publisher (ffmpeg), from ANNOUNCE to frames counted out of a playlist; and every way to be turned away.
#![expect(clippy::disallowed_methods, reason = "tests start publishers and players themselves")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::harness::TestServer;

/// Ten seconds of numbered pictures at 30 a second, a key frame each second, and a tone.
pub(crate) async fn clip(folder: &Path) -> PathBuf {
    let file = folder.join("clip.mp4");
    let args = "-v error -y -f lavfi -i testsrc2=s=320x180:r=30:d=10 -f lavfi -i sine=440:r=48000:d=10 -c:v libx264 -preset ultrafast \
        -g 30 -keyint_min 30 -sc_threshold 0 -bf 0 -pix_fmt yuv420p -c:a aac -ac 2 -b:a 96k -shortest";
    run("ffmpeg", args.split_whitespace().chain([file.to_str().unwrap()])).await;
    file
}

async fn run<'a>(program: &str, args: impl IntoIterator<Item = &'a str>) -> String {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{program} failed");
    String::from_utf8(output.stdout).unwrap()
}

/// Publishes one of the clip's streams as fast as it goes; tells whether the server took it.
pub(crate) async fn publish(clip: &Path, stream: &str, url: &str) -> bool {
    let args = [
        "-v",
        "quiet",
        "-i",
        clip.to_str().unwrap(),
        "-map",
        stream,
        "-c",
        "copy",
        "-rtsp_transport",
        "tcp",
        "-f",
        "rtsp",
        url,
    ];
    let mut command = Command::new("ffmpeg");
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(Duration::from_secs(60), command.status()).await.unwrap().unwrap().success()
}

pub(crate) struct Live {
    pub(crate) server: TestServer,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) session: String,
    /// RTSP URLs of microphone and display.
    pub(crate) urls: [String; 2],
    pub(crate) rtstreams: [String; 2],
}

pub(crate) async fn live() -> Live {
    live_on(TestServer::start().await).await
}

pub(crate) async fn live_on(server: TestServer) -> Live {
    let session = server.create_session(&json!({})).await;
    let channels = json!([
        { "channel_id": "mic:default", "type": "audio", "store": true },
        { "channel_id": "display:1", "type": "video", "store": true, "is_primary": true },
    ]);
    server.post("/capture/session/start", &json!({ "session_id": session, "channels": channels })).await.data();
    let publish = server.get(&format!("/capture/session/{session}")).await.data();
    let of = |i: usize, key: &str| publish["channels"][i][key].as_str().unwrap().to_owned();
    let urls = [of(0, "rtsp_url"), of(1, "rtsp_url")];
    let rtstreams = [of(0, "rtstream_id"), of(1, "rtstream_id")];
    Live { server, folder: tempfile::tempdir().unwrap(), session, urls, rtstreams }
}

impl Live {
    pub(crate) async fn shown(&self) -> Value {
        self.server.get(&format!("/collection/default/capture/session/{}", self.session)).await.data()
    }

    pub(crate) async fn wait_for(&self, status: &str) -> Value {
        for _ in 0..400 {
            let shown = self.shown().await;
            if shown["status"] == status {
                return shown;
            }
            assert_ne!(shown["status"], "failed", "{shown}");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the session did not become {status}: {}", self.shown().await);
    }
}

/// Pictures or frames of sound that a player gets.
pub(crate) async fn frames(url: &str, stream: &str) -> usize {
    let entries = [
        "-v",
        "error",
        "-count_frames",
        "-select_streams",
        stream,
        "-show_entries",
        "stream=nb_read_frames",
        "-of",
        "csv=p=0",
    ];
    let text = run("ffprobe", entries.into_iter().chain([url])).await;
    text.trim().trim_end_matches(',').lines().next().unwrap_or_default().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_becomes_a_video_with_every_frame() {
    let live = live().await;
    let clip = clip(live.folder.path()).await;
    let (sound, picture) = tokio::join!(publish(&clip, "0:a", &live.urls[0]), publish(&clip, "0:v", &live.urls[1]));
    assert!(sound && picture);
    let active = live.wait_for("active").await;
    assert_eq!(active["rtstreams"][1]["channel_id"], "screen");
    let range = live.server.get(&format!("/rtstream/{}/stream?start=1&end=4000000000", live.rtstreams[1])).await.data();
    let url = range["stream_url"].as_str().unwrap();
    assert!(url.contains("/0000000001000000-4000000000000000.m3u8"), "{url}");
    live.server.post(&format!("/capture/session/{}/stop", live.session), &json!({})).await.data();
    let exported = live.wait_for("exported").await;
    assert_eq!(frames(url, "v:0").await, 300);
    let id = exported["exported_video_id"].as_str().unwrap();
    let video = live.server.get(&format!("/video/{id}")).await.data();
    let length = video["length"].as_f64().unwrap();
    assert!((length - 10.0).abs() < 0.1, "{length}");
    let url = video["stream_url"].as_str().unwrap();
    assert_eq!(frames(url, "v:0").await, 300);
    let sound = frames(url, "a:0").await as f64 * 1024.0 / 48_000.0;
    assert!((sound - 10.0).abs() < 0.2, "{sound} s of sound");
    let player = live.server.get(&format!("/watch?v={}", url.split('/').rev().nth(1).unwrap())).await;
    assert!(player.body.as_str().unwrap().contains("index.m3u8"));
}

#[tokio::test(flavor = "multi_thread")]
async fn publishers_are_turned_away_with_the_right_status() {
    let live = live().await;
    let clip = clip(live.folder.path()).await;
    let mut wrong = live.urls[1].clone();
    wrong.replace_range(wrong.len() - 4.., "0000");
    assert!(!publish(&clip, "0:v", &wrong).await, "a wrong path");
    assert!(!publish(&clip, "0:a", &live.urls[1]).await, "sound on a picture's path");
    let mut first = Talk::open(&live).await;
    assert!(first.announce(&live.urls[1]).await.starts_with("RTSP/1.0 200"));
    let setup = format!("{}/streamid=0", live.urls[1]);
    assert!(first.ask("RECORD", &live.urls[1], "", "").await.contains(" 455 "));
    assert!(
        first.ask("SETUP", &setup, "Transport: RTP/AVP;unicast;client_port=5000-5001\r\n", "").await.contains(" 461 ")
    );
    assert!(
        first
            .ask("SETUP", &setup, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=\"\r\n", "")
            .await
            .contains(" 200 ")
    );
    let mut second = Talk::open(&live).await;
    assert!(second.announce(&live.urls[1]).await.contains(" 453 "));
    drop(first);
    // The path is free as soon as the server has seen the first one go.
    let freed = async {
        while !Talk::open(&live).await.announce(&live.urls[1]).await.contains(" 200 ") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), freed).await.unwrap();
    let mut other = Talk::open(&live).await;
    let vp8 = SDP.replace("H264/90000", "VP8/90000");
    assert!(other.ask("ANNOUNCE", &live.urls[0], "Content-Type: application/sdp\r\n", &vp8).await.contains(" 415 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_over_takes_no_media_and_stopping_without_media_exports_nothing() {
    let live = live().await;
    live.server.post(&format!("/capture/session/{}/stop", live.session), &json!({})).await.data();
    for _ in 0..400 {
        if live.shown().await["export_status"] == "failed" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let shown = live.shown().await;
    assert_eq!((&shown["status"], &shown["error"]["code"]), (&json!("stopped"), &json!("nothing_recorded")), "{shown}");
    assert!(Talk::open(&live).await.announce(&live.urls[1]).await.contains(" 403 "));
}

const SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
    a=fmtp:96 packetization-mode=1\r\na=control:streamid=0\r\n";

/// RTSP by hand.
pub(crate) struct Talk(TcpStream, u32);

impl Talk {
    pub(crate) async fn open(live: &Live) -> Talk {
        Talk(TcpStream::connect(live.server.rtsp).await.unwrap(), 0)
    }

    pub(crate) async fn announce(&mut self, url: &str) -> String {
        self.ask("ANNOUNCE", url, "Content-Type: application/sdp\r\n", SDP).await
    }

    /// Whether the server ends the connection.
    pub(crate) async fn hung_up(&mut self) -> bool {
        let ended = tokio::time::timeout(Duration::from_secs(10), self.0.read(&mut [0])).await;
        ended.is_ok_and(|read| matches!(read, Ok(0) | Err(_)))
    }

    async fn ask(&mut self, method: &str, url: &str, headers: &str, body: &str) -> String {
        self.1 += 1;
        let request = format!(
            "{method} {url} RTSP/1.0\r\nCSeq: {}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            self.1,
            body.len()
        );
        self.0.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(
                self.0.read(&mut byte).await.unwrap(),
                1,
                "the server hung up: {}",
                String::from_utf8_lossy(&answer)
            );
            answer.push(byte[0]);
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.contains(&format!("CSeq: {}", self.1)), "{answer}");
        answer
    }
}
