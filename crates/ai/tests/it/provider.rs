//! Finals from a provider, which is played by a server of the test: it reads the real protocol (HTTP, multipart, WAV) off a socket, checks
//! it, and answers as it was told to, well or badly.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vitascope_ai::provider::ProviderConfig;
use vitascope_ai::speech::{LiveConfig, LiveTranscriber, RATE, Remote, Utterance};

use crate::speech::{models, speech, text};

/// What the server was sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) key: String,
    /// A body in JSON.
    pub(crate) body: Value,
    fields: Vec<(String, String)>,
    seconds: f64,
}

pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
}

/// Answers call `n` (from 0) with a status and a body.
pub(crate) fn serve(answer: impl Fn(usize, &Asked) -> (u16, Value) + Send + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
    let list = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let found = read_request(&mut stream);
            let mut list = list.lock().unwrap();
            let (status, body) = answer(list.len(), &found);
            list.push(found);
            let body = body.to_string();
            let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n");
            write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
        }
    });
    Server { url, asked }
}

fn read_request(stream: &mut TcpStream) -> Asked {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut asked = Asked { line: line.trim().to_owned(), ..Asked::default() };
    let (mut length, mut boundary) = (0, String::new());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let Some((name, value)) = header.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "content-type" => boundary = value.trim_start_matches("multipart/form-data; boundary=").to_owned(),
            "authorization" => asked.key = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    if boundary == "application/json" {
        asked.body = serde_json::from_slice(&body).unwrap();
    } else {
        read_form(&body, &boundary, &mut asked);
    }
    asked
}

fn read_form(body: &[u8], boundary: &str, asked: &mut Asked) {
    let mark = format!("--{boundary}");
    let find = |from: usize, what: &[u8]| body[from..].windows(what.len()).position(|w| w == what).map(|i| from + i);
    let mut at = find(0, mark.as_bytes()).unwrap();
    loop {
        at += mark.len();
        if body[at..].starts_with(b"--") {
            break;
        }
        let head_end = find(at, b"\r\n\r\n").unwrap();
        let head = String::from_utf8(body[at..head_end].to_vec()).unwrap();
        let end = find(head_end, format!("\r\n{mark}").as_bytes()).unwrap();
        let value = &body[head_end + 4..end];
        let name = head.split("name=\"").nth(1).unwrap().split('"').next().unwrap();
        if name == "file" {
            assert!(head.contains("filename=\"utterance.wav\"") && head.contains("audio/wav"), "{head}");
            assert!(value.starts_with(b"RIFF") && &value[8..16] == b"WAVEfmt ", "a WAV file");
            let rate = u32::from_le_bytes(value[24..28].try_into().unwrap());
            asked.seconds = (value.len() - 44) as f64 / 2.0 / f64::from(rate);
        } else {
            asked.fields.push((name.to_owned(), String::from_utf8(value.to_vec()).unwrap()));
        }
        at = end + 2;
    }
}

/// A transcriber whose finals come from `url`, and everything it told for one recording, which comes at once but for its first seconds.
fn hear(url: &str, folder: &Path, pcm: &[f32], slow: f64) -> Vec<Utterance> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut config = ProviderConfig::new(url, Some("sk-test".into()), "whisper-test").unwrap();
    config.timeout = Duration::from_secs(5);
    let remote = Remote::new(config, runtime.handle().clone()).unwrap();
    let transcriber = LiveTranscriber::load_with(folder, LiveConfig::default(), 2, Some(remote)).unwrap();
    let heard: Arc<Mutex<Vec<Utterance>>> = Arc::default();
    let list = heard.clone();
    let mut channel = transcriber.open(Box::new(move |u| list.lock().unwrap().push(u)));
    let began = Instant::now();
    for (n, piece) in pcm.chunks(RATE / 50).enumerate() {
        let due = Duration::from_millis(20 * n as u64).min(Duration::from_secs_f64(slow));
        // As a microphone does: an interim takes its time.
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        channel.push(piece).unwrap();
    }
    channel.finish().unwrap();
    let heard = heard.lock().unwrap();
    heard.clone()
}

fn finals(heard: &[Utterance]) -> Vec<Utterance> {
    heard.iter().filter(|u| u.is_final).cloned().collect()
}

/// Two words in the first half second of whatever was sent.
fn two_words(n: usize) -> Value {
    let words =
        json!([{"word": "call", "start": 0.0, "end": 0.25}, {"word": n.to_string(), "start": 0.25, "end": 0.5}]);
    let segment =
        json!({"start": 0.0, "end": 0.5, "text": format!(" Call {n}."), "avg_logprob": -0.1, "no_speech_prob": 0.01});
    json!({"task": "transcribe", "language": "english", "duration": 1.0, "text": format!("Call {n}."), "words": words, "segments": [segment]})
}

