//! What the recorder says it can record.

use serde_json::{Value, json};

use crate::desk::Desk;
use crate::driver::Driver;
use crate::rtsp_server::RtspServer;
use crate::server::Server;

fn ids(channels: &Value) -> Vec<String> {
    channels["channels"].as_array().unwrap().iter().map(|c| c["channel_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_desktops_devices_are_listed_default_first() {
    let desk = Desk::start("640x360");
    let mut driver = Driver::on(&desk);
    let channels = driver.ask("getChannels", json!({})).unwrap();
    assert_eq!(ids(&channels), ["mic:default", "system_audio:default", "system_audio:mic.monitor", "display:1"]);
    let display = &channels["channels"][3];
    assert_eq!((&display["type"], &display["is_default"]), (&json!("video"), &json!(true)));
    assert!(display["name"].as_str().unwrap().ends_with("(640×360)"), "{display}");
}

#[test]
fn without_any_device_sound_is_still_listed_and_the_screen_says_why_not() {
    let mut command = Driver::nowhere();
    command.env("WAYLAND_DISPLAY", "wayland-0");
    let mut driver = Driver::start(command);
    let channels = driver.ask("getChannels", json!({})).unwrap();
    assert_eq!(ids(&channels), ["mic:default", "system_audio:default"]);
    let server = Server::start(&RtspServer::start());
    let refused = driver.record(&server.api, "cap-1", &["display:1"]).unwrap_err();
    assert_eq!(refused, "no X display: set DISPLAY; Wayland desktops are not captured yet");
    assert_eq!(server.count("POST /capture/session/cap-1/stop"), 1, "the server does not wait for it");
}

/// Trap 16: a command without an answer is waited for without end.
#[test]
fn every_command_is_answered_and_noise_is_ignored() {
    let mut driver = Driver::start(Driver::nowhere());
    driver.raw("hello\nvideodb_recorder|{\"command\":\nvideodb_recorder|[]\n\n");
    assert!(driver.ask("startRecording", json!({ "sessionId": "x", "channels": [{ "channel_id": "mic" }] })).is_err());
    assert!(driver.ask("init", json!({ "apiUrl": "http://127.0.0.1:1/", "sessionToken": "st-1" })).is_ok());
    assert!(driver.ask("ping", json!({})).is_ok());
    let granted = driver.ask("requestPermission", json!({ "permission": "screen-capture" })).unwrap();
    assert_eq!(granted["status"], "granted");
    for (command, params) in [
        ("startRecording", json!({ "sessionId": "x", "channels": [] })),
        ("startRecording", json!({})),
        ("stopRecording", json!({ "sessionId": "current" })),
        ("pauseTracks", json!({ "tracks": ["mic"] })),
        ("dance", json!(null)),
    ] {
        assert!(driver.ask(command, params).is_err(), "{command}");
    }
}
