//! Windows that nobody shall see are black in every picture, whatever happens to them.

use std::time::Duration;

use serde_json::json;

use crate::desk::{Desk, wait_for};
use crate::driver::{BINARY, Driver};
use crate::media::{pictures, pixels_of};
use crate::rtsp_server::{Publication, RtspServer};
use crate::server::Server;
use crate::x::Client;

const MAGENTA: u32 = 0xff_00ff;
const SECRET: [u8; 3] = [255, 0, 255];
const CYAN: u32 = 0x00_ffff;
const OPEN: [u8; 3] = [0, 255, 255];
/// Of each of the two monitors.
const SIZE: (usize, usize) = (320, 360);

/// Everything that can happen to a window that is to be hidden; what is to be hidden is magenta, everything else is not.
fn happen(client: &Client) {
    let step = || std::thread::sleep(Duration::from_millis(7));
    // One that is known by its class.
    let vault = client.window(0, (10, 10, 120, 90), MAGENTA);
    client.name(vault, "WM_CLASS", "vault\0Vault\0");
    client.show(vault);
    for n in 0..80 {
        client.place(vault, (n * 6, n * 2, 60 + n as u16, 90));
        step();
    }
    // Partly covered, and no longer.
    let cover = client.patch((380, 150, 100, 60), CYAN);
    step();
    for _ in 0..25 {
        client.hide(vault);
        step();
        client.show(vault);
        step();
    }
    client.hide(cover);
    // Others come and go quickly, by their titles of either kind.
    for n in 0..25 {
        let other = client.window(0, (n * 20, 200, 90, 90), MAGENTA);
        let kind = if n % 2 == 0 { "WM_NAME" } else { "_NET_WM_NAME" };
        client.name(other, kind, "Top SECRET, 2026");
        client.show(other);
        step();
        client.hide(other);
    }
    // In the frame of a window manager, which is as telling as the window; and its dialog, which has no name of its own.
    let frame = client.window(0, (20, 20, 200, 150), MAGENTA);
    let inner = client.window(frame, (0, 20, 200, 130), MAGENTA);
    client.name(inner, "_NET_WM_NAME", "a secret");
    client.mark_as_application(inner);
    client.show(inner);
    client.show(frame);
    let dialog = client.window(0, (300, 220, 80, 80), MAGENTA);
    client.belongs_to(dialog, inner);
    client.show(dialog);
    for n in 0..60 {
        client.place(frame, (20 + n * 4, 20 + n, 200, 150));
        step();
    }
    client.hide(dialog);
    client.hide(frame);
    client.hide(vault);
}

fn record(hide: bool) -> [Publication; 2] {
    let desk = Desk::start("640x360");
    let client = Client::of(&desk.display);
    client.monitor("left", true, (0, 0, 320, 360), true);
    client.monitor("right", false, (320, 0, 320, 360), false);
    client.patch((0, 0, 640, 360), 0x40_4040);
    client.patch((0, 300, 640, 20), CYAN);
    // There before the recording begins.
    let first = client.window(0, (100, 100, 300, 100), MAGENTA);
    client.name(first, "WM_NAME", "The Secret");
    client.show(first);
    let (rtsp, mut command) = (RtspServer::start(), desk.command(BINARY));
    let server = Server::start(&rtsp);
    if hide {
        command.env("VITASCOPE_CAPTURE_EXCLUDE_WINDOWS", "nothing of the kind, VAULT").args(["--fps", "60"]);
        command.args(["--exclude-window", "*secret*"]);
    }
    let mut driver = Driver::start(command);
    driver.record(&server.api, "cap-1", &["display:1", "display:2"]).unwrap();
    wait_for("pictures", || [0, 1].iter().all(|n| !rtsp.channel(*n).units.is_empty()).then_some(()));
    client.hide(first);
    happen(&client);
    driver.ask("stopRecording", json!({ "sessionId": "cap-1" })).unwrap();
    [rtsp.channel(0), rtsp.channel(1)]
}

#[test]
fn a_hidden_window_is_black_in_every_picture_of_every_display() {
    for video in record(true) {
        let seen = pictures(video.bytes(), SIZE);
        assert_eq!(seen.len(), video.units.len());
        assert!(seen.len() > 60, "only {} pictures", seen.len());
        let leaks: Vec<usize> = seen.iter().map(|picture| pixels_of(picture, SECRET)).collect();
        assert!(leaks.iter().all(|n| *n == 0), "{leaks:?}");
        assert!(seen.iter().all(|picture| pixels_of(picture, OPEN) > 3_000), "everything else is shown");
        assert!(seen.iter().any(|picture| pixels_of(picture, [0, 0, 0]) > 5_000), "a black window");
    }
}

/// What the test above would see if nothing were hidden.
#[test]
fn without_a_pattern_everything_is_seen() {
    for video in record(false) {
        assert!(pictures(video.bytes(), SIZE).iter().any(|picture| pixels_of(picture, SECRET) > 1_000));
    }
}

#[test]
fn a_window_whose_title_becomes_one_to_hide_is_hidden_and_shown_again() {
    let desk = Desk::start("320x200");
    let client = Client::of(&desk.display);
    client.patch((0, 0, 320, 200), 0x40_4040);
    let window = client.window(0, (100, 50, 100, 100), MAGENTA);
    client.name(window, "WM_NAME", "a page");
    client.show(window);
    let (rtsp, mut command) = (RtspServer::start(), desk.command(BINARY));
    let server = Server::start(&rtsp);
    command.args(["--exclude-window", "bank"]);
    let mut driver = Driver::start(command);
    driver.record(&server.api, "cap-1", &["display:1"]).unwrap();
    let mut from = 0;
    let mut wait_until = |seen: bool| {
        wait_for("a change", || {
            let now = pictures(rtsp.channel(0).bytes(), (320, 200));
            let changed = now.iter().skip(from).any(|p| (pixels_of(p, SECRET) > 8_000) == seen);
            from = if changed { now.len() } else { from };
            changed.then_some(())
        });
    };
    wait_until(true);
    // Nothing is painted: only the name tells.
    client.name(window, "WM_NAME", "My Bank");
    client.done();
    wait_until(false);
    client.name(window, "WM_NAME", "a page");
    client.done();
    wait_until(true);
    driver.ask("stopRecording", json!({ "sessionId": "cap-1" })).unwrap();
}