#[test]
fn finals_come_from_the_provider_in_order_each_once() {
    let server = serve(|n, _| (200, two_words(n)));
    let heard = hear(&server.url, &models(), &speech("beckett.wav"), 5.0);
    let finals = finals(&heard);
    let asked = server.asked.lock().unwrap();
    assert!(finals.len() > 1 && asked.len() == finals.len(), "{} calls, {} finals", asked.len(), finals.len());
    for call in asked.iter() {
        assert_eq!(call.line, "POST /v1/audio/transcriptions HTTP/1.1");
        assert_eq!(call.key, "Bearer sk-test");
        let field = |name: &str| call.fields.iter().filter(|f| f.0 == name).map(|f| f.1.as_str()).collect::<Vec<_>>();
        assert_eq!((field("model"), field("response_format")), (vec!["whisper-test"], vec!["verbose_json"]));
        assert_eq!(field("timestamp_granularities[]"), ["word", "segment"]);
        assert!(call.seconds > 0.5 && call.seconds < 12.0, "{}", call.seconds);
    }
    for (n, u) in finals.iter().enumerate() {
        assert_eq!(u.text, format!("Call {n}."));
        assert!((u.confidence - (-0.1_f64).exp()).abs() < 1e-6);
        assert_eq!(u.words.len(), 2);
        assert!(u.words.iter().all(|w| u.start <= w.start && w.start <= w.end && w.end <= u.end), "{u:?}");
    }
    assert!(heard.iter().any(|u| !u.is_final && !u.text.starts_with("Call")), "interims are the local model's");
}

#[test]
fn a_call_that_fails_in_passing_is_made_again() {
    let server =
        serve(|n, _| if n == 0 { (503, json!({"error": {"message": "loading"}})) } else { (200, two_words(n)) });
    let finals = finals(&hear(&server.url, &models(), &speech("beckett.wav"), 0.0));
    assert_eq!(finals[0].text, "Call 1.");
    assert_eq!(server.asked.lock().unwrap().len(), finals.len() + 1);
}

#[test]
fn a_model_that_knows_plain_json_only_is_asked_for_that() {
    let server = serve(|_, asked| {
        let refused = asked.fields.iter().any(|f| f.1 == "verbose_json");
        let message = json!({"error": {"message": "response_format 'verbose_json' is not compatible with this model"}});
        if refused { (400, message) } else { (200, json!({"text": "Plain words."})) }
    });
    let finals = finals(&hear(&server.url, &models(), &speech("beckett.wav"), 0.0));
    assert!(finals.len() > 1 && finals.iter().all(|u| u.text == "Plain words." && u.words.len() == 2), "{finals:?}");
    assert!(finals.iter().all(|u| u.words[1].end > u.words[0].end && u.words[1].end <= u.end));
    assert_eq!(server.asked.lock().unwrap().len(), finals.len() + 1, "what it knows is asked once");
}

#[test]
fn the_local_model_stands_in_for_a_provider_that_fails() {
    let server = serve(|_, _| (500, json!({"error": {"message": "broken"}})));
    let heard = text(&finals(&hear(&server.url, &models(), &speech("beckett.wav"), 0.0)));
    let (errors, words) = vitascope_ai::speech::score::word_errors(crate::speech::BECKETT, &heard);
    assert!(errors * 100 <= words * 17, "{errors} of {words}: {heard}");
    // Three tries for the first utterance; the others are not kept waiting for it.
    assert_eq!(server.asked.lock().unwrap().len(), 3);
}

#[test]
fn without_a_local_model_there_are_finals_only_and_a_failure_is_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(models().join("silero-vad"), folder.path().join("silero-vad")).unwrap();
    std::fs::copy(models().join("manifest.json"), folder.path().join("manifest.json")).unwrap();
    // The second utterance is refused for good.
    let server = serve(|n, _| if n == 1 { (400, json!({"error": "no"})) } else { (200, two_words(n)) });
    let heard = hear(&server.url, folder.path(), &speech("beckett.wav"), 0.0);
    assert!(heard.iter().all(|u| u.is_final));
    let texts: Vec<&str> = heard.iter().map(|u| u.text.as_str()).collect();
    assert!(texts.starts_with(&["Call 0.", "Call 2."]), "{texts:?}");
    assert_eq!(server.asked.lock().unwrap().len(), heard.len() + 1);
    let missing = LiveTranscriber::load(folder.path(), LiveConfig::default(), 1).err().unwrap();
    assert!(missing.message.contains("./run setup"), "{}", missing.message);
}
