//! The list of all assets: what each filter lets through, in which order, on which page, and for whom.

use serde_json::json;
use vitascope_model::Span;
use vitascope_model::account::Scope;
use vitascope_model::id::{AudioId, CollectionId, UserId, VideoId};
use vitascope_model::stream::{Audio, Video};
use vitascope_server::app::collection;
use vitascope_server::app::image::{self, ImageWishes};
use vitascope_store::{audio, video};

use crate::harness::{KEY, TestServer};

/// A picture of one pixel, 46 bytes.
const GIF: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

struct Library {
    server: TestServer,
    owner: UserId,
    home: CollectionId,
    other: CollectionId,
}

impl Library {
    /// Two videos and an image at home, an audio in another collection; a second between each and the next.
    async fn build() -> Library {
        let server = TestServer::start().await;
        let key = server.app.store.find_api_key(&vitascope_server::random::digest(KEY)).await.unwrap().unwrap();
        let scope = Scope::whole(key.scope.user().clone());
        let home = collection::named(&server.app, &scope, "default").await.unwrap().id;
        let made = server.post("/collection", &json!({ "name": "other", "description": "" })).await.data();
        let other = made["id"].as_str().unwrap().parse().unwrap();
        let library = Library { server, owner: scope.user().clone(), home, other };
        library.video("Morning stand-up", 60, 3000).await;
        library.video("evening", 20, 500).await;
        library.audio("talk", 40, 1000).await;
        library.image("a dot").await;
        library
    }

    async fn video(&self, name: &str, seconds: i64, bytes: i64) {
        self.server.clock.advance(Span::seconds(1));
        let now = self.server.app.now();
        let row = Video {
            id: VideoId::mint(now, [1; 10]),
            owner: self.owner.clone(),
            collection_id: self.home.clone(),
            name: name.to_owned(),
            description: None,
            original_id: None,
            length: Span::seconds(seconds),
            bytes,
            stream_id: "0".repeat(32),
            thumbnail: None,
            dropped_at: None,
            keep: false,
            created_at: now,
            parts: Vec::new(),
        };
        self.server.app.store.write(move |tx| Box::pin(async move { video::insert(tx, &row).await })).await.unwrap();
    }

    async fn audio(&self, name: &str, seconds: i64, bytes: i64) {
        self.server.clock.advance(Span::seconds(1));
        let now = self.server.app.now();
        let row = Audio {
            id: AudioId::mint(now, [2; 10]),
            owner: self.owner.clone(),
            collection_id: self.other.clone(),
            name: name.to_owned(),
            description: None,
            original_id: None,
            length: Span::seconds(seconds),
            bytes,
            stream_id: "1".repeat(32),
            keep: false,
            created_at: now,
            parts: Vec::new(),
        };
        self.server.app.store.write(move |tx| Box::pin(async move { audio::insert(tx, &row).await })).await.unwrap();
    }

    async fn image(&self, name: &str) {
        self.server.clock.advance(Span::seconds(1));
        let file = self.server.app.config.data_dir.join("a file");
        tokio::fs::write(&file, GIF).await.unwrap();
        let wishes = ImageWishes { name: name.to_owned(), ..ImageWishes::default() };
        image::insert(&self.server.app, &self.owner, &self.home, &file, wishes).await.unwrap();
    }

    /// The names that a query finds, in order.
    async fn names(&self, query: &str) -> Vec<String> {
        let found = self.server.get(&format!("/assets?{query}")).await.data();
        found.as_array().unwrap().iter().map(|a| a["name"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn every_filter_and_order_is_as_it_says() {
    let library = Library::build().await;
    let other = format!("collection_id={}", library.other);
    for (query, wanted) in [
        ("", "a dot,talk,evening,Morning stand-up"),
        ("sort_order=asc", "Morning stand-up,evening,talk,a dot"),
        ("sort_by=name&sort_order=asc", "a dot,evening,Morning stand-up,talk"),
        ("sort_by=duration", "Morning stand-up,talk,evening,a dot"),
        ("sort_by=size&sort_order=asc", "a dot,evening,talk,Morning stand-up"),
        ("asset_type=video,image", "a dot,evening,Morning stand-up"),
        ("asset_type=", "a dot,talk,evening,Morning stand-up"),
        ("min_duration=20&max_duration=40", "talk,evening"),
        ("min_size=500&max_size=1000", "talk,evening"),
        ("name_pattern=%5Ee.*g%24", "evening"),
        ("name_pattern=(?i)%5Em", "Morning stand-up"),
        ("collection_id=default", "a dot,evening,Morning stand-up"),
        (other.as_str(), "talk"),
        ("page=2&page_size=3", "Morning stand-up"),
        ("page=3&page_size=3", ""),
        ("name_pattern=n&sort_by=name&sort_order=asc&page=2&page_size=1", "Morning stand-up"),
    ] {
        assert_eq!(library.names(query).await.join(","), wanted, "{query}");
    }
    for query in ["page=0", "asset_type=film", "sort_by=id", "min_size=-1", "name_pattern=("] {
        assert_eq!(library.server.get(&format!("/assets?{query}")).await.refusal().0, 400, "{query}");
    }
    assert_eq!(library.server.get("/assets?collection_id=c-nobodys").await.refusal().0, 404);
}

#[tokio::test]
async fn each_kind_says_what_can_be_done_with_it_and_a_bound_key_sees_its_own() {
    let library = Library::build().await;
    let found = library.server.get("/assets?sort_order=asc").await.data();
    let (film, dot) = (&found[0], &found[3]);
    assert_eq!((&film["asset_type"], &film["length"], &film["size"]), (&json!("video"), &json!(60.0), &json!("3000")));
    assert!(film["stream_url"].as_str().unwrap().ends_with(".m3u8") && film["url"].is_null());
    assert_eq!((&dot["asset_type"], &dot["length"]), (&json!("image"), &json!(null)));
    let path = dot["url"].as_str().unwrap();
    assert_eq!(reqwest::Client::builder().no_proxy().build().unwrap().get(path).send().await.unwrap().status(), 200);
    let key = library.server.send("POST", "/user/api_key", Some(KEY), None).await.data();
    let key = key["api_key"].as_str().unwrap();
    let bind = json!({ "api_key": key, "collection_ids": [library.other.as_str()] }).to_string();
    assert_eq!(library.server.send("PUT", "/user/api-key-collections", Some(KEY), Some(&bind)).await.status, 200);
    let seen = library.server.send("GET", "/assets", Some(key), None).await.data();
    let seen: Vec<&str> = seen.as_array().unwrap().iter().map(|a| a["name"].as_str().unwrap()).collect();
    assert_eq!(seen, ["talk"]);
}
