//! Usage: counted for whose it is, whole after a shutdown, and not to be seen by a key that is bound to collections.

use serde_json::{Value, json};
use vitascope_model::Span;
use vitascope_model::id::UserId;
use vitascope_model::usage::Meter;
use vitascope_server::serve;
use vitascope_store::Store;

use crate::harness::{KEY, TestServer};

async fn usage(server: &TestServer) -> Value {
    server.get("/billing/usage").await.data()
}

/// Sends a file and reads it back.
async fn upload(server: &TestServer, bytes: usize) {
    let url = server.get("/collection/default/upload_url").await.data()["upload_url"].as_str().unwrap().to_owned();
    let head = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n";
    let form = [head.as_bytes(), &vec![7; bytes], b"\r\n--b--\r\n"].concat();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let sent = client.post(&url).header("content-type", "multipart/form-data; boundary=b").body(form);
    assert!(sent.send().await.unwrap().status().is_success());
    assert_eq!(client.get(&url).send().await.unwrap().bytes().await.unwrap().len(), bytes);
}

#[tokio::test]
async fn what_was_done_is_counted_to_the_request_and_the_byte() {
    let server = TestServer::start().await;
    let before = usage(&server).await;
    assert_eq!((&before["credit_balance"], &before["usage_this_month"]), (&json!(0), &json!(0)));
    upload(&server, 1000).await;
    for _ in 0..10 {
        server.get("/user").await.data();
    }
    // Who is not let in costs nobody anything.
    assert_eq!(server.send("GET", "/user", Some("sk-wrong"), None).await.refusal().0, 401);
    let after = usage(&server).await;
    let grown = |name: &str| after["breakdown"][name].as_f64().unwrap() - before["breakdown"][name].as_f64().unwrap();
    assert_eq!(grown("requests"), 12.0, "the URL, ten times the user, and the second question itself");
    assert_eq!((grown("bytes_in"), grown("bytes_out"), grown("bytes_stored")), (1000.0, 1000.0, 1000.0));
    assert_eq!(after["stored"]["bytes"], json!(1000));
}

#[tokio::test]
async fn each_month_has_its_own_sum_and_a_shutdown_loses_none() {
    let server = TestServer::start().await;
    server.get("/user").await.data();
    let first = usage(&server).await;
    server.clock.advance(Span::seconds(40 * 86_400));
    let second = usage(&server).await;
    assert_eq!((&first["month"], &second["month"]), (&json!("2027-01"), &json!("2027-02")));
    assert_eq!((&first["breakdown"]["requests"], &second["breakdown"]["requests"]), (&json!(2), &json!(1)));
    assert_eq!(second["in_all"]["requests"], json!(3));
    let months: Vec<&Value> = second["months"].as_array().unwrap().iter().map(|m| &m["month"]).collect();
    assert_eq!(months, [&json!("2027-02"), &json!("2027-01")]);
    let user: UserId = server.get("/user").await.data()["user_id"].as_str().unwrap().parse().unwrap();
    serve::drain(&server.app).await;
    let store = Store::open(&server.app.config.data_dir.join("vitascope.db")).await.unwrap();
    let written = store.usage_of(&user).await.unwrap();
    let requests = written.iter().map(|(_, a)| a.of(Meter::Requests)).sum::<u64>();
    assert_eq!(requests, 4);
}

#[tokio::test]
async fn nobody_pays_and_a_bound_key_sees_no_usage() {
    let server = TestServer::start().await;
    assert_eq!(server.get("/billing/invoices?limit=10").await.data(), json!([]));
    for (method, path) in [
        ("POST", "/billing/checkout"),
        ("GET", "/billing/checkouts"),
        ("POST", "/billing/topup"),
        ("GET", "/billing/auto_recharge"),
        ("POST", "/billing/auto_recharge"),
    ] {
        let (status, message) = server.send(method, path, Some(KEY), Some("{\"amount\": 50}")).await.refusal();
        assert!(status == 403 && message.contains("nothing to pay"), "{method} {path}: {status} {message}");
    }
    let key = server.post("/user/api_key", &json!({})).await.data()["api_key"].as_str().unwrap().to_owned();
    let bind = json!({ "api_key": key, "collection_ids": ["default"] });
    server.send("PUT", "/user/api-key-collections", Some(KEY), Some(&bind.to_string())).await.data();
    for path in ["/billing/usage", "/billing/invoices"] {
        assert_eq!(server.send("GET", path, Some(&key), None).await.refusal().0, 403);
    }
}
