//! Retention, seen from outside: what goes when it is too old or too much, what never goes, and how both are set and shown.
//! Ages come from the clock that the test turns; where sizes matter, recordings are rows of a known size.

use serde_json::{Value, json};
use vitascope_model::capture::{MediaKind, SessionState};
use vitascope_model::id::{CaptureSessionId, CollectionId, RtStreamId, TrackId, VideoId};
use vitascope_model::rtstream::{LivePlace, RtStream, RtStreamState, SealedChunk, Track, TrackRole, Transcription};
use vitascope_model::stream::{AssetPart, Purpose, Video};
use vitascope_model::{Span, TimeRange, WallTime};
use vitascope_server::app::retention::enforce;
use vitascope_server::config::Cap;
use vitascope_store::{capture, rtstream, track, video};

use crate::harness::TestServer;
use crate::rtsp::{frames, live};
use crate::socket::Socket;

const MINUTE: i64 = 60_000_000;
const T0: i64 = 1_700_000_000_000_000;

fn at(minute: i64) -> WallTime {
    WallTime(T0 + minute * MINUTE)
}

/// Of the test's own making: a chunk of 100 bytes a minute, from one minute to another.
struct Recording {
    rtstream: RtStreamId,
    track: TrackId,
}

impl TestServer {
    async fn collection(&self, fields: &Value) -> CollectionId {
        let made = self.post("/collection", fields).await.data();
        made["id"].as_str().unwrap().parse().unwrap()
    }

    async fn recording(&self, place: &CollectionId, minutes: std::ops::Range<i64>, open: bool) -> Recording {
        self.recording_of(place, minutes, open, None).await
    }

    async fn recording_of(
        &self,
        place: &CollectionId,
        minutes: std::ops::Range<i64>,
        open: bool,
        session: Option<CaptureSessionId>,
    ) -> Recording {
        let owner = self.app.store.find_first_user().await.unwrap().unwrap();
        let id = self.app.now().0.to_le_bytes();
        let salt = [id[0], id[1], id[2], id[3], 0, 0, 0, 0, 0, 0];
        let made = RtStream {
            id: RtStreamId::mint(self.app.now(), salt),
            owner: owner.clone(),
            collection_id: place.clone(),
            session_id: session.clone(),
            name: "input".to_owned(),
            category: None,
            kind: MediaKind::Video,
            state: RtStreamState::Stopped,
            store: true,
            sample_rate: 30,
            keep: false,
            exported: None,
            created_at: at(0),
            transcription: Transcription::NotConfigured,
        };
        let row = Track {
            id: TrackId::mint(self.app.now(), salt),
            owner,
            collection_id: place.clone(),
            rtstream_id: Some(made.id.clone()),
            session_id: session,
            original_id: None,
            role: TrackRole::Source,
            kind: MediaKind::Video,
            open,
            kept_from: None,
        };
        let recording = Recording { rtstream: made.id.clone(), track: row.id.clone() };
        let insert = self.app.store.write(move |tx| {
            Box::pin(async move {
                rtstream::insert(tx, &made).await?;
                track::insert(tx, &row).await?;
                for minute in minutes {
                    let chunk = SealedChunk {
                        start: at(minute),
                        end: at(minute + 1),
                        bytes: 100,
                        samples: 1,
                        object: format!("tracks/{}/{}.dat", row.id, at(minute).0),
                        index: Vec::new(),
                        segments: 1,
                        place: LivePlace::default(),
                    };
                    track::insert_chunk(tx, &row.id, &chunk).await?;
                }
                Ok(())
            })
        });
        insert.await.unwrap();
        recording
    }

    /// Owns some minutes of a recording.
    async fn video_of(&self, place: &CollectionId, recording: &Recording, minutes: std::ops::Range<i64>) -> String {
        let range = TimeRange::new(at(minutes.start), at(minutes.end)).unwrap();
        let row = Video {
            id: VideoId::mint(self.app.now(), [7; 10]),
            owner: self.app.store.find_first_user().await.unwrap().unwrap(),
            collection_id: place.clone(),
            name: "a video".to_owned(),
            description: None,
            original_id: None,
            length: range.length(),
            bytes: 1,
            stream_id: "0".repeat(32),
            thumbnail: None,
            dropped_at: None,
            keep: false,
            created_at: self.app.now(),
            parts: vec![AssetPart { track_id: recording.track.clone(), range, purpose: Purpose::Both }],
        };
        let id = row.id.to_string();
        self.app.store.write(move |tx| Box::pin(async move { video::insert(tx, &row).await })).await.unwrap();
        id
    }

