//! What is recorded is what was there: pictures, sound, and their times.

use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use crate::desk::{Desk, wait_for};
use crate::driver::Driver;
use crate::media::{brightness, samples, share_of_tone};
use crate::rtsp_server::RtspServer;
use crate::server::Server;

#[expect(clippy::disallowed_methods, reason = "a test compares with the time of day")]
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

#[test]
fn a_changing_screen_and_a_tone_arrive_whole_and_in_time() {
    let mut desk = Desk::start("640x360");
    let (rtsp, window) = (RtspServer::start(), desk.window());
    let server = Server::start(&rtsp);
    desk.tone("spk", 440, 20);
    let mut driver = Driver::on(&desk);
    driver.ask("getChannels", json!({})).unwrap();
    let asked = Instant::now();
    driver.record(&server.api, "cap-1", &["mic:default", "system_audio:default", "display:1"]).unwrap();
    assert!(asked.elapsed() < Duration::from_millis(1_500), "publishing began after {:?}", asked.elapsed());
    assert_eq!(driver.event("recording:started"), json!({ "sessionId": "cap-1" }));
    let mut drawn = Vec::new();
    for n in 0..20u8 {
        drawn.push((now(), 16 + n * 12));
        window.fill(n * 12);
        std::thread::sleep(Duration::from_millis(150));
    }
    let stopped_at = now();
    let asked = Instant::now();
    driver.ask("stopRecording", json!({ "sessionId": "cap-1" })).unwrap();
    assert!(asked.elapsed() < Duration::from_millis(1_500), "the stop took {:?}", asked.elapsed());
    assert_eq!(driver.event("recording:stopped"), json!({ "sessionId": "cap-1" }));

    let (_, token, body) = server.calls().remove(0);
    assert_eq!((token.as_str(), &body["session_id"]), ("st-test", &json!("cap-1")));
    let announced = json!({ "channel_id": "display:1", "channel_name": "the display:1", "type": "video", "store": true, "is_primary": false });
    assert_eq!(body["channels"][2], announced);
    assert_eq!(server.count("POST /capture/session/cap-1/stop"), 1);

    let video = rtsp.channel(2);
    assert!(video.torn_down && video.packets_without_report == 0 && video.reports >= 3, "{video:?}");
    let seen = brightness(video.bytes());
    assert_eq!(seen.len(), video.units.len(), "one picture for each access unit");
    let mut late: Vec<f64> = Vec::new();
    for (at, grey) in &drawn[1..] {
        let grey = f64::from(*grey - 16) * 219.0 / 255.0 + 16.0;
        let shown = seen.iter().position(|y| (f64::from(*y) - grey).abs() < 3.0);
        let shown = shown.unwrap_or_else(|| panic!("grey {grey} drawn at {at} is not in {seen:?}"));
        late.push(video.units[shown].wall - at);
    }
    late.sort_by(f64::total_cmp);
    assert!(late[0] > -0.005 && late[late.len() / 2] < 0.07, "pictures were taken {late:?} s after they were drawn");
    let last = video.units.last().unwrap().wall;
    assert!((last - stopped_at).abs() < 0.3, "the picture lasts until the stop: {}", last - stopped_at);
    assert!(video.units.windows(2).all(|w| w[0].wall < w[1].wall));

    for (n, tone) in [(0, false), (1, true)] {
        let audio = rtsp.channel(n);
        assert!(audio.torn_down && audio.packets_without_report == 0);
        let steps = audio.units.windows(2).map(|w| w[1].wall - w[0].wall);
        assert!(steps.into_iter().all(|s| (s - 1024.0 / 48_000.0).abs() < 0.001), "sound has no holes");
        let last = audio.units.last().unwrap().wall;
        assert!((last - stopped_at).abs() < 0.3, "the sound lasts until the stop: {}", last - stopped_at);
        let heard = samples(audio.bytes());
        assert_eq!(heard.len(), audio.units.len() * 1024);
        // The tail: a sink that nobody heard takes its time until its monitor gives sound.
        let share = share_of_tone(&heard[heard.len() - 24_000..heard.len() - 4_000], 440.0);
        assert_eq!(share > 0.9, tone, "channel {n}: {share}");
    }
}

#[test]
fn a_still_screen_costs_little_and_has_a_key_frame_every_four_seconds() {
    let desk = Desk::start("640x360");
    let (rtsp, window) = (RtspServer::start(), desk.window());
    window.fill(90);
    let server = Server::start(&rtsp);
    let mut driver = Driver::on(&desk);
    driver.record(&server.api, "cap-1", &["display:1"]).unwrap();
    let enough = |n| rtsp.channel(0).units.iter().filter(|u| u.key).count() >= n;
    wait_for("the third key frame", || enough(3).then_some(()));
    driver.ask("stopRecording", json!({ "sessionId": "current" })).unwrap();
    let video = rtsp.channel(0);
    let keys: Vec<f64> = video.units.iter().filter(|u| u.key).map(|u| u.wall).collect();
    assert!(keys.windows(2).all(|w| w[1] - w[0] < 4.0), "{keys:?}");
    assert!(video.units.len() < 12, "{} pictures of nothing", video.units.len());
    assert!(brightness(video.bytes()).iter().all(|y| y.abs_diff(16 + 77) < 3));
}

