//! Images: what is taken, what the API says of it, who gets its bytes, and what is left when it is deleted.

use std::path::PathBuf;

use vitascope_model::Span;
use vitascope_model::account::Scope;
use vitascope_model::image::Image;
use vitascope_server::app::check::check;
use vitascope_server::app::image::{self, ImageWishes};
use vitascope_server::app::{collection, deletion};

use crate::harness::{KEY, TestServer};

/// A picture of one pixel.
const GIF: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

async fn file(server: &TestServer, bytes: &[u8]) -> PathBuf {
    let path = server.app.config.data_dir.join("a file");
    tokio::fs::write(&path, bytes).await.unwrap();
    path
}

async fn insert(server: &TestServer, bytes: &[u8]) -> vitascope_model::Result<Image> {
    let key = server.app.store.find_api_key(&vitascope_server::random::digest(KEY)).await.unwrap().unwrap();
    let scope = Scope::whole(key.scope.user().clone());
    let home = collection::named(&server.app, &scope, "default").await.unwrap();
    let wishes = ImageWishes { name: "dot".to_owned(), ..ImageWishes::default() };
    image::insert(&server.app, scope.user(), &home.id, &file(server, bytes).await, wishes).await
}

async fn fetch(url: &str) -> reqwest::Response {
    reqwest::Client::builder().no_proxy().build().unwrap().get(url).send().await.unwrap()
}

#[tokio::test]
async fn an_image_is_listed_renamed_fetched_and_deleted_with_its_object() {
    let server = TestServer::start().await;
    let made = insert(&server, GIF).await.unwrap();
    let path = format!("/image/{}", made.id);
    let listed = server.get("/image").await.data();
    assert_eq!((&listed["images"][0]["id"], &listed["images"][0]["name"]), (&made.id.as_str().into(), &"dot".into()));
    let renamed = server.send("PATCH", &path, Some(KEY), Some(r#"{"name":"a dot","keep":true}"#)).await.data();
    assert_eq!((&renamed["name"], &renamed["keep"], &renamed["width"]), (&"a dot".into(), &true.into(), &1.into()));
    let shown = server.get(&path).await.data();
    let signed = server.send("POST", &format!("{path}/generate_url"), Some(KEY), None).await.data();
    for url in [shown["url"].as_str().unwrap(), signed["signed_url"].as_str().unwrap()] {
        let answer = fetch(url).await;
        assert_eq!((answer.status().as_u16(), &answer.headers()["content-type"]), (200, &"image/gif".parse().unwrap()));
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        assert_eq!(answer.bytes().await.unwrap(), GIF);
    }
    let guessed = format!("{}0", shown["url"].as_str().unwrap());
    assert_eq!(fetch(&guessed).await.status(), 404);
    let config = &server.app.config;
    assert_eq!(check(config, true, server.app.now() + Span::seconds(7200)).await.unwrap().damage, Vec::<String>::new());
    server.clock.advance(Span::seconds(86_401));
    assert_eq!(fetch(signed["signed_url"].as_str().unwrap()).await.status(), 403);
    server.send("DELETE", &path, Some(KEY), None).await.data();
    assert_eq!(server.get(&path).await.refusal().0, 404);
    assert_eq!(fetch(shown["url"].as_str().unwrap()).await.status(), 410);
    let freed = deletion::remove_objects(&server.app, server.app.now() + Span::seconds(1)).await.unwrap();
    assert_eq!(freed, GIF.len() as i64);
    assert!(!config.data_dir.join("objects").join(&made.object).exists());
}

#[tokio::test]
async fn what_is_no_image_is_refused_and_stays_with_the_caller() {
    let server = TestServer::start().await;
    let error = insert(&server, b"<svg xmlns='http://www.w3.org/2000/svg'/>").await.unwrap_err();
    assert!(error.message.contains("send JPEG, PNG, WebP, GIF or BMP"), "{error}");
    assert!(server.app.config.data_dir.join("a file").exists());
    assert_eq!(server.get("/image").await.data()["images"], serde_json::json!([]));
}

#[tokio::test]
async fn an_object_that_is_missing_is_told_by_the_check() {
    let server = TestServer::start().await;
    let made = insert(&server, GIF).await.unwrap();
    server.app.objects.remove(&made.object).await.unwrap();
    let report = check(&server.app.config, false, server.app.now()).await.unwrap();
    assert_eq!(report.damage, [format!("image {}: object {} is missing", made.id, made.object)]);
}

#[tokio::test]
async fn an_image_goes_with_its_collection() {
    let server = TestServer::start().await;
    let made = server.post("/collection", &serde_json::json!({ "name": "pictures", "description": "" })).await.data();
    let place = made["id"].as_str().unwrap();
    let key = server.app.store.find_api_key(&vitascope_server::random::digest(KEY)).await.unwrap().unwrap();
    let (app, file) = (&server.app, file(&server, GIF).await);
    let wishes = ImageWishes { name: "dot".to_owned(), ..ImageWishes::default() };
    let made = image::insert(app, key.scope.user(), &place.parse().unwrap(), &file, wishes).await.unwrap();
    assert_eq!(server.send("DELETE", &format!("/collection/{place}"), Some(KEY), None).await.status, 200);
    assert_eq!(server.get(&format!("/image/{}", made.id)).await.refusal().0, 404);
}

#[tokio::test]
async fn a_part_of_an_image_is_given_and_what_has_not_changed_is_not_sent_again() {
    let server = TestServer::start().await;
    let made = insert(&server, GIF).await.unwrap();
    let signed = server.send("POST", &format!("/image/{}/generate_url", made.id), Some(KEY), None).await.data();
    let ask = |name: &'static str, value: String| {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.get(signed["signed_url"].as_str().unwrap()).header(name, value).send()
    };
    let part = ask("range", "bytes=0-2".to_owned()).await.unwrap();
    assert_eq!(part.status(), 206);
    let tag = part.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(part.bytes().await.unwrap(), b"GIF"[..]);
    assert_eq!(ask("if-none-match", tag).await.unwrap().status(), 304);
}
