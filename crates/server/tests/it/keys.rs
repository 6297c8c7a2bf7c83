//! API keys and client tokens: minted, listed, revoked, expired; and what ends with them.

use serde_json::{Value, json};
use std::time::Duration;
use vitascope_model::Span;
use vitascope_server::app::account::admit;

use crate::harness::{KEY, TestServer};
use crate::socket::{Said, Socket, url_for};

async fn minted_key(server: &TestServer) -> String {
    server.post("/user/api_key", &json!({})).await.data()["api_key"].as_str().unwrap().to_owned()
}

async fn minted_token(server: &TestServer, key: &str, body: &Value) -> String {
    let answer = server.send("POST", "/capture/session/token", Some(key), Some(&body.to_string())).await;
    answer.data()["token"].as_str().unwrap().to_owned()
}

async fn keys(server: &TestServer) -> Vec<Value> {
    server.get("/user/api_key").await.data().as_array().unwrap().clone()
}

async fn status(server: &TestServer, path: &str, secret: &str) -> u16 {
    server.send("GET", path, Some(secret), None).await.status
}

#[tokio::test]
async fn a_key_is_minted_listed_by_how_it_begins_and_revoked() {
    let server = TestServer::start().await;
    let made = minted_key(&server).await;
    assert!(made.starts_with("sk-") && made.len() == 67, "{made}");
    assert_eq!(status(&server, "/user", &made).await, 200);
    let listed = keys(&server).await;
    assert_eq!(listed.len(), 2);
    let hint = listed[1]["key"].as_str().unwrap();
    assert!(made.starts_with(hint) && hint.len() == 11 && listed[1]["created_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(listed[1]["collection_ids"], Value::Null);
    assert!(!server.get("/user/api_key").await.body.to_string().contains(&made), "a key is shown once");
    // By how it begins, by its id, and by itself.
    let (by_id, by_itself) = (minted_key(&server).await, minted_key(&server).await);
    let id_of = |listed: &[Value], n: usize| listed[n]["id"].as_str().unwrap().to_owned();
    let id = id_of(&keys(&server).await, 2);
    for (name, key) in [(hint, &made), (&id, &by_id), (&by_itself, &by_itself)] {
        server.send("DELETE", &format!("/user/api_key/{name}/"), Some(KEY), None).await.data();
        assert_eq!(status(&server, "/user", key).await, 401, "a revoked key opens nothing");
        let again = server.send("DELETE", &format!("/user/api_key/{name}"), Some(KEY), None).await;
        assert_eq!(again.refusal().0, 404);
    }
    assert_eq!(keys(&server).await.len(), 1);
}

#[tokio::test]
async fn the_last_key_that_opens_the_account_stays() {
    let server = TestServer::start().await;
    let bind = async |key: &str| {
        let body = json!({ "api_key": key, "collection_ids": ["default"] }).to_string();
        server.send("PUT", "/user/api-key-collections", Some(KEY), Some(&body)).await
    };
    let revoke = async |key: &str| server.send("DELETE", &format!("/user/api_key/{key}"), Some(KEY), None).await;
    assert_eq!(revoke(KEY).await.refusal().0, 409);
    assert_eq!(bind(KEY).await.refusal().0, 409);
    let other = minted_key(&server).await;
    bind(&other).await.data();
    assert_eq!(revoke(KEY).await.refusal().0, 409, "a bound key is no way in");
    revoke(&other).await.data();
    let third = minted_key(&server).await;
    revoke(KEY).await.data();
    assert_eq!((status(&server, "/user", KEY).await, status(&server, "/user", &third).await), (401, 200));
}

#[tokio::test]
async fn binding_says_what_is_wrong() {
    let server = TestServer::start().await;
    let key = minted_key(&server).await;
    for (body, wanted) in [
        (json!({}), 400),
        (json!({ "api_key": key }), 400),
        (json!({ "api_key": key, "collection_ids": null }), 400),
        (json!({ "api_key": key, "collection_ids": [] }), 400),
        (json!({ "api_key": key, "collection_ids": "default" }), 400),
        (json!({ "api_key": 7, "collection_ids": ["default"] }), 400),
        (json!({ "api_key": key, "collection_ids": ["c-unknown"] }), 404),
        (json!({ "api_key": "sk-unknown", "collection_ids": ["default"] }), 404),
    ] {
        let answer = server.send("PUT", "/user/api-key-collections", Some(KEY), Some(&body.to_string())).await;
        assert_eq!(answer.refusal().0, wanted, "{body}");
    }
    let body = json!({ "api_key": key, "collection_ids": ["default", "default"] }).to_string();
    server.send("PUT", "/user/api-key-collections/", Some(KEY), Some(&body)).await.data();
    assert_eq!(keys(&server).await[1]["collection_ids"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_token_ends_with_its_key_or_before() {
    let server = TestServer::start().await;
    let key = minted_key(&server).await;
    let (of_key, of_owner) =
        (minted_token(&server, &key, &json!({})).await, minted_token(&server, KEY, &json!({})).await);
    let path = "/collection/default/websocket";
    assert_eq!((status(&server, path, &of_key).await, status(&server, path, &of_owner).await), (200, 200));
    server.send("DELETE", &format!("/user/api_key/{key}"), Some(KEY), None).await.data();
    assert_eq!((status(&server, path, &of_key).await, status(&server, path, &of_owner).await), (401, 200));
    server.send("DELETE", &format!("/capture/session/token/{of_owner}"), Some(KEY), None).await.data();
    assert_eq!(status(&server, path, &of_owner).await, 401);
    let again = server.send("DELETE", &format!("/capture/session/token/{of_owner}"), Some(KEY), None).await;
    assert_eq!(again.refusal().0, 404);
}

/// The server looks at the passes of open sockets four times a second; the clock of the tokens is the test's.
#[tokio::test]
async fn open_sockets_end_with_what_opened_them() {
    let server = TestServer::start().await;
    let key = minted_key(&server).await;
    let token = minted_token(&server, KEY, &json!({ "expires_in": 60 })).await;
    let connect = async |secret: &str| {
        let mut socket = Socket::connect(&url_for(&server, secret, "").await).await.unwrap();
        socket.frame().await;
        socket
    };
    let (stays, mut of_key, mut of_token) = (connect(KEY).await, connect(&key).await, connect(&token).await);
    let ends = async |socket: &mut Socket| {
        let within = Duration::from_secs(1);
        tokio::time::timeout(within, socket.next()).await.expect("it ends within a second")
    };
    let closed = |why: &str| Said::Closed(1008, why.to_owned());
    server.send("DELETE", &format!("/user/api_key/{key}"), Some(KEY), None).await.data();
    assert_eq!(ends(&mut of_key).await, closed("the API key is not valid"));
    server.clock.advance(Span::seconds(61));
    assert_eq!(ends(&mut of_token).await, closed("the client token has expired"));
    assert_eq!(server.app.sockets.count(), 1);
    drop(stays);
}

/// A ticket is no way round: it opens nothing once its pass is not good.
#[tokio::test]
async fn a_ticket_is_worth_what_its_pass_is_worth() {
    let server = TestServer::start().await;
    let key = minted_key(&server).await;
    let told = server.send("GET", "/collection/default/websocket", Some(&key), None).await.data();
    let url = told["websocket_url"].as_str().unwrap().to_owned();
    let ticket = url.split("ticket=").nth(1).unwrap();
    let pass = server.app.sockets.redeem(ticket, server.app.now()).unwrap();
    assert!(admit(&server.app, pass.clone()).await.is_ok());
    server.send("DELETE", &format!("/user/api_key/{key}"), Some(KEY), None).await.data();
    assert!(admit(&server.app, pass).await.is_err());
}