#[test]
fn a_pause_records_silence_and_a_still_picture() {
    let mut desk = Desk::start("640x360");
    let (rtsp, window) = (RtspServer::start(), desk.window());
    let server = Server::start(&rtsp);
    desk.tone("mic", 440, 30);
    let mut driver = Driver::on(&desk);
    window.fill(50);
    driver.record(&server.api, "cap-1", &["mic:default", "display:1"]).unwrap();
    let loud = |rtsp: &RtspServer| {
        let heard = samples(rtsp.channel(0).bytes());
        heard.len() > 60_000 && share_of_tone(&heard[heard.len() - 20_000..], 440.0) > 0.9
    };
    wait_for("the tone", || loud(&rtsp).then_some(()));
    driver.ask("pauseTracks", json!({ "tracks": ["mic", "screen"] })).unwrap();
    let silent = |rtsp: &RtspServer| {
        let heard = samples(rtsp.channel(0).bytes());
        heard[heard.len() - 10_000..].iter().all(|s| s.unsigned_abs() < 50)
    };
    wait_for("silence", || silent(&rtsp).then_some(()));
    window.fill(250);
    // The next picture of a fixed moment still shows what was there before.
    let before = rtsp.channel(1).units.len();
    wait_for("a picture", || (rtsp.channel(1).units.len() > before).then_some(()));
    assert!(brightness(rtsp.channel(1).bytes()).iter().all(|y| *y < 100));
    driver.ask("resumeTracks", json!({ "tracks": ["screen"] })).unwrap();
    wait_for("the new picture", || brightness(rtsp.channel(1).bytes()).iter().any(|y| *y > 220).then_some(()));
    assert!(driver.ask("pauseTracks", json!({ "tracks": ["system_audio"] })).is_err());
    driver.ask("stopRecording", json!({ "sessionId": "cap-1" })).unwrap();
}

#[test]
fn without_devices_silence_is_recorded_at_the_pace_of_time() {
    let rtsp = RtspServer::start();
    let server = Server::start(&rtsp);
    let mut driver = Driver::start(Driver::nowhere());
    driver.record(&server.api, "cap-1", &["mic:default", "system_audio:default"]).unwrap();
    let begun = Instant::now();
    wait_for("two seconds of silence", || (rtsp.channel(1).units.len() > 94).then_some(()));
    assert!((1.0..3.0).contains(&begun.elapsed().as_secs_f64()), "{:?}", begun.elapsed());
    driver.ask("stopRecording", json!({ "sessionId": "cap-1" })).unwrap();
    assert!(samples(rtsp.channel(0).bytes()).iter().all(|s| *s == 0));
}

/// Somebody else's RTSP server takes what we publish.
#[test]
fn ffmpeg_receives_a_picture_and_a_sound() {
    let desk = Desk::start("640x360");
    let (folder, window) = (tempfile::tempdir().unwrap(), desk.window());
    let mut receivers = Vec::new();
    let mut addresses = Vec::new();
    for n in 0..2 {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("rtsp://127.0.0.1:{port}/live/{n}");
        let file = folder.path().join(format!("{n}.mkv"));
        let mut receiver = desk.command("ffmpeg");
        receiver.args(["-nostdin", "-v", "error", "-rtsp_flags", "listen", "-i", &address, "-c", "copy"]).arg(&file);
        receivers.push((receiver.spawn().unwrap(), file));
        addresses.push(address);
    }
    let server = Server::sending_media_to(addresses);
    let mut driver = Driver::on(&desk);
    driver.record(&server.api, "cap-1", &["display:1", "mic:default"]).unwrap();
    for n in 0..20u8 {
        window.fill(n * 12);
        std::thread::sleep(Duration::from_millis(100));
    }
    driver.ask("stopRecording", json!({ "sessionId": "cap-1" })).unwrap();
    let mut packets = Vec::new();
    for (mut receiver, file) in receivers {
        assert!(receiver.wait().unwrap().success());
        let mut probe = desk.command("ffprobe");
        probe.args([
            "-v",
            "error",
            "-count_packets",
            "-show_entries",
            "stream=codec_name,nb_read_packets",
            "-of",
            "csv=p=0",
        ]);
        packets.push(String::from_utf8(probe.arg(&file).output().unwrap().stdout).unwrap());
    }
    let count = |n: usize, codec: &str| packets[n].trim().strip_prefix(codec).unwrap().parse::<u32>().unwrap();
    assert!((18..60).contains(&count(0, "h264,")), "{packets:?}");
    assert!((80..200).contains(&count(1, "aac,")), "{packets:?}");
}

/// Contract §7.3: the process survives several cycles of start and stop.
#[test]
fn several_sessions_run_one_after_another() {
    let desk = Desk::start("640x360");
    let (rtsp, _window) = (RtspServer::start(), desk.window());
    let server = Server::start(&rtsp);
    let mut driver = Driver::on(&desk);
    for n in 1..=3 {
        let session = format!("cap-{n}");
        driver.record(&server.api, &session, &["display:1", "mic:default"]).unwrap();
        let busy = driver.record(&server.api, "cap-9", &["mic:default"]).unwrap_err();
        assert!(busy.contains(&session), "{busy}");
        wait_for("a picture", || (rtsp.channel(0).connections == n && !rtsp.channel(0).units.is_empty()).then_some(()));
        driver.ask("stopRecording", json!({ "sessionId": session })).unwrap();
        assert_eq!(server.count(&format!("POST /capture/session/{session}/stop")), 1);
    }
}
