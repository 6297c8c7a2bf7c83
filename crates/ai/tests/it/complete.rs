//! A language model behind the real protocol, played by a server of the test: what it is asked, and what comes of good and bad answers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vitascope_ai::provider::{Completion, Message, Provider, ProviderConfig, Role};
use vitascope_model::{ErrorKind, Result};

use crate::provider::serve;

fn complete(url: &str, timeout: Duration) -> Result<Completion> {
    let mut config = ProviderConfig::new(url, Some("sk-test".into()), "llm-test").unwrap();
    config.timeout = timeout;
    let messages = [
        Message { role: Role::System, text: "Be short.".into() },
        Message { role: Role::User, text: "Say \"yes\".".into() },
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(Provider::new(config).unwrap().complete(&messages))
}

fn answer(text: &str) -> Value {
    let usage = json!({ "prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 13 });
    json!({ "id": "c", "object": "chat.completion", "choices": [{ "index": 0, "message": { "role": "assistant", "content": text } }], "usage": usage })
}

#[test]
fn messages_go_in_and_a_text_comes_out() {
    let server = serve(|_, _| (200, answer("Yes.")));
    let told = complete(&server.url, Duration::from_secs(5)).unwrap();
    assert_eq!(told, Completion { text: "Yes.".into(), prompt_tokens: 12, completion_tokens: 1 });
    let asked = server.asked.lock().unwrap()[0].clone();
    assert_eq!((asked.line.as_str(), asked.key.as_str()), ("POST /v1/chat/completions HTTP/1.1", "Bearer sk-test"));
    let messages = json!([{ "role": "system", "content": "Be short." }, { "role": "user", "content": "Say \"yes\"." }]);
    assert_eq!(asked.body, json!({ "model": "llm-test", "messages": messages, "stream": false }));
}

#[test]
fn what_may_pass_is_tried_again_and_what_may_not_is_told() {
    let server = serve(|n, _| if n < 2 { (503, json!({ "error": "busy" })) } else { (200, answer("At last.")) });
    assert_eq!(complete(&server.url, Duration::from_secs(5)).unwrap().text, "At last.");
    assert_eq!(server.asked.lock().unwrap().len(), 3);

    let server = serve(|_, _| (404, json!({ "error": { "message": "no such model" } })));
    let error = complete(&server.url, Duration::from_secs(5)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("404") && error.message.contains("no such model"), "{}", error.message);
    assert!(!error.message.contains("sk-test"));
    assert_eq!(server.asked.lock().unwrap().len(), 1, "another try would end as the first");

    let server = serve(|_, _| (200, json!({ "choices": "none" })));
    let error = complete(&server.url, Duration::from_secs(5)).unwrap_err();
    assert!(error.message.contains("no chat completion"), "{}", error.message);
}

#[test]
fn one_that_hangs_is_given_up() {
    // It takes connections and says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let began = Instant::now();
    let error = complete(&url, Duration::from_millis(200)).unwrap_err();
    assert!(error.message.contains("gave no answer"), "{}", error.message);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "three tries of 200 ms and the pauses between: {:?}",
        began.elapsed()
    );
}
