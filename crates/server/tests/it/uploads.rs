//! Slots of uploads: what is received into them, by whom, up to which size, and what stays behind when it does not work out.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use vitascope_model::id::JobId;
use vitascope_model::job::{Job, JobState};
use vitascope_model::{Span, WallTime};
use vitascope_server::app::source::{self, Source};
use vitascope_server::app::upload;

use crate::harness::{KEY, TestServer};

const BOUNDARY: &str = "vitascope-test";

/// A file's part of a form, as the Node SDK and curl send it.
fn form(part: &str, name: &str, kind: &str, file: &[u8]) -> Vec<u8> {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{part}\"; filename=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n"
    );
    [head.as_bytes(), file, format!("\r\n--{BOUNDARY}--\r\n").as_bytes()].concat()
}

async fn slot(server: &TestServer) -> String {
    let made = server.get("/collection/default/upload_url?name=first").await.data();
    made["upload_url"].as_str().expect("a URL").to_owned()
}

async fn send(url: &str, body: Vec<u8>) -> reqwest::Response {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    client.post(url).header("content-type", kind).body(body).send().await.unwrap()
}

async fn read(url: &str) -> reqwest::Response {
    reqwest::Client::builder().no_proxy().build().unwrap().get(url).send().await.unwrap()
}

fn files(server: &TestServer) -> usize {
    std::fs::read_dir(upload::folder(&server.app)).map_or(0, Iterator::count)
}

#[tokio::test]
async fn a_file_goes_in_without_a_key_and_comes_back_as_it_was() {
    let server = TestServer::start().await;
    let file: Vec<u8> = (0..3_000_000u32).map(|n| (n * 7 % 251) as u8).collect();
    for (part, name, kind) in [
        ("file", "a film", "application/octet-stream"),
        ("anything", "timeline", "application/json"),
        ("file", "prompt", "text/plain; charset=utf-8"),
    ] {
        let url = slot(&server).await;
        assert_eq!(read(&url).await.status(), 404, "nothing is there before");
        let sent = send(&url, form(part, name, kind, &file)).await;
        assert_eq!(sent.status(), 200, "{}", sent.text().await.unwrap());
        let back = read(&url).await;
        assert_eq!(back.headers()["content-type"], "application/octet-stream");
        assert_eq!(back.headers()["x-content-type-options"], "nosniff");
        assert!(back.bytes().await.unwrap() == file, "{name}: other bytes");
    }
    assert_eq!(files(&server), 3);
}

#[tokio::test]
async fn a_second_file_takes_the_place_of_the_first() {
    let server = TestServer::start().await;
    let url = slot(&server).await;
    for file in [&b"first"[..], b"second"] {
        assert_eq!(send(&url, form("file", "x", "text/plain", file)).await.status(), 200);
        assert_eq!(read(&url).await.bytes().await.unwrap(), file);
    }
    assert_eq!(files(&server), 1);
}

#[tokio::test]
async fn what_is_no_form_too_large_or_nobodys_is_refused_and_leaves_nothing() {
    let server = TestServer::start_with(|config| config.max_upload = 100_000).await;
    let url = slot(&server).await;
    let no_form = reqwest::Client::builder().no_proxy().build().unwrap().post(&url).body("x").send().await.unwrap();
    assert_eq!(no_form.status(), 400);
    assert!(no_form.text().await.unwrap().contains("multipart/form-data"));
    let no_file = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--{BOUNDARY}--\r\n");
    let no_file = send(&url, no_file.into_bytes()).await;
    assert_eq!(no_file.status(), 400);
    assert!(no_file.text().await.unwrap().contains("has no file"));
    let large = send(&url, form("file", "x", "video/mp4", &vec![0; 100_001])).await;
    assert_eq!(large.status(), 400);
    assert!(large.text().await.unwrap().contains("VITASCOPE_MAX_UPLOAD"));
    let unknown = url.replace("/uploads/", "/uploads/0");
    assert_eq!(send(&unknown, form("file", "x", "video/mp4", b"x")).await.status(), 404);
    let mut half = form("file", "x", "video/mp4", &[1; 1000]);
    half.truncate(500);
    assert_eq!(send(&url, half).await.status(), 400);
    assert_eq!((files(&server), read(&url).await.status().as_u16()), (0, 404));
}

