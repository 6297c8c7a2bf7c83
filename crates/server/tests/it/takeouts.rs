//! Files to be taken away: who may have them and for how long, what of them is sent, and what is left when they are gone.

use vitascope_model::Span;
use vitascope_model::account::Scope;
use vitascope_model::id::{CollectionId, JobId, TakeoutId, UserId};
use vitascope_model::job::JobState;
use vitascope_model::takeout::{MadeFile, Takeout, TakeoutKind};
use vitascope_server::app::check::check;
use vitascope_server::app::{deletion, takeout};
use vitascope_store::takeout as table;

use crate::harness::{KEY, TestServer};

const FILE: &[u8] = b"0123456789";

async fn user(server: &TestServer) -> UserId {
    server.app.store.find_first_user().await.unwrap().unwrap()
}

/// One whose file is there, of a stream or of none, with the URL of the file.
async fn made(server: &TestServer, stream: Option<&str>, collection: Option<CollectionId>) -> (Takeout, String) {
    let app = &server.app;
    let id = TakeoutId::mint(app.now(), vitascope_server::random::bytes());
    let made = MadeFile { object: format!("downloads/{id}/file.mp4"), bytes: 10, length: Span(1), has_picture: true };
    let row = Takeout {
        id: id.clone(),
        owner: user(server).await,
        collection_id: collection,
        kind: TakeoutKind::Download,
        name: "a \"film\"\r\n ü".to_owned(),
        stream_id: stream.map(str::to_owned),
        job_id: JobId::mint(app.now(), vitascope_server::random::bytes()),
        job_state: JobState::Done,
        progress: 100,
        error: None,
        made: Some(made.clone()),
        created_at: app.now(),
        expires_at: app.now() + takeout::LIFE,
    };
    let file = app.config.data_dir.join("a file");
    tokio::fs::write(&file, FILE).await.unwrap();
    app.objects.adopt(&file, &made.object).await.unwrap();
    let stored = row.clone();
    let written = app.store.write(move |tx| {
        Box::pin(async move {
            table::insert(tx, &stored).await?;
            table::finish(tx, &stored.id, &made, stored.expires_at).await
        })
    });
    assert!(written.await.unwrap());
    let url = app.config.url(&takeout::path(app, &id));
    (row, url)
}

async fn fetch(url: &str, headers: &[(&str, &str)]) -> reqwest::Response {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    headers.iter().fold(client.get(url), |request, (name, value)| request.header(*name, *value)).send().await.unwrap()
}

#[tokio::test]
async fn whoever_has_the_url_gets_the_file_whole_or_in_part_under_a_name_that_is_safe() {
    let server = TestServer::start().await;
    let (_, url) = made(&server, None, None).await;
    let whole = fetch(&url, &[]).await;
    let headers = whole.headers().clone();
    let header = |name: &str| headers[name].to_str().unwrap();
    assert_eq!((header("content-type"), header("content-length")), ("video/mp4", "10"));
    assert_eq!((header("access-control-allow-origin"), header("x-content-type-options")), ("*", "nosniff"));
    let name = "attachment; filename=\"a _film___ _.mp4\"; filename*=UTF-8''a%20_film___%20%C3%BC.mp4";
    assert_eq!(header("content-disposition"), name);
    assert_eq!(whole.bytes().await.unwrap(), FILE);
    let part = fetch(&url, &[("range", "bytes=3-5")]).await;
    assert_eq!(
        (part.status(), part.headers()["content-range"].to_str().unwrap()),
        (206.try_into().unwrap(), "bytes 3-5/10")
    );
    assert_eq!((part.content_length(), part.bytes().await.unwrap().as_ref()), (Some(3), &b"345"[..]));
    assert_eq!(fetch(&url, &[("range", "bytes=10-")]).await.status(), 416);
    assert_eq!(fetch(&url, &[("if-none-match", header("etag"))]).await.status(), 304);
    let resumed = fetch(&url, &[("range", "bytes=8-"), ("if-range", header("etag"))]).await;
    assert_eq!(resumed.bytes().await.unwrap(), b"89".as_ref());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let head = client.head(&url).send().await.unwrap();
    assert_eq!((head.status(), head.headers()["content-length"].to_str().unwrap()), (200.try_into().unwrap(), "10"));
    assert_eq!(fetch(&format!("{url}0"), &[]).await.status(), 404);
    // What was sent is what is counted: a whole, three, and two bytes.
    assert_eq!(server.get("/billing/usage").await.data()["breakdown"]["bytes_out"], 15);
}

