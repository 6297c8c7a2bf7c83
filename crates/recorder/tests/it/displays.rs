//! Several displays, and what becomes of a recording when a display changes, goes away or does not answer.
#![expect(clippy::disallowed_methods, reason = "a test starts, stops and kills X servers")]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::desk::{Desk, wait_for};
use crate::driver::{BINARY, Driver};
use crate::media::{brightness, pictures, pixels_of, size};
use crate::rtsp_server::RtspServer;
use crate::server::Server;
use crate::x::Client;

const WHITE: u32 = 0xff_ffff;

/// An X server of its own, under a number that no other test takes, so that it can be started again under it.
struct Xvfb {
    display: String,
    child: Child,
}

impl Xvfb {
    fn start(display: String) -> Xvfb {
        let mut command = Command::new("Xvfb");
        command.args([&display, "-screen", "0", "640x360x24", "-nolisten", "tcp"]).stderr(Stdio::null());
        let child = command.spawn().expect("Xvfb cannot be started: install the package xvfb");
        wait_for("Xvfb", || x11rb::connect(Some(&display)).ok().map(|_| ()));
        Xvfb { display, child }
    }

    fn alone(base: u32) -> Xvfb {
        Xvfb::start(format!(":{}", base + std::process::id() % 1000))
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Ends it and starts another in its place.
    fn again(mut self) -> Xvfb {
        self.signal("TERM");
        self.child.wait().unwrap();
        Xvfb::start(self.display.clone())
    }

    fn recorder(&self) -> Driver {
        let mut command = Driver::nowhere();
        command.env("DISPLAY", &self.display);
        Driver::start(command)
    }
}

impl Drop for Xvfb {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The next change of the one channel's state, and why.
fn health(driver: &mut Driver) -> (String, String) {
    let told = driver.event("recording:health");
    let word = |name: &str| told[name].as_str().unwrap().to_owned();
    (word("status"), word("message"))
}

/// Longer than a still display is left without a picture.
fn nothing_comes(rtsp: &RtspServer) {
    let (before, since) = (rtsp.channel(0).units.len(), Instant::now());
    while since.elapsed() < Duration::from_millis(4_300) {
        assert_eq!(rtsp.channel(0).units.len(), before, "a picture of nothing after {:?}", since.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Paints until it is seen in a picture after the first `known` ones.
fn wait_for_white(client: &Client, rtsp: &RtspServer, known: usize) {
    client.patch((0, 0, 640, 360), WHITE);
    wait_for("a white picture", || {
        brightness(rtsp.channel(0).bytes()).iter().skip(known).any(|y| *y > 220).then_some(())
    });
}

#[test]
fn several_displays_are_recorded_at_once_the_primary_first() {
    let desk = Desk::start("640x360");
    let client = Client::of(&desk.display);
    client.monitor("left", false, (0, 0, 240, 360), true);
    client.monitor("right", true, (240, 0, 400, 300), false);
    client.patch((0, 0, 240, 360), 0xff_0000);
    client.patch((240, 0, 400, 300), 0x00_00ff);
    let rtsp = RtspServer::start();
    let server = Server::start(&rtsp);
    let mut driver = Driver::on(&desk);
    let channels = driver.ask("getChannels", json!({})).unwrap();
    let displays: Vec<_> = channels["channels"].as_array().unwrap().iter().filter(|c| c["type"] == "video").collect();
    let told: Vec<_> =
        displays.iter().map(|d| (d["channel_id"].as_str().unwrap(), d["name"].as_str().unwrap())).collect();
    assert_eq!(told, [("display:1", "right (400×300)"), ("display:2", "left (240×360)")]);
    assert_eq!((&displays[0]["is_default"], &displays[1]["is_default"]), (&json!(true), &json!(false)));
    let refused = driver.record(&server.api, "cap-1", &["display:3"]).unwrap_err();
    assert!(refused.contains("display:3"), "{refused}");
    driver.record(&server.api, "cap-1", &["display:1", "display:2"]).unwrap();
    wait_for("pictures", || [0, 1].iter().all(|n| !rtsp.channel(*n).units.is_empty()).then_some(()));
    driver.ask("stopRecording", json!({ "sessionId": "cap-1" })).unwrap();
    for (n, (width, height), rgb) in [(0, (400, 300), [0, 0, 255]), (1, (240, 360), [255, 0, 0])] {
        let video = rtsp.channel(n);
        assert_eq!(size(&video.bytes()), (width, height));
        let seen = pictures(video.bytes(), (width, height));
        assert_eq!(seen.len(), video.units.len());
        // The pointer lies on one of them.
        assert!(seen.iter().all(|p| pixels_of(p, rgb) > width * height - 600), "display {n}");
    }
}

#[test]
fn a_display_that_changes_its_size_goes_on_in_the_same_picture() {
    let desk = Desk::start("1280x720");
    let client = Client::of(&desk.display);
    client.monitor("main", true, (0, 0, 640, 360), true);
    client.patch((0, 0, 1280, 720), WHITE);
    let rtsp = RtspServer::start();
    let server = Server::start(&rtsp);
    let mut driver = Driver::on(&desk);
    driver.record(&server.api, "cap-1", &["display:1"]).unwrap();
    let white = |wanted: usize| {
        wait_for("the display in its new size", || {
            let seen = pictures(rtsp.channel(0).bytes(), (640, 360));
            // The pointer, and the edges, which the encoder blurs.
            seen.last().is_some_and(|p| pixels_of(p, [255; 3]).abs_diff(wanted) < 1_500).then_some(())
        });
    };
    white(640 * 360);
    client.unplug("main");
    client.monitor("main", true, (100, 100, 320, 200), true);
    white(320 * 200);
    let seen = pictures(rtsp.channel(0).bytes(), (640, 360));
    let at = |x: usize, y: usize| seen.last().unwrap()[(y * 640 + x) * 3];
    assert!(at(320, 180) > 200 && at(170, 90) > 200 && at(150, 180) < 60 && at(320, 290) < 60, "it lies in the middle");
    client.unplug("main");
    client.monitor("main", true, (0, 0, 1280, 600), true);
    white(640 * 300);
    client.unplug("main");
    client.monitor("main", true, (0, 0, 1280, 720), true);
    white(640 * 360);
    driver.ask("stopRecording", json!({ "sessionId": "cap-1" })).unwrap();
    let video = rtsp.channel(0);
    assert_eq!((size(&video.bytes()), video.connections), ((640, 360), 1));
    assert_eq!(brightness(video.bytes()).len(), video.units.len());
    assert!(video.units.windows(2).all(|w| w[0].wall < w[1].wall));
}

#[test]
fn an_unplugged_display_is_not_recorded_until_it_is_back() {
    let desk = Desk::start("640x360");
    let client = Client::of(&desk.display);
    client.monitor("one", true, (0, 0, 320, 360), true);
    client.monitor("two", false, (320, 0, 320, 360), false);
    client.patch((0, 0, 640, 360), WHITE);
    let rtsp = RtspServer::start();
    let server = Server::start(&rtsp);
    let mut driver = Driver::on(&desk);
    driver.record(&server.api, "cap-1", &["display:2"]).unwrap();
    wait_for("a picture", || (!rtsp.channel(0).units.is_empty()).then_some(()));
    client.unplug("two");
    assert_eq!(health(&mut driver), ("lost".to_owned(), "the display two is not connected".to_owned()));
    wait_for("black", || brightness(rtsp.channel(0).bytes()).last().is_some_and(|y| *y < 20).then_some(()));
    nothing_comes(&rtsp);
    // In another place, and now the first.
    client.monitor("two", true, (160, 0, 320, 360), false);
    wait_for("white", || brightness(rtsp.channel(0).bytes()).last().is_some_and(|y| *y > 220).then_some(()));
    assert_eq!(health(&mut driver).0, "restored");
    driver.ask("stopRecording", json!({ "sessionId": "cap-1" })).unwrap();
    assert_eq!(brightness(rtsp.channel(0).bytes()).len(), rtsp.channel(0).units.len());
}

#[test]
fn an_x_server_that_dies_leaves_a_gap_and_comes_back() {
    let xvfb = Xvfb::alone(2_000);
    let rtsp = RtspServer::start();
    let server = Server::start(&rtsp);
    let mut driver = xvfb.recorder();
    driver.record(&server.api, "cap-1", &["display:1"]).unwrap();
    wait_for_white(&Client::of(&xvfb.display), &rtsp, 0);
    xvfb.signal("TERM");
    let (status, message) = health(&mut driver);
    assert!(status == "lost" && message.starts_with("the X server is gone"), "{message}");
    wait_for("black", || brightness(rtsp.channel(0).bytes()).last().is_some_and(|y| *y < 20).then_some(()));
    nothing_comes(&rtsp);
    let (known, xvfb) = (rtsp.channel(0).units.len(), xvfb.again());
    wait_for_white(&Client::of(&xvfb.display), &rtsp, known);
    assert_eq!(health(&mut driver).0, "restored");
    driver.ask("stopRecording", json!({ "sessionId": "cap-1" })).unwrap();
    let video = rtsp.channel(0);
    assert!(video.units[known].wall - video.units[known - 1].wall > 4.0, "the gap is as long as it was");
    assert_eq!((brightness(video.bytes()).len(), video.connections), (video.units.len(), 1));
}

#[test]
fn an_x_server_that_does_not_answer_leaves_a_gap_and_can_be_left() {
    let xvfb = Xvfb::alone(4_000);
    let rtsp = RtspServer::start();
    let server = Server::start(&rtsp);
    let mut driver = xvfb.recorder();
    driver.record(&server.api, "cap-1", &["display:1"]).unwrap();
    let client = Client::of(&xvfb.display);
    wait_for_white(&client, &rtsp, 0);
    xvfb.signal("STOP");
    nothing_comes(&rtsp);
    assert_eq!(health(&mut driver), ("lost".to_owned(), "the X server does not answer".to_owned()));
    let known = rtsp.channel(0).units.len();
    xvfb.signal("CONT");
    assert_eq!(health(&mut driver).0, "restored");
    client.patch((0, 0, 640, 360), 0);
    wait_for("black", || brightness(rtsp.channel(0).bytes()).last().is_some_and(|y| *y < 20).then_some(()));
    let video = rtsp.channel(0);
    assert!(video.units[known].wall - video.units[known - 1].wall > 4.0, "the gap is as long as it was");
    xvfb.signal("STOP");
    let asked = Instant::now();
    driver.ask("stopRecording", json!({ "sessionId": "cap-1" })).unwrap();
    assert!(asked.elapsed() < Duration::from_millis(3_500), "the stop took {:?}", asked.elapsed());
}

#[test]
fn size_rate_and_quality_are_set_by_flags_and_variables() {
    let desk = Desk::start("640x360");
    let (rtsp, window) = (RtspServer::start(), desk.window());
    let server = Server::start(&rtsp);
    let mut command = desk.command(BINARY);
    command.args(["--fps", "4", "--quality", "low"]).env("VITASCOPE_CAPTURE_MAX_SIZE", "200x200");
    let mut driver = Driver::start(command);
    driver.record(&server.api, "cap-1", &["display:1"]).unwrap();
    let mut grey = 0u8;
    wait_for("eight pictures", || {
        grey = grey.wrapping_add(10);
        window.fill(grey);
        (rtsp.channel(0).units.len() >= 8).then_some(())
    });
    driver.ask("stopRecording", json!({ "sessionId": "cap-1" })).unwrap();
    let video = rtsp.channel(0);
    assert_eq!(size(&video.bytes()), (200, 112));
    let steps: Vec<f64> = video.units[..8].windows(2).map(|w| w[1].wall - w[0].wall).collect();
    assert!(steps.iter().all(|s| *s > 0.12) && steps.iter().sum::<f64>() > 1.4, "{steps:?}");
}

#[test]
fn settings_that_make_no_sense_are_refused_and_help_tells_them() {
    let run = |args: &[&str], variable: Option<(&str, &str)>| {
        let mut command = Driver::nowhere();
        let output = command.args(args).envs(variable).stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    for (args, wanted) in [
        (["--fps", "0"], "1 to 60"),
        (["--max-size", "big"], "1920x1080"),
        (["--quality", "best"], "medium"),
        (["--exclude-window", " "], "empty"),
    ] {
        let (code, told) = run(&args, None);
        assert!(code == Some(2) && told.contains(wanted), "{args:?}: {code:?} {told}");
    }
    let (code, told) = run(&[], Some(("VITASCOPE_CAPTURE_FPS", "many")));
    assert!(code != Some(0) && told.contains("VITASCOPE_CAPTURE_FPS") && told.contains("1 to 60"), "{told}");
    let (code, told) = run(&["--help"], None);
    for flag in ["--fps", "--max-size", "--quality", "--exclude-window", "VITASCOPE_CAPTURE_EXCLUDE_WINDOWS"] {
        assert!(code == Some(0) && told.contains(flag), "{flag}: {told}");
    }
}
