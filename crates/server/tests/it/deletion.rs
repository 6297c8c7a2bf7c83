//! Deletion over HTTP, with real recordings: what goes at once, what stays, what a player is told, and when the disk is free again.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use vitascope_model::Span;

use crate::harness::KEY;
use crate::rtsp::{Live, Talk, clip, frames, live, publish};

const WHOLE: &str = "/stream?start=1&end=4000000000";

impl Live {
    pub(crate) async fn delete(&self, path: &str) -> Value {
        self.server.send("DELETE", path, Some(KEY), None).await.data()
    }

    /// A recorded and exported session; the id of its video.
    pub(crate) async fn exported(&self) -> String {
        let clip = clip(self.folder.path()).await;
        let (sound, picture) = tokio::join!(publish(&clip, "0:a", &self.urls[0]), publish(&clip, "0:v", &self.urls[1]));
        assert!(sound && picture);
        self.server.post(&format!("/capture/session/{}/stop", self.session), &json!({})).await.data();
        self.wait_for("exported").await["exported_video_id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn status(&self, url: &str) -> u16 {
        let path = url.strip_prefix(&self.server.app.config.public_url).unwrap_or(url);
        self.server.send("GET", path, None, None).await.status
    }

    pub(crate) fn objects(&self) -> usize {
        files(&self.server.app.config.data_dir.join("objects"))
    }

    /// After the grace, the sweeper leaves so many objects.
    pub(crate) async fn swept_to(&self, left: impl Fn(usize) -> bool) {
        self.server.clock.advance(Span::seconds(3601));
        self.server.app.sweep_bell.notify_one();
        for _ in 0..400 {
            if left(self.objects()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{} objects are left", self.objects());
    }
}

fn files(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let paths = entries.map(|e| e.unwrap().path());
    paths.map(|p| if p.is_dir() { files(&p) } else { 1 }).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_session_is_gone_and_its_video_keeps_its_ranges_until_it_is_deleted_too() {
    let live = live().await;
    let video = live.exported().await;
    let range = live.server.get(&format!("/rtstream/{}{WHOLE}", live.rtstreams[1])).await.data();
    let range_url = range["stream_url"].as_str().unwrap();
    assert_eq!(live.status(range_url).await, 200);
    let before = live.objects();

    live.delete(&format!("/collection/c-any/capture/session/{}", live.session)).await;
    let session = format!("/collection/default/capture/session/{}", live.session);
    for path in
        [session.clone(), format!("/capture/session/{}", live.session), format!("/rtstream/{}", live.rtstreams[0])]
    {
        assert_eq!(live.server.get(&path).await.refusal().0, 404, "{path}");
    }
    assert_eq!(live.server.send("DELETE", &session, Some(KEY), None).await.refusal().0, 404, "once");
    assert_eq!(live.server.get("/rtstream").await.data()["count"], 0);
    let (status, message) =
        live.server.get(range_url.strip_prefix(&live.server.app.config.public_url).unwrap()).await.refusal();
    assert!(status == 410 && message.contains("deleted"), "{status} {message}");
    assert_eq!(live.status(range["player_url"].as_str().unwrap()).await, 410);
    assert!(Talk::open(&live).await.announce(&live.urls[1]).await.contains(" 404 "));

    // The microphone's own recording goes, what the video owns stays; nothing goes before its grace is over.
    assert_eq!(live.objects(), before);
    live.swept_to(|left| left < before).await;
    assert!(live.objects() > 0);
    let shown = live.server.get(&format!("/video/{video}")).await.data();
    let url = shown["stream_url"].as_str().unwrap();
    assert_eq!(frames(url, "v:0").await, 300);

    live.delete(&format!("/video/{video}?collection_id=default")).await;
    assert_eq!(live.server.get(&format!("/video/{video}")).await.refusal().0, 404);
    assert_eq!((live.status(url).await, live.status(&url.replace("index.m3u8", "0.m4s")).await), (410, 410));
    live.swept_to(|left| left == 0).await;
    assert_eq!(files(&live.server.app.config.data_dir.join("journal")), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_video_leaves_the_recording_to_its_rtstreams() {
    let live = live().await;
    let video = live.exported().await;
    let before = live.objects();
    live.delete(&format!("/video/{video}")).await;
    let shown = live.shown().await;
    assert_eq!((&shown["status"], &shown["exported_video_id"]), (&json!("exported"), &json!(null)), "{shown}");
    live.server.clock.advance(Span::seconds(3601));
    let range = live.server.get(&format!("/rtstream/{}{WHOLE}", live.rtstreams[1])).await.data();
    assert_eq!(frames(range["stream_url"].as_str().unwrap(), "v:0").await, 300);
    assert_eq!(live.objects(), before);
    live.delete(&format!("/rtstream/{}", live.rtstreams[1])).await;
    live.swept_to(|left| left < before).await;
    let names: Vec<String> = live.shown().await["rtstreams"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["mic:default"], "the channel went with its rtstream");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_session_is_stopped_before_it_is_deleted_and_exports_nothing() {
    let live = live().await;
    let clip = clip(live.folder.path()).await;
    assert!(publish(&clip, "0:v", &live.urls[1]).await);
    let mut talking = Talk::open(&live).await;
    assert!(talking.announce(&live.urls[1]).await.contains(" 200 "));
    live.delete(&format!("/collection/default/capture/session/{}", live.session)).await;
    assert!(talking.hung_up().await, "its publisher is sent away");
    assert_eq!(live.server.get("/video").await.data()["videos"], json!([]));
    assert_eq!(live.server.get("/collection/default/capture/session").await.data()["sessions"], json!([]));
    live.swept_to(|left| left == 0).await;
    assert_eq!(live.server.get("/video").await.data()["videos"], json!([]), "no export came after");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rtstream_of_a_live_session_is_deleted_and_the_session_goes_on() {
    let live = live().await;
    let clip = clip(live.folder.path()).await;
    assert!(publish(&clip, "0:a", &live.urls[0]).await);
    live.delete(&format!("/rtstream/{}", live.rtstreams[0])).await;
    assert_eq!(live.server.get(&format!("/rtstream/{}", live.rtstreams[0])).await.refusal().0, 404);
    assert!(Talk::open(&live).await.announce(&live.urls[0]).await.contains(" 404 "));
    assert!(publish(&clip, "0:v", &live.urls[1]).await, "the other channel records");
    live.server.post(&format!("/capture/session/{}/stop", live.session), &json!({})).await.data();
    let exported = live.wait_for("exported").await;
    assert!(exported["exported_video_id"].as_str().unwrap().starts_with("m-"));
    assert_eq!(exported["rtstreams"].as_array().unwrap().len(), 1);
}
