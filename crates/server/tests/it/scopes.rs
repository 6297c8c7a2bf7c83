//! What a key may see, proved over every route there is: without a key, with the key of another account, with a key that is bound to
//! another collection, and with a client token. A route that is added later is walked over too.

use serde_json::{Value, json};
use vitascope_model::Span;
use vitascope_model::id::{CollectionId, JobId, UserId, VideoId};
use vitascope_model::stream::Video;
use vitascope_server::app::account;
use vitascope_server::http::route_list;
use vitascope_store::job::NewJob;
use vitascope_store::{job, user, video};

use crate::harness::{KEY, TestServer};

/// What of the contract a client token may call; whether it may do so with this session is another question.
const FOR_TOKENS: &[(&str, &str)] = &[
    ("POST", "/capture/session/start"),
    ("GET", "/capture/session/{session}"),
    ("POST", "/capture/session/{session}/stop"),
    ("GET", "/collection/{collection}/capture/session/{session}"),
    ("GET", "/collection/{collection}/websocket"),
];

/// A browser's socket bears no header: its first message is the token, and the session is looked up with the scope of that.
const ASKS_ITSELF: &str = "/capture/session/{session}/channel/{channel}/media";

/// Two collections with a started session and a video in the first, and a key that is bound to the second.
struct House {
    server: TestServer,
    here: String,
    there: String,
    session: String,
    rtstream: String,
    video: String,
    bound: String,
}

impl House {
    async fn build() -> House {
        let server = TestServer::start().await;
        let here = text(&server.get("/collection/default").await.data()["id"]);
        let there = text(&server.post("/collection", &json!({ "name": "there" })).await.data()["id"]);
        let session = server.create_session(&json!({})).await;
        let channels = json!([{ "channel_id": "mic:default" }]);
        let start = json!({ "session_id": session, "channels": channels });
        server.post("/capture/session/start", &start).await.data();
        let shown = server.get(&format!("/collection/{here}/capture/session/{session}")).await.data();
        let rtstream = text(&shown["rtstreams"][0]["id"]);
        let video = a_video(&server, &here).await;
        let bound = text(&server.post("/user/api_key", &json!({})).await.data()["api_key"]);
        let request = json!({ "api_key": bound, "collection_ids": [there] });
        server.send("PUT", "/user/api-key-collections", Some(KEY), Some(&request.to_string())).await.data();
        House { server, here, there, session, rtstream, video, bound }
    }

    fn fill(&self, pattern: &str) -> String {
        let segment = |segment: &str| match segment {
            "{collection}" => self.here.clone(),
            "{session}" => self.session.clone(),
            "{rtstream}" => self.rtstream.clone(),
            "{video}" => self.video.clone(),
            other if other.starts_with('{') => "x-1".to_owned(),
            other => other.to_owned(),
        };
        pattern.split('/').map(segment).collect::<Vec<_>>().join("/")
    }

