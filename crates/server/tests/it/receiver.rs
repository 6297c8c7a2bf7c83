//! A receiver of webhooks: keeps what arrives, with its headers, and answers as the test says, or never.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hook {
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Hook {
    pub(crate) fn event(&self) -> &str {
        self.body["event"].as_str().unwrap()
    }
}

/// The status to answer with; none never answers.
type Answer = Box<dyn FnMut(&Hook) -> Option<u16> + Send>;

pub(crate) struct Receiver {
    pub(crate) url: String,
    heard: Arc<Mutex<Vec<Hook>>>,
    bell: Arc<Notify>,
}

impl Receiver {
    pub(crate) async fn start(answer: impl FnMut(&Hook) -> Option<u16> + Send + 'static) -> Receiver {
        let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", door.local_addr().unwrap());
        let (heard, bell) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let (list, ring, answer) = (heard.clone(), bell.clone(), Arc::new(Mutex::new(Box::new(answer) as Answer)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = door.accept().await {
                let (list, ring, answer) = (list.clone(), ring.clone(), answer.clone());
                tokio::spawn(async move { take(stream, &list, &ring, &answer).await });
            }
        });
        Receiver { url, heard, bell }
    }

    /// The first `count` hooks that `wanted` picks.
    pub(crate) async fn wait_for(&self, count: usize, wanted: impl Fn(&Hook) -> bool) -> Vec<Hook> {
        let picked = || self.heard.lock().unwrap().iter().filter(|h| wanted(h)).cloned().collect::<Vec<_>>();
        let waiting = async {
            while picked().len() < count {
                self.bell.notified().await;
            }
        };
        let in_time = tokio::time::timeout(std::time::Duration::from_secs(20), waiting).await;
        assert!(in_time.is_ok(), "{count} hooks wanted, came: {:?}", self.heard.lock().unwrap());
        picked()
    }
}

async fn take(mut stream: TcpStream, list: &Mutex<Vec<Hook>>, ring: &Notify, answer: &Mutex<Answer>) {
    let hook = read(&mut stream).await;
    let status = (answer.lock().unwrap())(&hook);
    list.lock().unwrap().push(hook);
    ring.notify_one();
    let Some(status) = status else { return std::future::pending().await };
    let text = format!("HTTP/1.1 {status} So\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
}

async fn read(stream: &mut TcpStream) -> Hook {
    let mut read = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let n = stream.read(&mut piece).await.unwrap();
        read.extend_from_slice(&piece[..n]);
        let text = String::from_utf8_lossy(&read);
        if let Some((head, text)) = text.split_once("\r\n\r\n")
            && let Ok(body) = serde_json::from_str(text)
        {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            let headers = head.lines().filter_map(|l| l.split_once(": "));
            let headers = headers.map(|(k, v)| (k.to_lowercase(), v.to_owned())).collect();
            return Hook { path, headers, text: text.to_owned(), body };
        }
        assert!(n > 0, "the request broke off: {text}");
    }
}
