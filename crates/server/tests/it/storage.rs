//! What the disk and the meters say: health per channel, no recording without room, and a mix that is whole again after a crash.

use std::time::Duration;

use serde_json::{Value, json};
use vitascope_model::id::CaptureSessionId;
use vitascope_model::{Span, TimeRange, WallTime};
use vitascope_server::app::{App, recording};
use vitascope_server::live::remix;

use crate::harness::TestServer;
use crate::rtsp::{Live, clip, live, publish};

async fn until(what: &str, mut found: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if found().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what} did not come");
}

/// Of microphone and display.
fn health(shown: &Value) -> [Value; 2] {
    [shown["channels"][0]["health"].clone(), shown["channels"][1]["health"].clone()]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_channel_tells_how_it_is_doing() {
    let live = live().await;
    let [mic, display] = health(&live.shown().await);
    assert_eq!((&mic["state"], &display["state"]), (&json!("waiting"), &json!("waiting")));
    assert_eq!((&mic["bytes"], &mic["bytes_per_hour"]), (&json!(0), &Value::Null));
    assert!(publish(&clip(live.folder.path()).await, "0:a", &live.urls[0]).await);
    until("the level", async || !health(&live.shown().await)[0]["level_db"].is_null()).await;
    until("its end", async || health(&live.shown().await)[0]["state"] == "gone").await;
    let [mic, display] = health(&live.shown().await);
    assert_eq!(display["state"], "waiting");
    // A sine of ffmpeg is 18 dB below full scale, and the clip lasts ten seconds.
    assert!((-25.0..-15.0).contains(&mic["level_db"].as_f64().unwrap()), "{mic}");
    assert!((9.7..10.1).contains(&mic["recorded_seconds"].as_f64().unwrap()), "{mic}");
    assert!(mic["samples"].as_u64().unwrap() > 450 && mic["dropped"] == 0, "{mic}");
    let hourly = mic["bytes"].as_f64().unwrap() * 3600.0 / mic["recorded_seconds"].as_f64().unwrap();
    assert!((mic["bytes_per_hour"].as_f64().unwrap() / hourly - 1.0).abs() < 0.01, "{mic}");
    let metrics = live.server.get("/metrics").await.body.as_str().unwrap().to_owned();
    let row = format!("rtstream=\"{}\",channel=\"mic:default\",state=\"gone\"", live.rtstreams[0]);
    assert!(metrics.contains(&row) && metrics.contains("vitascope_disk_free_bytes"), "{metrics}");
    // The recorder's own view has it as well, and rows keep it when the session is over.
    let recorder = live.server.get(&format!("/capture/session/{}", live.session)).await.data();
    assert_eq!(recorder["channels"][0]["health"]["state"], "gone");
    live.server.post(&format!("/capture/session/{}/stop", live.session), &json!({})).await.data();
    let [ended, _] = health(&live.wait_for("exported").await);
    assert_eq!(
        (&ended["state"], &ended["samples"], &ended["bytes"]),
        (&json!("ended"), &mic["samples"], &mic["bytes"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_nothing_begins() {
    let server = TestServer::start_with(|config| config.min_free = u64::MAX).await;
    let session = server.create_session(&json!({})).await;
    let channels = json!([{ "channel_id": "mic:default" }]);
    let start = json!({ "session_id": session, "channels": channels });
    let (status, message) = server.post("/capture/session/start", &start).await.refusal();
    assert!(status == 507 && message.contains("the disk is nearly full"), "{status} {message}");
    let shown = server.get(&format!("/collection/default/capture/session/{session}")).await.data();
    assert_eq!(shown["status"], "created", "it may be started when there is room");
    assert!(server.get("/metrics").await.body.as_str().unwrap().contains("vitascope_disk_is_full 1"));
}

/// A second look at the same data, as the next process after a crash has it.
async fn after_a_crash(live: &Live) -> App {
    let app = App::open((*live.server.app.config).clone(), live.server.clock.clone()).await.unwrap();
    recording::recover_journals(&app).await.unwrap();
    remix::complete_all(&app).await.unwrap();
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_kept_from_the_mix_is_made_again() {
    let live = live().await;
    let id: CaptureSessionId = live.session.parse().unwrap();
    assert!(publish(&clip(live.folder.path()).await, "0:a", &live.urls[0]).await);
    until("the source's end", async || live.server.app.ingest.is_idle()).await;
    // The mix gives out what is older than its patience: the first five seconds, and no more.
    live.server.clock.advance(Span::millis(6500));
    let journals = live.server.app.config.data_dir.join("journal");
    until("the mix", async || {
        let Some(mix) = live.server.app.store.find_mix_track(&id).await.unwrap() else { return false };
        let files = std::fs::read_dir(journals.join(mix.id.as_str())).into_iter().flatten();
        files.filter_map(|f| Some(f.ok()?.metadata().ok()?.len())).sum::<u64>() > 40_000
    })
    .await;
    let app = after_a_crash(&live).await;
    let source = app.store.find_rtstream_track(&live.rtstreams[0].parse().unwrap()).await.unwrap().unwrap();
    let mix = app.store.find_mix_track(&id).await.unwrap().unwrap();
    let (source, mixed) = (app.store.track_extent(&source.id).await, app.store.track_extent(&mix.id).await);
    let (source, mixed) = (source.unwrap().unwrap(), mixed.unwrap().unwrap());
    assert!((mixed.end_us - source.end_us).abs() < 100_000, "{source:?} {mixed:?}");
    let ever = TimeRange::new(WallTime(0), WallTime(i64::MAX)).unwrap();
    let chunks = app.store.list_chunks(&mix.id, ever).await.unwrap();
    assert!(chunks.len() >= 2, "what was there before is kept");
    for pair in chunks.windows(2) {
        let seam = pair[1].start - pair[0].end;
        assert!(seam.0.abs() < 11_000, "half a frame at the most, not {} µs", seam.0);
    }
    // The tone is in every chunk: a frame of silence has a few bytes.
    for chunk in &chunks {
        assert!(chunk.bytes / chunk.samples > 50, "{} bytes in {} frames", chunk.bytes, chunk.samples);
    }
    // A second time there is nothing to do.
    remix::complete_all(&app).await.unwrap();
    assert_eq!(app.store.list_chunks(&mix.id, ever).await.unwrap().len(), chunks.len());
    app.store.close().await;
}