    /// The minutes that are left of a recording.
    async fn minutes(&self, recording: &Recording) -> Vec<i64> {
        let ever = TimeRange::new(WallTime(0), WallTime(i64::MAX)).unwrap();
        let chunks = self.app.store.list_chunks(&recording.track, ever).await.unwrap();
        let shown = self.get(&format!("/rtstream/{}", recording.rtstream)).await.data();
        assert_eq!(shown["bytes"], json!(chunks.len() * 100), "the count is true");
        chunks.iter().map(|c| (c.start.0 - T0) / MINUTE).collect()
    }

    /// What sockets were told of retention, oldest first.
    async fn told(&self) -> Vec<Value> {
        let events = self.app.store.list_events_after(0, 1000).await.unwrap();
        let frames = events.iter().filter_map(|e| serde_json::from_str::<Value>(e.frame.as_deref()?).ok());
        frames.filter(|f| f["channel"] == "storage").collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_goes_and_what_is_kept_for_ever_stays() {
    let live = live().await;
    let video = live.exported().await;
    let (server, [mic, display]) = (&live.server, &live.rtstreams);
    let range = server.get(&format!("/rtstream/{display}/stream?start=1&end=4000000000")).await.data();
    let range_url = range["stream_url"].as_str().unwrap();
    let video_url = server.get(&format!("/video/{video}")).await.data()["stream_url"].as_str().unwrap().to_owned();
    assert_eq!((frames(range_url, "v:0").await, frames(&video_url, "v:0").await), (300, 300));
    let shown = server.get(&format!("/rtstream/{display}")).await.data();
    let bytes = shown["bytes"].as_f64().unwrap();
    // Ten seconds were recorded.
    assert!((shown["bytes_per_hour"].as_f64().unwrap() / (bytes * 360.0) - 1.0).abs() < 0.05, "{shown}");
    assert_eq!((&shown["kept_from"], &shown["keep"]), (&Value::Null, &json!(false)));
    server.patch("/collection/default", &json!({ "retention": { "max_days": 1.5 } })).await.data();
    assert!(enforce(&server.app).await.unwrap());
    assert_eq!(server.told().await, [] as [Value; 0], "nothing is so old");

    server.clock.advance(Span::seconds(2 * 86_400));
    let session = format!("/collection/default/capture/session/{}", live.session);
    assert_eq!(server.patch(&session, &json!({ "keep": true })).await.data()["keep"], json!(true));
    enforce(&server.app).await.unwrap();
    assert_eq!(server.told().await, [] as [Value; 0], "all of it is kept");
    assert_eq!(server.get(&session).await.data()["keep"], json!(true));

    // A kept video keeps what it refers to: the picture and the mixed sound. The microphone's own recording goes.
    server.patch(&session, &json!({ "keep": false })).await.data();
    assert_eq!(server.patch(&format!("/video/{video}"), &json!({ "keep": true })).await.data()["keep"], json!(true));
    enforce(&server.app).await.unwrap();
    assert_eq!(server.told().await.len(), 1);
    assert_eq!(server.told().await[0]["data"]["rtstreams"], json!([mic]));
    let gone = server.get(&format!("/rtstream/{mic}")).await.data();
    assert_eq!((&gone["bytes"], gone["kept_from"].is_string()), (&json!(0), true), "{gone}");
    assert_eq!(frames(&video_url, "v:0").await, 300);

    server.patch(&format!("/video/{video}"), &json!({ "keep": false })).await.data();
    enforce(&server.app).await.unwrap();
    assert_eq!(server.get(&format!("/video/{video}")).await.refusal().0, 404);
    assert_eq!((live.status(&video_url).await, live.status(range_url).await), (410, 410));
    assert_eq!(server.get("/collection/default").await.data()["stored_bytes"], json!(0));
    assert_eq!(server.get(&session).await.data()["exported_video_id"], Value::Null, "the session itself stays");
    let told = server.told().await;
    assert_eq!((&told[1]["data"]["assets"], &told[1]["data"]["reason"]), (&json!([video]), &json!("max_days")));
    // Again, as after a crash: there is nothing left to do, and nothing is told twice.
    enforce(&server.app).await.unwrap();
    assert_eq!(server.told().await.len(), 2);
    live.swept_to(|left| left == 0).await;
}

#[tokio::test]
async fn a_full_collection_loses_its_oldest_and_no_other_does() {
    let server = TestServer::start().await;
    // A thousand bytes.
    let small = server.collection(&json!({ "name": "small", "retention": { "max_gb": 0.000_001 } })).await;
    let large = server.collection(&json!({ "name": "large" })).await;
    let first = server.recording(&small, 0..10, false).await;
    let second = server.recording(&small, 5..15, false).await;
    let other = server.recording(&large, 0..30, false).await;
    let stored = async || server.get(&format!("/collection/{small}")).await.data()["stored_bytes"].as_i64().unwrap();
    assert_eq!(stored().await, 2000);
    let (mut socket, _) = Socket::open(&server, "").await;
    assert!(enforce(&server.app).await.unwrap());
    let heard = socket.frame().await;
    assert_eq!((&heard["channel"], &heard["event"]), (&json!("storage"), &json!("storage.deleted")));
    assert_eq!(heard["data"]["collection_id"], json!(small.as_str()));
    // Both lose what is older than one moment; a fiftieth more goes than must.
    assert_eq!(server.minutes(&first).await, [8, 9]);
    assert_eq!(server.minutes(&second).await, (8..15).collect::<Vec<_>>());
    assert_eq!(server.minutes(&other).await.len(), 30);
    let shown = server.get(&format!("/rtstream/{}", second.rtstream)).await.data();
    assert_eq!(shown["kept_from"], json!(at(8).to_string()));
    let told = server.told().await;
    assert_eq!((told.len(), &told[0]["data"]["reason"]), (1, &json!("max_gb")));
    assert_eq!((&told[0]["data"]["bytes"], &told[0]["data"]["before"]), (&json!(1100), &json!(at(8).to_string())));
    assert!(enforce(&server.app).await.unwrap());
    assert_eq!((server.told().await.len(), stored().await), (1, 900));
}

#[tokio::test]
async fn the_days_of_the_server_count_where_a_collection_has_none() {
    let server = TestServer::start_with(|config| config.retention.max_age = Some(Span(10 * MINUTE))).await;
    // The clock stands at some moment after these; by it, all but the last ten minutes are too old.
    server.clock.advance(Span(at(20).0 - server.app.now().0));
    let default = server.collection(&json!({ "name": "as the server says" })).await;
    let longer = server.collection(&json!({ "name": "longer", "retention": { "max_days": 1 } })).await;
    let (short, long) = (server.recording(&default, 0..20, false).await, server.recording(&longer, 0..20, false).await);
    enforce(&server.app).await.unwrap();
    assert_eq!(server.minutes(&short).await, (10..20).collect::<Vec<_>>());
    assert_eq!(server.minutes(&long).await.len(), 20);
}

#[tokio::test]
async fn a_full_server_loses_the_oldest_of_all_collections() {
    let server = TestServer::start_with(|config| config.retention.cap = Cap::Bytes(2500)).await;
    let (one, two) =
        (server.collection(&json!({ "name": "a" })).await, server.collection(&json!({ "name": "b" })).await);
    let (old, new) = (server.recording(&one, 0..20, false).await, server.recording(&two, 15..35, false).await);
    assert!(enforce(&server.app).await.unwrap());
    assert_eq!(server.minutes(&old).await, (16..20).collect::<Vec<_>>());
    assert_eq!(server.minutes(&new).await, (16..35).collect::<Vec<_>>());
    assert_eq!(server.told().await[0]["data"]["reason"], json!("server_max_gb"));
}

#[tokio::test]
async fn what_still_grows_keeps_its_last_minutes_and_what_is_kept_counts_but_stays() {
    let server = TestServer::start().await;
    let place = server.collection(&json!({ "name": "tiny", "retention": { "max_gb": 0.000_000_001 } })).await;
    let growing = server.recording(&place, 0..30, true).await;
    let kept = server.recording(&place, 0..5, false).await;
    let path = format!("/rtstream/{}", kept.rtstream);
    assert_eq!(server.patch(&path, &json!({ "keep": true })).await.data()["keep"], json!(true));
    assert!(!enforce(&server.app).await.unwrap(), "that is all that may go");
    assert_eq!(server.minutes(&growing).await, (20..30).collect::<Vec<_>>());
    assert_eq!(server.minutes(&kept).await.len(), 5);
    server.patch(&path, &json!({ "keep": false })).await.data();
    enforce(&server.app).await.unwrap();
    assert_eq!(server.minutes(&kept).await, [] as [i64; 0]);
}

#[tokio::test]
async fn a_video_goes_as_a_whole_and_holds_what_it_refers_to() {
    let server = TestServer::start().await;
    let place = server.collection(&json!({ "name": "c", "retention": { "max_gb": 0.000_001_5 } })).await;
    let recording = server.recording(&place, 0..20, false).await;
    let video = server.video_of(&place, &recording, 2..12).await;
    server.patch(&format!("/video/{video}"), &json!({ "keep": true })).await.data();
    enforce(&server.app).await.unwrap();
    // Before it and after it there is enough that may go.
    let left = server.minutes(&recording).await;
    assert_eq!(left, (2..12).chain(16..20).collect::<Vec<_>>());
    server.patch(&format!("/collection/{place}"), &json!({ "retention": { "max_gb": 0.000_001_3 } })).await.data();
    server.patch(&format!("/video/{video}"), &json!({ "keep": false })).await.data();
    enforce(&server.app).await.unwrap();
    assert_eq!(server.get(&format!("/video/{video}")).await.refusal().0, 404);
    assert_eq!(server.minutes(&recording).await, (16..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_session_that_is_about_to_be_exported_loses_nothing() {
    let server = TestServer::start().await;
    let place = server.collection(&json!({ "name": "c", "retention": { "max_gb": 0.000_000_001 } })).await;
    let body = json!({ "end_user_id": "u" });
    let made = server.post(&format!("/collection/{place}/capture/session"), &body).await.data();
    let session: CaptureSessionId = made["session_id"].as_str().unwrap().parse().unwrap();
    let recording = server.recording_of(&place, 0..20, false, Some(session.clone())).await;
    let now = server.app.now();
    let moved = server.app.store.write(move |tx| {
        Box::pin(async move {
            capture::move_to(tx, &session, SessionState::Created, SessionState::Stopping, None, now).await
        })
    });
    assert!(moved.await.unwrap());
    assert!(!enforce(&server.app).await.unwrap());
    assert_eq!(server.minutes(&recording).await.len(), 20);
}

#[tokio::test]
async fn limits_are_set_shown_and_refused_when_they_are_none() {
    let server = TestServer::start().await;
    let unset = json!({ "max_gb": null, "max_days": null });
    assert_eq!(server.get("/collection/default").await.data()["retention"], unset);
    let retention = async |body: Value| server.patch("/collection/default", &body).await.data()["retention"].clone();
    let set = json!({ "max_gb": 0.5, "max_days": 30.0 });
    assert_eq!(retention(json!({ "retention": set })).await, set);
    assert_eq!(retention(json!({ "name": "renamed" })).await, set, "what no SDK sends changes nothing");
    let half = json!({ "max_gb": null, "max_days": 30.0 });
    assert_eq!(retention(json!({ "retention": { "max_gb": null } })).await, half);
    for wrong in [
        json!({ "max_gb": 0 }),
        json!({ "max_days": -1 }),
        json!({ "max_days": "7" }),
        json!({ "max_hours": 1 }),
        json!(7),
    ] {
        let (status, _) = server.patch("/collection/default", &json!({ "retention": wrong })).await.refusal();
        assert_eq!(status, 400, "{wrong}");
        let new = json!({ "name": "new", "retention": wrong });
        assert_eq!(server.post("/collection", &new).await.refusal().0, 400, "{wrong}");
    }
    assert_eq!(server.get("/collection/default").await.data()["retention"], half);
    let session = format!("/collection/default/capture/session/{}", server.create_session(&json!({})).await);
    assert_eq!(server.patch(&session, &json!({ "keep": "yes" })).await.refusal().0, 400);
    assert_eq!(server.get(&session).await.data()["keep"], json!(false));
    assert_eq!(server.patch("/video/m-none", &json!({ "keep": true })).await.refusal().0, 404);
    assert_eq!(server.patch("/audio/a-none", &json!({ "name": "x" })).await.refusal().0, 404);
}