#[tokio::test]
async fn after_a_week_or_when_it_is_deleted_nobody_gets_it_and_nothing_is_left() {
    let server = TestServer::start().await;
    let app = &server.app;
    let (kept, deleted) = (made(&server, None, None).await, made(&server, None, None).await);
    // The stream that it is made of plays nothing any more.
    let orphan = made(&server, Some("0000"), None).await;
    let now = app.now() + Span::seconds(7200);
    assert_eq!(check(&app.config, true, now).await.unwrap().damage, Vec::<String>::new());
    assert_eq!(fetch(&orphan.1, &[]).await.status(), 410);
    server.send("DELETE", &format!("/download?download_id={}", deleted.0.id), Some(KEY), None).await.data();
    assert_eq!(fetch(&deleted.1, &[]).await.status(), 410);
    takeout::expire(app).await.unwrap();
    let listed = server.get("/download?page_index=0&count=5000").await.data();
    let ids: Vec<&str> = listed["downloads"].as_array().unwrap().iter().map(|d| d["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [kept.0.id.as_str()]);
    assert_eq!(fetch(&kept.1, &[]).await.status(), 200);
    server.clock.advance(takeout::LIFE);
    assert_eq!(fetch(&kept.1, &[]).await.status(), 410);
    takeout::expire(app).await.unwrap();
    assert_eq!(server.get("/download").await.data()["downloads"], serde_json::json!([]));
    server.clock.advance(deletion::GRACE);
    deletion::remove_objects(app, app.now() - deletion::GRACE).await.unwrap();
    assert!(!app.objects.exists(&kept.0.made.unwrap().object).await.unwrap());
    assert_eq!(check(&app.config, true, app.now()).await.unwrap().orphans.len(), 0);
}

#[tokio::test]
async fn a_missing_file_is_damage() {
    let server = TestServer::start().await;
    let (row, _) = made(&server, None, None).await;
    server.app.objects.delete(&row.made.unwrap().object, true).await.unwrap();
    let damage = check(&server.app.config, false, server.app.now()).await.unwrap().damage;
    assert!(damage.len() == 1 && damage[0].starts_with(&format!("download {}", row.id)), "{damage:?}");
}

#[tokio::test]
async fn a_bound_key_sees_the_downloads_of_its_collections_alone() {
    let server = TestServer::start().await;
    let here = server.post("/collection", &serde_json::json!({ "name": "here" })).await.data()["id"].clone();
    let key = server.post("/user/api_key", &serde_json::json!({})).await.data()["api_key"].as_str().unwrap().to_owned();
    let bind = serde_json::json!({ "api_key": key, "collection_ids": [here] }).to_string();
    server.send("PUT", "/user/api-key-collections", Some(KEY), Some(&bind)).await.data();
    let (seen, _) = made(&server, None, Some(here.as_str().unwrap().parse().unwrap())).await;
    let (hidden, _) = made(&server, None, None).await;
    let listed = server.send("GET", "/download", Some(&key), None).await.data();
    assert_eq!(listed["downloads"].as_array().unwrap().len(), 1);
    assert_eq!(listed["downloads"][0]["id"], seen.id.as_str());
    for (method, path) in [
        ("GET", format!("/download/{}", hidden.id)),
        ("POST", format!("/download/{}", hidden.id)),
        ("DELETE", format!("/download?download_id={}", hidden.id)),
    ] {
        assert_eq!(server.send(method, &path, Some(&key), None).await.refusal().0, 404, "{method} {path}");
    }
    let scope = Scope::whole(user(&server).await);
    assert!(server.app.store.get_takeout(&scope, &hidden.id).await.is_ok());
}

#[tokio::test]
async fn what_is_no_stream_of_ours_is_refused_in_words() {
    let server = TestServer::start().await;
    let ask = |link: String| {
        let body = serde_json::json!({ "stream_link": link, "name": "x" });
        let server = &server;
        async move { server.post("/download", &body).await.refusal() }
    };
    for link in ["", "https://elsewhere.example/a.m3u8", "file:///etc/passwd"] {
        let (status, message) = ask(link.to_owned()).await;
        assert!(status == 400 && message.starts_with("stream_link must be"), "{link}: {message}");
    }
    assert_eq!(ask(server.app.config.url("/streams/0123/index.m3u8")).await.0, 404);
    for query in ["count=0", "count=5001", "count=many", "page_index=-1"] {
        assert_eq!(server.get(&format!("/download?{query}")).await.refusal().0, 400, "{query}");
    }
    assert_eq!(server.send("DELETE", "/download", Some(KEY), None).await.refusal().0, 400);
}
