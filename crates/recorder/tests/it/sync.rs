//! What is seen and heard at the same moment is recorded at the same moment: a player shows flashes and plays beeps, and both are
//! found again on the common timeline that the sender reports make.

use std::process::Stdio;

use serde_json::json;

use crate::desk::{Desk, wait_for};
use crate::driver::Driver;
use crate::media::{brightness, samples};
use crate::rtsp_server::{Publication, RtspServer};
use crate::server::Server;

/// White for a tenth of a second each second, and a beep with it.
fn flash_and_beep(desk: &Desk, file: &str) {
    let status = desk
        .command("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args([
            "-f",
            "lavfi",
            "-i",
            "color=black:s=640x360:r=30:d=12,geq=lum='if(lt(mod(N,30),3),235,16)':cb=128:cr=128",
        ])
        .args(["-f", "lavfi", "-i", "aevalsrc='if(lt(mod(t,1),0.1),0.6*sin(2*PI*880*t),0)':s=48000:d=12"])
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

#[test]
fn a_flash_and_a_beep_lie_within_80_ms() {
    let mut desk = Desk::start("640x360");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flash.mkv").display().to_string();
    flash_and_beep(&desk, &file);
    let rtsp = RtspServer::start();
    let server = Server::start(&rtsp);
    let mut driver = Driver::on(&desk);
    let mut player = desk.command("mpv");
    player.args(["--no-config", "--vo=x11", "--ao=pulse", "--fs", "--no-osc", "--really-quiet", &file]);
    desk.run(player);
    driver.record(&server.api, "cap-1", &["display:1", "system_audio:default"]).unwrap();
    wait_for("six flashes", || (flashes(&rtsp.channel(0)).len() >= 6).then_some(()));
    driver.ask("stopRecording", json!({ "sessionId": "cap-1" })).unwrap();
    let (flashes, beeps) = (flashes(&rtsp.channel(0)), beeps(&rtsp.channel(1)));
    let mut offsets: Vec<f64> = flashes
        .iter()
        .filter_map(|f| beeps.iter().map(|b| b - f).min_by(|a, b| a.abs().total_cmp(&b.abs())))
        .filter(|o| o.abs() < 0.5)
        .collect();
    offsets.sort_by(f64::total_cmp);
    assert!(offsets.len() >= 3, "flashes at {flashes:?}, beeps at {beeps:?}");
    let median = offsets[offsets.len() / 2];
    eprintln!("beep after flash: {median:.3} s (all: {offsets:.3?})");
    assert!(median.abs() < 0.08, "the beep is {median} s after the flash: {offsets:?}");
}
