//! However the recorder is ended, the session is stopped at the server (call 8) and the exit code is 0 (trap 16).

use serde_json::json;

use crate::desk::Desk;
use crate::driver::Driver;
use crate::rtsp_server::RtspServer;
use crate::server::Server;

fn recording(test: impl FnOnce(&mut Driver)) {
    let desk = Desk::start("640x360");
    let (rtsp, _window) = (RtspServer::start(), desk.window());
    let server = Server::start(&rtsp);
    let mut driver = Driver::on(&desk);
    driver.record(&server.api, "cap-1", &["display:1", "system_audio:default"]).unwrap();
    test(&mut driver);
    assert_eq!(driver.exit_code(), Some(0));
    assert_eq!(server.count("POST /capture/session/cap-1/stop"), 1);
    assert!(rtsp.channel(0).torn_down && rtsp.channel(1).torn_down);
}

#[test]
fn shutdown_is_answered_before_the_end() {
    recording(|driver| {
        driver.ask("shutdown", json!({})).unwrap();
    });
}

#[test]
fn the_end_of_stdin_ends_the_recording() {
    recording(Driver::close_stdin);
}

#[test]
fn sigterm_and_sigint_end_the_recording() {
    recording(|driver| driver.signal("TERM"));
    recording(|driver| driver.signal("INT"));
}

#[test]
fn it_also_ends_when_nothing_is_recorded() {
    for end in [Driver::close_stdin as fn(&mut Driver), |driver| driver.signal("TERM")] {
        let mut driver = Driver::start(Driver::nowhere());
        driver.ask("ping", json!({})).unwrap();
        end(&mut driver);
        assert_eq!(driver.exit_code(), Some(0));
    }
}
