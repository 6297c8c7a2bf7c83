//! What is seen and heard at the same moment is recorded at the same moment: a player shows flashes and plays beeps, and both are
//! found again on the common timeline that the sender reports make.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use crate::desk::{Desk, wait_for};
use crate::driver::Driver;
use crate::media::{brightness, samples};
use crate::recording::now;
use crate::rtsp_server::{Publication, RtspServer};
use crate::server::Server;

/// White for a tenth of a second each second, and a beep with it.
fn flash_and_beep(desk: &Desk, file: &str, seconds: u32) {
    let picture = format!("color=black:s=640x360:r=30:d={seconds},geq=lum='if(lt(mod(N,30),3),235,16)':cb=128:cr=128");
    let sound = format!("aevalsrc='if(lt(mod(t,1),0.1),0.6*sin(2*PI*880*t),0)':s=48000:d={seconds}");
    let status = desk
        .command("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &sound])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-g", "15", "-c:a", "pcm_s16le", file])
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
}

/// When each flash begins.
fn flashes(video: &Publication) -> Vec<f64> {
    let seen = brightness(video.bytes());
    (1..seen.len()).filter(|n| seen[*n] > 128 && seen[*n - 1] <= 128).map(|n| video.units[n].wall).collect()
}

/// When each beep begins.
fn beeps(audio: &Publication) -> Vec<f64> {
    let heard = samples(audio.bytes());
    let mut found: Vec<f64> = Vec::new();
    let mut quiet_for = 0;
    for (n, sample) in heard.iter().enumerate() {
        if sample.unsigned_abs() > 3_000 {
            if quiet_for > 9_600 {
                found.push(audio.units[n / 1024].wall + (n % 1024) as f64 / 48_000.0);
            }
            quiet_for = 0;
        } else {
            quiet_for += 1;
        }
    }
    found
}

/// A desktop on which the player has begun.
fn playing(folder: &Path, seconds: u32) -> Desk {
    let mut desk = Desk::start("640x360");
    let file = folder.join("flash.mkv").display().to_string();
    flash_and_beep(&desk, &file, seconds);
    let mut player = desk.command("mpv");
    player.args(["--no-config", "--vo=x11", "--ao=pulse", "--fs", "--no-osc", "--really-quiet", &file]);
    desk.run(player);
    desk
}

/// The beeps after their flashes, those that begin after `from`, and that they are near.
fn assert_near(rtsp: &RtspServer, from: f64, at_least: usize) {
    let flashes: Vec<f64> = flashes(&rtsp.channel(0)).into_iter().filter(|f| *f > from).collect();
    let beeps = beeps(&rtsp.channel(1));
    let mut offsets: Vec<f64> = flashes
        .iter()
        .filter_map(|f| beeps.iter().map(|b| b - f).min_by(|a, b| a.abs().total_cmp(&b.abs())))
        .filter(|o| o.abs() < 0.5)
        .collect();
    offsets.sort_by(f64::total_cmp);
    assert!(offsets.len() >= at_least, "flashes at {flashes:?}, beeps at {beeps:?}");
    let median = offsets[offsets.len() / 2];
    eprintln!("beep after flash: {median:.3} s (all: {offsets:.3?})");
    assert!(median.abs() < 0.08, "the beep is {median} s after the flash: {offsets:?}");
}

fn wait_for_flashes(rtsp: &RtspServer, from: f64, count: usize) {
    let enough = || flashes(&rtsp.channel(0)).into_iter().filter(|f| *f > from).count() >= count;
    wait_for("flashes", || enough().then_some(()));
}

/// The wall time of the newest picture and the newest sound, which is now but for what is under way.
fn newest(rtsp: &RtspServer) -> [f64; 2] {
    [0, 1].map(|n| rtsp.channel(n).units.last().map_or(0.0, |u| u.wall))
}

#[test]
fn a_flash_and_a_beep_lie_within_80_ms() {
    let folder = tempfile::tempdir().unwrap();
    let desk = playing(folder.path(), 12);
    let rtsp = RtspServer::start();
    let server = Server::start(&rtsp);
    let mut driver = Driver::on(&desk);
    driver.record(&server.api, "cap-1", &["display:1", "system_audio:default"]).unwrap();
    wait_for_flashes(&rtsp, 0.0, 6);
    driver.ask("stopRecording", json!({ "sessionId": "cap-1" })).unwrap();
    assert_near(&rtsp, 0.0, 3);
}

/// Contract §7.3: pausing keeps the session alive; after it the clocks are still one.
#[test]
fn they_do_so_after_a_pause_and_after_a_suspension() {
    let folder = tempfile::tempdir().unwrap();
    let desk = playing(folder.path(), 40);
    let rtsp = RtspServer::start();
    let server = Server::start(&rtsp);
    let mut driver = Driver::on(&desk);
    driver.record(&server.api, "cap-1", &["display:1", "system_audio:default"]).unwrap();
    wait_for_flashes(&rtsp, 0.0, 1);

    driver.ask("pauseTracks", json!({ "tracks": ["screen", "system_audio"] })).unwrap();
    let paused = newest(&rtsp)[1];
    wait_for("two seconds of silence", || (newest(&rtsp)[1] > paused + 2.0).then_some(()));
    driver.ask("resumeTracks", json!({ "tracks": ["screen", "system_audio"] })).unwrap();
    let resumed = newest(&rtsp)[1];
    assert!(flashes(&rtsp.channel(0)).iter().all(|f| *f < paused + 0.3), "nothing is seen in a pause");
    wait_for_flashes(&rtsp, resumed, 3);
    assert_near(&rtsp, resumed, 2);

    // A hitch: what sounded meanwhile is late, and still comes to its place.
    driver.signal("STOP");
    std::thread::sleep(Duration::from_millis(1_300));
    driver.signal("CONT");
    let after = now();
    wait_for_flashes(&rtsp, after, 3);
    assert_near(&rtsp, after, 2);
    let heard = beeps(&rtsp.channel(1)).into_iter().filter(|b| (after - 2.3..after + 2.0).contains(b)).count();
    assert!(heard >= 4, "{heard} beeps around a hitch, each second one");

    driver.signal("STOP");
    let stopped = now();
    std::thread::sleep(Duration::from_secs(4));
    driver.signal("CONT");
    let woken = now();
    let gap = driver.event("recording:health");
    assert_eq!((&gap["status"], &gap["channelId"]), (&json!("gap"), &json!("system_audio:default")));
    wait_for_flashes(&rtsp, woken + 1.0, 4);
    driver.ask("stopRecording", json!({ "sessionId": "cap-1" })).unwrap();
    assert_near(&rtsp, woken + 1.0, 3);
    let late = newest(&rtsp).map(|wall| now() - wall);
    assert!(late.iter().all(|l| (-0.05..1.0).contains(l)), "time runs on as it should: {late:?} s late");
    for n in [0, 1] {
        let walls: Vec<f64> = rtsp.channel(n).units.iter().map(|u| u.wall).collect();
        assert!(walls.windows(2).all(|w| w[0] < w[1]), "channel {n}: time never runs back");
        let within = walls.iter().filter(|w| (stopped + 0.5..woken - 0.5).contains(*w)).count();
        assert_eq!(within, 0, "channel {n}: nothing is told of the time in which nothing was recorded");
    }
    assert_eq!(server.count("POST /capture/session/start"), 1);
}
