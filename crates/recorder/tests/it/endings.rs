//! However the recorder is ended, the session is stopped at the server and the exit code is 0.
#![expect(clippy::disallowed_methods, reason = "a test sends a signal")]

use std::process::Command;

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

fn signal(driver: &Driver, name: &str) {
    let status = Command::new("kill").args(["-s", name, &driver.child.id().to_string()]).status().unwrap();
    assert!(status.success());
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
    recording(|driver| signal(driver, "TERM"));
    recording(|driver| signal(driver, "INT"));
}

#[test]
fn it_also_ends_when_nothing_is_recorded() {
    for end in [Driver::close_stdin as fn(&mut Driver), |driver| signal(driver, "TERM")] {
        let mut driver = Driver::start(Driver::nowhere());
        driver.ask("ping", json!({})).unwrap();
        end(&mut driver);
        assert_eq!(driver.exit_code(), Some(0));
    }
}
