//! A recorder that was suspended while the server gave the session up says so.

use std::time::Duration;

use serde_json::json;

use crate::desk::wait_for;
use crate::driver::Driver;
use crate::rtsp_server::RtspServer;
use crate::server::Server;

#[test]
fn a_session_that_ended_while_it_was_suspended_is_told_as_an_error() {
    let rtsp = RtspServer::start();
    let server = Server::start(&rtsp);
    let mut driver = Driver::start(Driver::nowhere());
    driver.record(&server.api, "cap-1", &["mic:default"]).unwrap();
    wait_for("sound", || (rtsp.channel(0).units.len() > 20).then_some(()));
    driver.signal("STOP");
    // Longer than a hitch. The server hears nothing meanwhile and gives up.
    std::thread::sleep(Duration::from_secs(3));
    server.set_status("exported");
    rtsp.refuse(404);
    rtsp.cut();
    driver.signal("CONT");
    let trouble = driver.event("recording:error");
    assert_eq!((&trouble["sessionId"], &trouble["channelId"]), (&json!("cap-1"), &json!(null)));
    assert!(trouble["error"].as_str().unwrap().contains("suspended for 3 s"), "{trouble}");
    assert_eq!(driver.event("recording:stopped"), json!({ "sessionId": "cap-1" }));
    // And the next session begins as if nothing had been.
    rtsp.accept();
    server.set_status("created");
    driver.record(&server.api, "cap-2", &["mic:default"]).unwrap();
    driver.ask("stopRecording", json!({ "sessionId": "cap-2" })).unwrap();
}