/// A sender that hangs up in the middle.
#[tokio::test]
async fn a_broken_upload_leaves_nothing_behind() {
    let server = TestServer::start().await;
    let url = slot(&server).await;
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut line = TcpStream::connect(host).await.unwrap();
    let body = form("file", "x", "video/mp4", &vec![7; 1_000_000]);
    let head = format!(
        "POST /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {}\r\ncontent-type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n",
        body.len()
    );
    line.write_all(head.as_bytes()).await.unwrap();
    line.write_all(&body[..500_000]).await.unwrap();
    wait_for(|| files(&server) == 1).await;
    drop(line);
    wait_for(|| files(&server) == 0).await;
    assert_eq!(read(&url).await.status(), 404);
}

#[tokio::test]
async fn a_disk_without_room_takes_nothing() {
    let server = TestServer::start_with(|config| config.min_free = u64::MAX / 2).await;
    let (status, message) = server.get("/collection/default/upload_url").await.refusal();
    assert_eq!(status, 507, "{message}");
}

#[tokio::test]
async fn a_slot_lasts_a_day_and_goes_with_its_file() {
    let server = TestServer::start().await;
    let url = slot(&server).await;
    assert_eq!(send(&url, form("file", "x", "text/plain", b"kept")).await.status(), 200);
    upload::sweep_slots(&server.app).await.unwrap();
    assert_eq!(files(&server), 1);
    server.clock.advance(upload::SLOT_LIFE + Span::seconds(1));
    assert_eq!(read(&url).await.status(), 410);
    assert_eq!(send(&url, form("file", "x", "text/plain", b"late")).await.status(), 410);
    upload::sweep_slots(&server.app).await.unwrap();
    assert_eq!((files(&server), read(&url).await.status().as_u16()), (0, 404));
}

/// As after `kill -9` in the middle of an upload.
#[tokio::test]
async fn the_next_start_removes_what_no_row_names_and_keeps_the_rest() {
    let server = TestServer::start().await;
    let url = slot(&server).await;
    assert_eq!(send(&url, form("file", "x", "text/plain", b"kept")).await.status(), 200);
    std::fs::write(upload::folder(&server.app).join("half"), b"half a file").unwrap();
    upload::clear_broken(&server.app).await.unwrap();
    assert_eq!(files(&server), 1);
    assert_eq!(read(&url).await.bytes().await.unwrap(), &b"kept"[..]);
}

/// By none of its spellings, and by no name.
#[tokio::test]
async fn a_source_that_lies_inside_is_not_asked() {
    let canary = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = canary.local_addr().unwrap().port();
    let server = TestServer::start().await;
    for host in ["127.0.0.1", "localhost", "LOCALHOST", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "0"] {
        let error = server.app.outbound.fetch(&format!("http://{host}:{port}/x.mp4")).await.unwrap_err();
        assert!(error.message.contains("private address"), "{host}: {error}");
    }
    let asked = tokio::time::timeout(Duration::from_millis(50), canary.accept()).await;
    assert!(asked.is_err(), "the canary was asked");
    // The setting that opens it does open it.
    let open = TestServer::start_with(|config| config.allow_private_urls = true).await;
    let answer = tokio::spawn(async move {
        let (mut line, _) = canary.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let count = line.read(&mut request).await.unwrap();
        line.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-encoding: gzip\r\n\r\nfilm").await.unwrap();
        String::from_utf8_lossy(&request[..count]).into_owned()
    });
    let mut found = open.app.outbound.fetch(&format!("http://localhost:{port}/a%20b.mp4?k={KEY}")).await.unwrap();
    assert_eq!((found.total, found.name.as_deref()), (Some(4), Some("a b.mp4")));
    assert_eq!(found.chunk().await.unwrap().as_deref(), Some(&b"film"[..]), "nothing is decoded");
    assert!(found.chunk().await.unwrap().is_none());
    assert!(answer.await.unwrap().contains("accept-encoding: identity"));
}

async fn job(server: &TestServer, n: u8) -> Job {
    Job {
        id: JobId::mint(WallTime(0), [n; 10]),
        owner: server.app.store.find_first_user().await.unwrap().unwrap(),
        kind: "ingest".to_owned(),
        payload: String::new(),
        state: JobState::Running,
        attempt: 1,
        progress: 0,
        reply: None,
        error: None,
        callback_url: None,
        created_at: WallTime(0),
    }
}

