//! Sound devices that go away and come back: the channel lives on with silence, and hears again by itself.

use serde_json::{Value, json};

use crate::desk::{Desk, wait_for};
use crate::driver::Driver;
use crate::media::{samples, share_of_tone};
use crate::rtsp_server::RtspServer;
use crate::server::Server;

/// The last 0.3 s of the microphone.
fn tail(rtsp: &RtspServer) -> Vec<i16> {
    let heard = samples(rtsp.channel(0).bytes());
    heard[heard.len().saturating_sub(14_400)..].to_vec()
}

fn wait_for_tone(rtsp: &RtspServer) {
    wait_for("the tone", || (share_of_tone(&tail(rtsp), 440.0) > 0.9).then_some(()));
}

fn health(driver: &mut Driver) -> Value {
    let told = driver.event("recording:health");
    assert_eq!(told["channelId"], "mic:default", "{told}");
    told["status"].clone()
}

#[test]
fn a_microphone_that_is_unplugged_is_silent_until_it_is_back() {
    let mut desk = Desk::start("640x360");
    let rtsp = RtspServer::start();
    let server = Server::start(&rtsp);
    desk.tone("mic", 440, 60);
    desk.tone("spk", 660, 60);
    let mut driver = Driver::on(&desk);
    driver.record(&server.api, "cap-1", &["mic:default"]).unwrap();
    wait_for_tone(&rtsp);

    desk.unplug_microphone();
    assert_eq!(health(&mut driver), "lost");
    // The sound server would rather have us hear the loudspeakers now.
    wait_for("silence", || tail(&rtsp).iter().all(|s| *s == 0).then_some(()));
    desk.plug_microphone();
    assert_eq!(health(&mut driver), "restored");
    wait_for_tone(&rtsp);

    desk.restart_sound();
    assert_eq!(health(&mut driver), "lost");
    desk.tone("mic", 440, 30);
    assert_eq!(health(&mut driver), "restored");
    wait_for_tone(&rtsp);

    driver.ask("stopRecording", json!({ "sessionId": "cap-1" })).unwrap();
    let sound = rtsp.channel(0);
    assert_eq!((sound.connections, sound.torn_down), (1, true), "the session lived on");
    let steps = sound.units.windows(2).map(|w| w[1].wall - w[0].wall);
    assert!(steps.into_iter().all(|s| (s - 1024.0 / 48_000.0).abs() < 0.001), "the timeline has no hole");
    // A loss is told once, however often the device is looked for.
    assert!(!driver.told("recording:health"));
}

#[test]
fn a_microphone_that_comes_later_is_heard() {
    let mut desk = Desk::start("640x360");
    let rtsp = RtspServer::start();
    let server = Server::start(&rtsp);
    desk.unplug_microphone();
    let mut driver = Driver::on(&desk);
    driver.record(&server.api, "cap-1", &["mic:default"]).unwrap();
    assert_eq!(health(&mut driver), "lost");
    desk.tone("mic", 440, 30);
    desk.plug_microphone();
    assert_eq!(health(&mut driver), "restored");
    wait_for_tone(&rtsp);
    driver.ask("stopRecording", json!({ "sessionId": "cap-1" })).unwrap();
}
