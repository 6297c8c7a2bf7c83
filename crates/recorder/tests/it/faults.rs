//! What goes wrong outside: the server refuses, connections break, a session is ended from elsewhere.

use serde_json::json;

use crate::desk::{Desk, wait_for};
use crate::driver::Driver;
use crate::media::{brightness, pictures, pixels_of};
use crate::rtsp_server::RtspServer;
use crate::server::Server;

#[test]
fn a_refused_start_tells_the_servers_reason() {
    let rtsp = RtspServer::start();
    let server = Server::start(&rtsp);
    server.refuse_start(401, "the token has expired");
    let mut driver = Driver::start(Driver::nowhere());
    let refused = driver.record(&server.api, "cap-1", &["mic:default"]).unwrap_err();
    assert!(refused.contains("the token has expired"), "{refused}");
    assert_eq!(server.count("POST /capture/session/cap-1/stop"), 0);
}

#[test]
fn a_refused_publication_is_final_and_the_session_is_stopped() {
    let rtsp = RtspServer::start();
    let server = Server::start(&rtsp);
    rtsp.refuse(453);
    let mut driver = Driver::start(Driver::nowhere());
    let refused = driver.record(&server.api, "cap-1", &["mic:default"]).unwrap_err();
    assert!(refused.contains("RTSP 453"), "{refused}");
    assert_eq!(server.count("POST /capture/session/cap-1/stop"), 1);
}

#[test]
fn a_broken_connection_is_made_again_and_begins_at_a_key_frame() {
    let desk = Desk::start("640x360");
    let (rtsp, window) = (RtspServer::start(), desk.window());
    let server = Server::start(&rtsp);
    let mut driver = Driver::on(&desk);
    driver.record(&server.api, "cap-1", &["display:1", "mic:default"]).unwrap();
    wait_for("a picture", || (!rtsp.channel(0).units.is_empty()).then_some(()));
    rtsp.cut();
    let mut grey = 0u8;
    wait_for("pictures on a new connection", || {
        grey = grey.wrapping_add(10);
        window.fill(grey);
        let again = |n| rtsp.channel(n).units.iter().any(|u| u.connection == 2);
        (again(0) && again(1)).then_some(())
    });
    driver.ask("stopRecording", json!({ "sessionId": "cap-1" })).unwrap();
    let video = rtsp.channel(0);
    let again: Vec<_> = video.units.iter().filter(|u| u.connection == 2).collect();
    assert!(again[0].key && video.torn_down && video.packets_without_report == 0);
    let bytes: Vec<u8> = again.iter().flat_map(|u| u.data.clone()).collect();
    assert_eq!(brightness(bytes).len(), again.len());
}

#[test]
fn a_session_that_is_ended_from_elsewhere_is_told_as_stopped() {
    let rtsp = RtspServer::start();
    let server = Server::start(&rtsp);
    let mut driver = Driver::start(Driver::nowhere());
    driver.record(&server.api, "cap-1", &["mic:default"]).unwrap();
    server.set_status("stopped");
    rtsp.refuse(404);
    rtsp.cut();
    assert_eq!(driver.event("recording:stopped"), json!({ "sessionId": "cap-1" }));
    // And stopping what has stopped is no error.
    driver.ask("stopRecording", json!({ "sessionId": "cap-1" })).unwrap();
}

#[test]
fn a_channel_that_is_lost_is_told() {
    let rtsp = RtspServer::start();
    let server = Server::start(&rtsp);
    let mut driver = Driver::start(Driver::nowhere());
    driver.record(&server.api, "cap-1", &["mic:default"]).unwrap();
    server.set_status("active");
    rtsp.refuse(404);
    rtsp.cut();
    let trouble = driver.event("recording:error");
    assert_eq!((&trouble["channelId"], &trouble["code"]), (&json!("mic:default"), &json!("not_found")));
    assert_eq!(driver.event("recording:stopped"), json!({ "sessionId": "cap-1" }));
    assert_eq!(server.count("POST /capture/session/cap-1/stop"), 1);
}

#[test]
fn a_screen_that_goes_away_is_told_and_the_sound_goes_on() {
    let desk = Desk::start("640x360");
    let rtsp = RtspServer::start();
    let server = Server::start(&rtsp);
    let mut driver = Driver::on(&desk);
    driver.record(&server.api, "cap-1", &["display:1", "mic:default"]).unwrap();
    // The whole desktop goes, sound too: that one is silent from then on and waits for its source.
    drop(desk);
    let told = wait_for("the display's loss", || {
        Some(driver.event("recording:health")).filter(|told| told["channelId"] == "display:1")
    });
    assert!(told["status"] == "lost" && told["message"].as_str().unwrap().contains("X server"), "{told}");
    let before = rtsp.channel(1).units.len();
    wait_for("more sound", || (rtsp.channel(1).units.len() > before + 60).then_some(()));
    driver.ask("stopRecording", json!({ "sessionId": "cap-1" })).unwrap();
}

#[test]
fn a_screen_that_shrinks_goes_on_with_what_is_left() {
    let desk = Desk::start("640x360");
    let (rtsp, window) = (RtspServer::start(), desk.window());
    window.fill(40);
    let server = Server::start(&rtsp);
    let mut driver = Driver::on(&desk);
    driver.record(&server.api, "cap-1", &["display:1"]).unwrap();
    desk.shrink(320, 200);
    wait_for("a lit picture", || {
        window.fill(0);
        window.fill(255);
        // White in the middle, black around it.
        let seen = pictures(rtsp.channel(0).bytes(), (640, 360));
        seen.last().is_some_and(|p| pixels_of(p, [255; 3]).abs_diff(320 * 200) < 1_500).then_some(())
    });
    driver.ask("stopRecording", json!({ "sessionId": "cap-1" })).unwrap();
}