/// Our own upload URL costs no request and no copy, and goes on to hold its file.
#[tokio::test]
async fn an_upload_url_of_ours_is_a_source_without_a_request() {
    let server = TestServer::start().await;
    let url = slot(&server).await;
    let error = source::find(&server.app, &url).await.unwrap_err();
    assert!(error.message.contains("nothing was sent"), "{error}");
    assert_eq!(send(&url, form("file", "a film.mp4", "x/y", b"film")).await.status(), 200);
    let found = source::find(&server.app, &url).await.unwrap();
    assert!(matches!(found, Source::Slot(_)));
    let here = source::bring(&server.app, &job(&server, 1).await, &found, 90).await.unwrap();
    assert_eq!(std::fs::read(here.path()).unwrap(), b"film");
    let names = (here.slot_name.as_deref(), here.received.source_name.as_deref());
    assert_eq!((names, files(&server)), ((Some("first"), Some("a film.mp4")), 2));
    // As after a crash: the same job again.
    let again = source::bring(&server.app, &job(&server, 1).await, &found, 90).await.unwrap();
    assert_eq!(std::fs::read(again.path()).unwrap(), b"film");
    drop((here, again));
    assert_eq!((files(&server), read(&url).await.bytes().await.unwrap().as_ref()), (1, &b"film"[..]));
}

/// Answers one request on loopback with these bytes, and says where.
async fn answering(answer: Vec<u8>) -> String {
    let door = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/films/a%20film.mp4", door.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut line, _) = door.accept().await.unwrap();
        assert!(line.read(&mut [0; 4096]).await.unwrap() > 0);
        line.write_all(&answer).await.unwrap();
    });
    url
}

