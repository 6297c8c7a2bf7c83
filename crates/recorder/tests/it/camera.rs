//! A camera as a channel. There is no video device where tests run, so the camera is a pipe that another program fills with pictures,
//! which is also how cameras without such a device are recorded.
#![expect(clippy::disallowed_methods, reason = "a test makes a pipe and fills it")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::desk::wait_for;
use crate::driver::Driver;
use crate::media::brightness;
use crate::recording::now;
use crate::rtsp_server::RtspServer;
use crate::server::Server;

fn pipe(folder: &Path) -> PathBuf {
    let pipe = folder.join("camera");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    pipe
}

/// Gives ten pictures a second, all of that grey with a camera's noise on it, as Motion JPEG.
fn film(pipe: &Path, grey: u8, size: &str) -> Child {
    let colour = format!("color=0x{grey:02x}{grey:02x}{grey:02x}:s={size}:r=10:d=60,noise=alls=20");
    Command::new("ffmpeg")
        .args([
            "-nostdin",
            "-v",
            "error",
            "-y",
            "-re",
            "-f",
            "lavfi",
            "-i",
            &colour,
            "-c:v",
            "mjpeg",
            "-f",
            "mjpeg",
            "-flush_packets",
            "1",
        ])
        .arg(pipe)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Of the newest picture, as studio range has it.
fn newest(rtsp: &RtspServer) -> u8 {
    brightness(rtsp.channel(0).bytes()).last().copied().unwrap_or(0)
}

#[test]
fn a_camera_is_recorded_and_may_go_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = pipe(folder.path());
    let rtsp = RtspServer::start();
    let server = Server::start(&rtsp);
    let mut command = Driver::nowhere();
    command.env("VITASCOPE_CAPTURE_CAMERAS", &pipe);
    let mut driver = Driver::start(command);
    let listed = driver.ask("getChannels", json!({})).unwrap();
    let last = listed["channels"].as_array().and_then(|c| c.last()).cloned().unwrap();
    let id = last["channel_id"].as_str().unwrap().to_owned();
    assert_eq!(id, format!("camera:{}", pipe.display()));
    assert_eq!((&last["type"], &last["is_default"]), (&Value::from("video"), &Value::from(false)));

    let mut camera = film(&pipe, 200, "320x240");
    driver.record(&server.api, "cap-1", &[&id]).unwrap();
    wait_for("pictures", || (rtsp.channel(0).units.len() >= 20).then_some(()));
    let video = rtsp.channel(0);
    let (first, last) = (video.units[0].wall, video.units[19].wall);
    assert!((1.4..2.6).contains(&(last - first)), "20 pictures in {} s", last - first);
    assert!((0.0..0.5).contains(&(now() - last)), "{} s late", now() - last);
    assert!(video.units[0].key && newest(&rtsp).abs_diff(16 + 171) < 6, "{}", newest(&rtsp));

    camera.kill().unwrap();
    camera.wait().unwrap();
    assert_eq!(driver.event("recording:health")["status"], "lost");
    // Another size: it is made to fit.
    let mut camera = film(&pipe, 100, "640x480");
    assert_eq!(driver.event("recording:health")["status"], "restored");
    wait_for("the other grey", || (newest(&rtsp).abs_diff(16 + 86) < 6).then_some(()));
    driver.ask("pauseTracks", json!({ "tracks": ["camera"] })).unwrap();
    driver.ask("stopRecording", json!({ "sessionId": "cap-1" })).unwrap();
    assert!(rtsp.channel(0).torn_down);
    camera.kill().unwrap();
    camera.wait().unwrap();
}

#[test]
fn what_is_no_camera_is_refused_in_words() {
    let rtsp = RtspServer::start();
    let server = Server::start(&rtsp);
    let mut driver = Driver::start(Driver::nowhere());
    for (id, why) in [
        ("camera:/nonexistent", "is not there"),
        ("camera:/etc/passwd", "neither a video device nor a named pipe"),
        ("camera:/dev/null", "ffmpeg"),
    ] {
        let refused = driver.record(&server.api, "cap-1", &[id]).unwrap_err();
        assert!(refused.contains(why), "{id}: {refused}");
    }
}
