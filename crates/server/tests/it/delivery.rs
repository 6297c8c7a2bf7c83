//! What is played, over the wire: ranges, validators and origins of a recording that a real publisher made.

use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::json;

use crate::rtsp::{clip, live, publish};

async fn ask(method: Method, url: &str, headers: &[(&'static str, &str)]) -> Response {
    let headers: HeaderMap =
        headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
    Client::builder().no_proxy().build().unwrap().request(method, url).headers(headers).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_played_goes_out_in_ranges_with_validators_to_any_origin() {
    let live = live().await;
    let clip = clip(live.folder.path()).await;
    let (sound, picture) = tokio::join!(publish(&clip, "0:a", &live.urls[0]), publish(&clip, "0:v", &live.urls[1]));
    assert!(sound && picture);
    live.wait_for("active").await;
    live.server.post(&format!("/capture/session/{}/stop", live.session), &json!({})).await.data();
    let exported = live.wait_for("exported").await;
    let id = exported["exported_video_id"].as_str().unwrap();
    let video = live.server.get(&format!("/video/{id}")).await.data();
    let playlist = video["stream_url"].as_str().unwrap();

    let first = ask(Method::GET, playlist, &[]).await;
    let tag = first.headers()["etag"].to_str().unwrap().to_owned();
    let again = ask(Method::GET, playlist, &[("if-none-match", &tag)]).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert!(again.bytes().await.unwrap().is_empty());

    let segment = playlist.replace("index.m3u8", "0.m4s");
    let whole = ask(Method::GET, &segment, &[]).await.bytes().await.unwrap();
    let head = ask(Method::HEAD, &segment, &[]).await;
    assert_eq!(head.headers()["content-length"], whole.len().to_string().as_str());
    let part = ask(Method::GET, &segment, &[("range", "bytes=10-19")]).await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.bytes().await.unwrap(), whole.slice(10..20));
    let beyond = ask(Method::GET, &segment, &[("range", &format!("bytes={}-", whole.len()))]).await;
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);

    let unknown = ask(Method::GET, &segment.replace("0.m4s", "99999.m4s"), &[]).await;
    assert_eq!(
        (unknown.status(), &unknown.headers()["access-control-allow-origin"]),
        (StatusCode::NOT_FOUND, &"*".parse().unwrap())
    );
    let asked = [("origin", "https://else.example"), ("access-control-request-method", "GET")];
    let preflight = ask(Method::OPTIONS, &segment, &asked).await;
    assert_eq!(preflight.status(), StatusCode::NO_CONTENT);
    assert!(preflight.headers()["access-control-allow-headers"].to_str().unwrap().contains("range"));
}