#[tokio::test]
async fn a_strangers_file_is_brought_whole_or_not_at_all() {
    let server = TestServer::start_with(|config| {
        config.allow_private_urls = true;
        config.max_upload = 1000;
    })
    .await;
    let bring = async |answer: &[u8]| {
        let url = answering(answer.to_vec()).await;
        source::bring(&server.app, &job(&server, 2).await, &source::find(&server.app, &url).await.unwrap(), 90).await
    };
    let here = bring(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfilm").await.unwrap();
    assert_eq!(std::fs::read(here.path()).unwrap(), b"film");
    assert_eq!((here.received.source_name.as_deref(), here.received.bytes), (Some("a film.mp4"), 4));
    assert_eq!(here.received.sha256, "d0607f7ad2628b2af9158dfba06ce87166e66b15bf68f8f358f9aa27ccb7c321");
    drop(here);
    for (answer, wrong) in [
        (&b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfilm"[..], "broke off"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n", "VITASCOPE_MAX_UPLOAD"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\n\r\n<!doctype html><title>x</title>", "a web page"),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "answered with 404"),
        (b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", "answered with 503"),
    ] {
        let Err(error) = bring(answer).await else { panic!("{wrong}: it was taken") };
        assert!(error.message.contains(wrong), "{error}");
    }
    let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    endless.resize(2000, 7);
    let Err(error) = bring(&endless).await else { panic!("it was taken") };
    assert!(error.message.contains("VITASCOPE_MAX_UPLOAD"), "{error}");
    assert_eq!(files(&server), 0);
}

/// Ways to write an address of this machine, or one that must not be reached. `PORT` is the canary's.
const FORMS: &[&str] = &[
    "http://127.0.0.1:PORT/",
    "http://127.1:PORT/",
    "http://127.0.1:PORT/",
    "http://2130706433:PORT/",
    "http://017700000001:PORT/",
    "http://0177.0.0.1:PORT/",
    "http://0177.0.0.01:PORT/",
    "http://0x7f000001:PORT/",
    "http://0x7f.0.0.1:PORT/",
    "http://0x7f.1:PORT/",
    "http://0x7F.0x0.0x0.0x1:PORT/",
    "http://127.0.0.1.:PORT/",
    "http://127.0.0.01:PORT/",
    "http://0:PORT/",
    "http://0.0.0.0:PORT/",
    "http://00.0.0.0:PORT/",
    "http://%31%32%37.0.0.1:PORT/",
    "http://１２７.０.０.１:PORT/",
    "http://127。0。0。1:PORT/",
    "http://①②⑦.0.0.1:PORT/",
    "http://127.127.127.127:PORT/",
    "http://127.255.255.254:PORT/",
    "http://[::1]:PORT/",
    "http://[0:0:0:0:0:0:0:1]:PORT/",
    "http://[::]:PORT/",
    "http://[::ffff:127.0.0.1]:PORT/",
    "http://[::ffff:7f00:1]:PORT/",
    "http://[::127.0.0.1]:PORT/",
    "http://[::1%25lo]:PORT/",
    "http://[::1%lo]:PORT/",
    "http://[fe80::1%25lo]:PORT/",
    "http://[fe80::1]:PORT/",
    "http://[64:ff9b::7f00:1]:PORT/",
    "http://[2002:7f00:1::]:PORT/",
    "http://[2001:0:7f00:1::]:PORT/",
    "http://[fd00:ec2::254]:PORT/",
    "http://localhost:PORT/",
    "http://LOCALHOST:PORT/",
    "http://LocalHost:PORT/a/../b",
    "HTTP://localhost:PORT/",
    "http://8.8.8.8@127.0.0.1:PORT/",
    "http://8.8.8.8:80@127.0.0.1:PORT/",
    "http://a:b@[::1]:PORT/",
    "http://user@localhost:PORT/",
    "http:127.0.0.1:PORT/",
    "http:/127.0.0.1:PORT/",
    "http:\\\\127.0.0.1:PORT\\",
    "http:///127.0.0.1:PORT/",
    "http:////127.0.0.1:PORT/",
    " http://127.0.0.1:PORT/ ",
    "ht\ntp://127.0.0.1:PORT/",
    "http://127.0.0.1\t:PORT/",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://[::ffff:169.254.169.254]/",
    "http://100.100.100.200/",
    "http://10.0.0.1/",
    "http://192.168.0.1/",
    "http://172.16.0.1/",
    "https://127.0.0.1:PORT/",
    "https://localhost:PORT/",
    "https://[::1]:PORT/",
    "file:///etc/passwd",
    "file://127.0.0.1/etc/passwd",
    "gopher://127.0.0.1:PORT/_x",
    "dict://127.0.0.1:PORT/",
    "ftp://127.0.0.1:PORT/",
    "data:video/mp4;base64,AAAA",
    "ldap://127.0.0.1:PORT/",
    "tftp://127.0.0.1:PORT/x",
    "rtsp://127.0.0.1:PORT/x",
    "rtmp://127.0.0.1:PORT/x",
    "unix:/run/x",
    "ws://127.0.0.1:PORT/",
    "blob:http://127.0.0.1:PORT/",
    "view-source:http://127.0.0.1:PORT/",
    "concat:http://127.0.0.1:PORT/|x",
    "//127.0.0.1:PORT/",
    "127.0.0.1:PORT",
    "",
];

#[tokio::test]
async fn no_form_of_an_address_inside_reaches_the_canary() {
    let canary = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = canary.local_addr().unwrap().port();
    let beside = tokio::net::TcpListener::bind(("::1", port)).await.ok();
    let server = TestServer::start().await;
    for form in FORMS {
        let url = form.replace("PORT", &port.to_string());
        let found = source::find(&server.app, &url).await;
        let brought = match &found {
            Ok(found) => source::bring(&server.app, &job(&server, 3).await, found, 90).await.map(drop),
            Err(_) => continue,
        };
        assert!(brought.is_err(), "{url} was fetched");
    }
    let asked = async |door: &tokio::net::TcpListener| {
        tokio::time::timeout(Duration::from_millis(50), door.accept()).await.is_ok()
    };
    assert!(FORMS.len() >= 60 && !asked(&canary).await, "the canary was asked");
    if let Some(beside) = &beside {
        assert!(!asked(beside).await, "the canary was asked by IPv6");
    }
    assert_eq!(files(&server), 0);
    // A canary that nobody could reach would prove nothing.
    let line = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    assert!(asked(&canary).await);
    drop(line);
}

async fn wait_for(mut is_so: impl FnMut() -> bool) {
    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(tokio::time::Instant::now() < until, "it did not come about within 10 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