    async fn status(&self, method: &str, pattern: &str, token: Option<&str>) -> u16 {
        self.server.send(method, &self.fill(pattern), token, Some("{}")).await.status
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

async fn a_video(server: &TestServer, collection: &str) -> String {
    let app = &server.app;
    let row = Video {
        id: VideoId::mint(app.now(), [1; 10]),
        owner: app.store.find_first_user().await.unwrap().unwrap(),
        collection_id: collection.parse::<CollectionId>().unwrap(),
        name: "a video".to_owned(),
        description: None,
        original_id: None,
        length: Span::seconds(1),
        bytes: 1,
        stream_id: "0".repeat(32),
        thumbnail: None,
        dropped_at: None,
        keep: false,
        created_at: app.now(),
        parts: Vec::new(),
    };
    let id = row.id.to_string();
    app.store.write(move |tx| Box::pin(async move { video::insert(tx, &row).await })).await.unwrap();
    id
}

/// A second account, as another installation of users would have it.
async fn a_strangers_key(server: &TestServer) -> String {
    let (id, now) = (UserId::mint(server.app.now(), [9; 10]), server.app.now());
    let stranger = id.clone();
    let made = server.app.store.write(move |tx| Box::pin(async move { user::insert(tx, &id, "stranger", now).await }));
    made.await.unwrap();
    account::mint_key(&server.app, &stranger).await.unwrap()
}

fn guarded() -> Vec<(&'static str, &'static str)> {
    let routes = route_list();
    let all = routes.built.iter().chain(routes.unbuilt);
    let guarded: Vec<_> = all.filter(|route| !routes.open.contains(route)).copied().collect();
    assert!(guarded.len() > 150, "all routes are walked over");
    guarded
}

#[tokio::test]
async fn without_a_key_nothing_but_the_open_routes_answers() {
    let house = House::build().await;
    for (method, pattern) in guarded() {
        assert_eq!(house.status(method, pattern, None).await, 401, "{method} {pattern}");
        assert_eq!(house.status(method, pattern, Some("sk-wrong")).await, 401, "{method} {pattern}");
    }
    for (_, pattern) in route_list().open.iter().filter(|(_, pattern)| *pattern != ASKS_ITSELF) {
        let names = ["{collection}", "{session}", "{rtstream}", "{video}"].iter().find(|noun| pattern.contains(**noun));
        assert_eq!(names, None, "{pattern} names what has an owner");
    }
}

#[tokio::test]
async fn a_bound_key_reaches_nothing_of_another_collection() {
    let house = House::build().await;
    for (method, pattern) in guarded().into_iter().filter(|(_, pattern)| pattern.contains('{')) {
        let status = house.status(method, pattern, Some(&house.bound)).await;
        assert!(status == 403 || status == 404, "{method} {pattern}: {status}");
    }
    // The same paths do answer whoever may see them.
    for pattern in [
        "/collection/{collection}",
        "/collection/{collection}/capture/session",
        "/collection/{collection}/capture/session/{session}",
        "/collection/{collection}/websocket",
        "/capture/session/{session}",
        "/rtstream/{rtstream}",
        "/rtstream/{rtstream}/transcription",
        "/rtstream/{rtstream}/transcription/status",
        "/video/{video}",
    ] {
        assert_eq!(house.status("GET", pattern, Some(KEY)).await, 200, "{pattern}");
    }
}

#[tokio::test]
async fn a_bound_key_lists_and_starts_only_what_is_in_its_collections() {
    let house = House::build().await;
    let get = async |path: &str| house.server.send("GET", path, Some(&house.bound), None).await.data();
    assert_eq!(get("/collection").await["collections"].as_array().unwrap().len(), 1);
    assert_eq!(get("/collection").await["default_collection"], json!(house.there));
    assert_eq!(get("/collection/default").await["id"], json!(house.there), "`default` is one that it may see");
    assert_eq!(get("/user").await["collections"], json!([house.there]));
    assert_eq!((&get("/rtstream").await["results"], &get("/rtstream").await["count"]), (&json!([]), &json!(0)));
    assert_eq!(get("/video").await["videos"], json!([]));
    assert_eq!(house.server.get("/video").await.data()["videos"].as_array().unwrap().len(), 1);
    assert_eq!(get("/collection/default/capture/session").await["sessions"], json!([]));
    let start = json!({ "session_id": house.session, "channels": [{ "channel_id": "mic" }] }).to_string();
    let token = house.server.send("POST", "/capture/session/token", Some(&house.bound), Some("{}")).await.data();
    for secret in [&house.bound, &text(&token["token"])] {
        let (status, _) =
            house.server.send("POST", "/capture/session/start", Some(secret), Some(&start)).await.refusal();
        assert_eq!(status, 404, "a token sees what its key sees");
    }
    let create = json!({ "end_user_id": "u" }).to_string();
    let path = "/collection/default/capture/session";
    let mine = house.server.send("POST", path, Some(&house.bound), Some(&create)).await.data();
    assert_eq!(mine["collection_id"], json!(house.there));
    // Trap 6: the collection beside a session is not looked at, not even one that the key may not see.
    let path = format!("/collection/{}/capture/session/{}", house.here, text(&mine["session_id"]));
    assert_eq!(get(&path).await["collection_id"], json!(house.there));
}

/// Slow work is asked for by its job: that lies where its thing lies.
#[tokio::test]
async fn a_bound_key_waits_for_the_jobs_of_its_collections() {
    let house = House::build().await;
    let app = &house.server.app;
    let owner = app.store.find_first_user().await.unwrap().unwrap();
    for (n, (place, wanted)) in
        [(Some(&house.there), 200), (Some(&house.here), 404), (None, 404)].into_iter().enumerate()
    {
        let job = NewJob {
            id: JobId::mint(app.now(), [n as u8; 10]),
            owner: owner.clone(),
            collection_id: place.map(|id| id.parse().unwrap()),
            kind: "export_session",
            payload: house.session.clone(),
            dedupe_key: None,
            callback_url: None,
        };
        let (path, now) = (format!("/async-response/{}", job.id), app.now());
        app.store.write(move |tx| Box::pin(async move { job::enqueue(tx, &job, now).await })).await.unwrap();
        app.job_bells.ring();
        assert_eq!(house.server.send("GET", &path, Some(&house.bound), None).await.status, wanted);
        assert_eq!(house.server.get(&path).await.status, 200);
    }
}

#[tokio::test]
async fn a_bound_key_may_not_touch_the_account() {
    let house = House::build().await;
    let request = json!({ "api_key": house.bound, "collection_ids": ["default"] }).to_string();
    for (method, path) in [
        ("GET", "/user/api_key"),
        ("POST", "/user/api_key"),
        ("DELETE", "/user/api_key/sk-test"),
        ("PUT", "/user/api-key-collections"),
        ("POST", "/collection"),
    ] {
        let answer = house.server.send(method, path, Some(&house.bound), Some(&request)).await;
        assert_eq!(answer.refusal().0, 403, "{method} {path}");
    }
    // Its last collection goes: then it sees nothing, rather than everything.
    house.server.send("DELETE", &format!("/collection/{}", house.there), Some(KEY), None).await.data();
    let (status, _) = house.server.send("GET", "/collection/default", Some(&house.bound), None).await.refusal();
    assert_eq!(status, 404);
    let list = house.server.send("GET", "/rtstream", Some(&house.bound), None).await.data();
    assert_eq!(list["count"], json!(0));
}

#[tokio::test]
async fn what_belongs_to_another_account_is_not_found() {
    let house = House::build().await;
    let stranger = a_strangers_key(&house.server).await;
    let routes = route_list();
    let of_an_owner = ["{collection}", "{session}", "{rtstream}", "{video}", "{job}"];
    let named = routes.built.iter().filter(|(_, pattern)| of_an_owner.iter().any(|noun| pattern.contains(noun)));
    let mut walked = 0;
    for (method, pattern) in named {
        let status = house.status(method, pattern, Some(&stranger)).await;
        assert!(status == 404 || status == 400, "{method} {pattern}: {status}");
        walked += 1;
    }
    assert!(walked > 15);
    let list = house.server.send("GET", "/rtstream", Some(&stranger), None).await.data();
    assert_eq!(list["count"], json!(0));
}

#[tokio::test]
async fn a_client_token_over_reaches_nowhere() {
    let house = House::build().await;
    let minted = house.server.post("/capture/session/token", &json!({})).await.data();
    let token = text(&minted["token"]);
    for (method, pattern) in guarded().into_iter().filter(|route| !FOR_TOKENS.contains(route)) {
        assert_eq!(house.status(method, pattern, Some(&token)).await, 403, "{method} {pattern}");
    }
    for (method, pattern) in FOR_TOKENS {
        assert_ne!(house.status(method, pattern, Some(&token)).await, 401, "{method} {pattern}");
    }
}
