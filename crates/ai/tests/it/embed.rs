//! Texts to vectors: with the real model, held against what the reference implementation gives, and with a provider played by a server of
//! the test.

use std::time::Duration;

use serde_json::{Value, json};
use vitascope_ai::embed::Embedder;
use vitascope_ai::provider::{Provider, ProviderConfig};
use vitascope_model::{ErrorKind, Result};

use crate::provider::{Server, serve};
use crate::speech::models;

fn run<T>(task: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(task)
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|t| (*t).to_owned()).collect()
}

fn embed(some: &[&str]) -> Vec<Vec<f32>> {
    run(Embedder::local(&models()).unwrap().embed(texts(some))).unwrap()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn what_means_the_same_is_near_and_what_does_not_is_far() {
    let v = embed(&[
        "A man is eating food.",
        "Someone is having a meal.",
        "The stock market fell sharply today.",
        "Shares dropped by ten percent.",
    ]);
    let all = [cosine(&v[0], &v[1]), cosine(&v[2], &v[3]), cosine(&v[0], &v[2]), cosine(&v[1], &v[3])];
    println!("cosines: {all:?}");
    // Of ONNX Runtime, with the model as its makers wrote it.
    let reference = [0.6853, 0.5121, 0.0077, -0.0484];
    assert!(all.iter().zip(reference).all(|(a, b)| (a - b).abs() < 0.002), "{all:?}");
}

#[test]
fn a_text_has_the_same_vector_whatever_runs_beside_it() {
    let long = "a rather long text about ships in a harbour at night ".repeat(12);
    let some = ["", "Yes.", "It was the best of times, it was the worst of times.", &long, "日本語 👋", "\n\t "];
    let repeated: Vec<&str> = some.iter().copied().cycle().take(70).collect();
    let together = embed(&repeated);
    assert_eq!(together.len(), 70);
    for (i, vector) in together.iter().enumerate() {
        let alone = &embed(&[some[i % some.len()]])[0];
        let apart = vector.iter().zip(alone).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-4, "{:?}: {apart}", some[i % some.len()]);
        assert_eq!(vector.len(), 384);
        assert!((cosine(vector, vector) - 1.0).abs() < 1e-5);
    }
}

#[test]
fn what_is_beyond_256_tokens_does_not_count() {
    let full = "ship ".repeat(254);
    let v = embed(&[&full, &format!("{full}and a word about money"), &"ship ".repeat(250)]);
    assert!(cosine(&v[0], &v[1]) > 0.99999, "cut there");
    assert!(cosine(&v[0], &v[2]) < 0.99999, "and not before");
}

/// The reference tokeniser's ids.
#[test]
fn tokens_are_those_of_the_reference() {
    let vocabulary = std::fs::read_to_string(models().join("all-minilm-l6-v2/vocab.txt")).unwrap();
    let long = "a".repeat(101);
    let cases: &[(&str, &[i32])] = &[
        ("A man is eating food.", &[1037, 2158, 2003, 5983, 2833, 1012]),
        (
            "Crème brûlée, naïve Ångström! İstanbul",
            &[13675, 21382, 7987, 9307, 2063, 1010, 15743, 17076, 15687, 999, 9960],
        ),
        ("日本語 test 東京タワー", &[1864, 1876, 1950, 3231, 1879, 1755, 1709, 30262, 30265]),
        (
            "don't stop-now... (ok?) $5.00 & 10% #1",
            &[
                2123, 1005, 1056, 2644, 1011, 2085, 1012, 1012, 1012, 1006, 7929, 1029, 1007, 1002, 1019, 1012, 4002,
                1004, 2184, 1003, 1001, 1015,
            ],
        ),
        (
            "unbelievably antidisestablishmentarianism",
            &[4895, 8671, 2666, 3567, 6321, 3424, 10521, 4355, 7875, 13602, 3672, 12199, 2964],
        ),
        ("", &[]),
        (&long, &[100]),
        ("tab\tnew\nline\u{200b}zero\u{fffd}width\0nul", &[21628, 2047, 2240, 6290, 5004, 3593, 2705, 11231, 2140]),
        ("ﬁne ½ ² ™ € £ ©", &[1984, 2638, 1092, 1082, 1580, 1574, 1069, 1075]),
        ("Привет мир", &[1194, 16856, 10325, 25529, 15290, 22919, 1191, 10325, 16856]),
        (
            "한국어 텍스트",
            &[1469, 30006, 30021, 29991, 30014, 30020, 29999, 30008, 1467, 30009, 30020, 29997, 30017, 30003, 30017],
        ),
        ("🙂 hello 🙂", &[100, 7592, 100]),
        ("«quoted» — dash … ‘x’ “y”", &[1077, 9339, 1090, 1517, 11454, 1529, 1520, 1060, 1521, 1523, 1061, 1524]),
        ("zażółć gęślą jaźń ŁÓDŹ", &[23564, 6844, 18818, 2278, 16216, 14540, 2050, 14855, 2480, 2078, 17814]),
        ("straße ΣΊΣΥΦΟΣ", &[2358, 27807, 1173, 18199, 29733, 29735, 29736, 29730, 29733]),
        ("e\u{301}cole", &[12431]),
        ("हिन्दी भाषा", &[1339, 29877, 29863, 29861, 29878, 1330, 29876, 29873, 29876]),
        ("สวัสดี", &[100]),
        ("\u{a0}nbsp\u{3000}ideographic", &[1050, 5910, 2361, 8909, 8780, 14773]),
        ("a\u{ad}b soft hyphen", &[11113, 3730, 1044, 22571, 10222]),
        ("👨\u{200d}👩\u{200d}👧 family", &[100, 2155]),
    ];
    for (text, ids) in cases {
        let found = vitascope_ai::embed::tokens(&vocabulary, text).unwrap();
        assert_eq!(found[1..found.len() - 1], **ids, "{text:?}");
        assert_eq!((found[0], found[found.len() - 1]), (101, 102));
    }
}

#[test]
fn who_goes_away_leaves_the_model_to_the_next() {
    run(async {
        let embedder = Embedder::local(&models()).unwrap();
        let long = vec!["many words about nothing ".repeat(100); 2000];
        let given_up = tokio::time::timeout(Duration::from_millis(300), embedder.embed(long)).await;
        assert!(given_up.is_err(), "2000 long texts take minutes");
        let next = tokio::time::timeout(Duration::from_secs(30), embedder.embed(texts(&["next"]))).await;
        assert_eq!(next.unwrap().unwrap()[0].len(), 384);
    });
}

#[test]
fn a_missing_model_says_what_to_run() {
    let folder = tempfile::tempdir().unwrap();
    let error = Embedder::local(folder.path()).err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("./run setup"), "{}", error.message);
}

fn remote(url: &str) -> Embedder {
    let config = ProviderConfig::new(url, Some("sk-test".into()), "embed-test").unwrap();
    Embedder::remote(Provider::new(config).unwrap())
}

/// Answers each text with a vector that holds its number in the list, the last one first.
fn numbered(asked: &Value, dimensions: usize) -> Value {
    let count = asked["input"].as_array().unwrap().len();
    let data: Vec<Value> = (0..count)
        .rev()
        .map(|i| {
            let mut vector = vec![0.0; dimensions];
            (vector[0], vector[1]) = (1.0, i as f64);
            json!({ "object": "embedding", "index": i, "embedding": vector })
        })
        .collect();
    json!({ "object": "list", "data": data, "model": "embed-test", "usage": { "prompt_tokens": 8, "total_tokens": 8 } })
}

fn ask(server: &Server, some: Vec<String>) -> Result<Vec<Vec<f32>>> {
    run(remote(&server.url).embed(some))
}

#[test]
fn a_provider_is_asked_in_lists_and_its_vectors_are_put_in_order() {
    let server = serve(|n, asked| if n == 0 { (503, json!({})) } else { (200, numbered(&asked.body, 3)) });
    let embedder = remote(&server.url);
    assert_eq!((embedder.model(), embedder.dimensions()), ("embed-test", None));
    let some: Vec<String> = (0..40).map(|i| if i == 1 { String::new() } else { format!("text {i}") }).collect();
    let vectors = run(embedder.embed(some)).unwrap();
    assert_eq!((vectors.len(), embedder.dimensions()), (40, Some(3)));
    for (i, vector) in vectors.iter().enumerate() {
        assert!((vector[1] / vector[0] - (i % 32) as f32).abs() < 1e-3, "{i}: {vector:?}");
        assert!((cosine(vector, vector) - 1.0).abs() < 1e-5);
    }
    let asked = server.asked.lock().unwrap();
    let lengths: Vec<usize> = asked.iter().map(|a| a.body["input"].as_array().unwrap().len()).collect();
    assert_eq!(lengths, [32, 32, 8], "the first call is made again");
    let call = &asked[1];
    assert_eq!((call.line.as_str(), call.key.as_str()), ("POST /v1/embeddings HTTP/1.1", "Bearer sk-test"));
    assert_eq!((&call.body["model"], &call.body["encoding_format"]), (&json!("embed-test"), &json!("float")));
    assert_eq!((&call.body["input"][0], &call.body["input"][1]), (&json!("text 0"), &json!(" ")));
}

#[test]
fn a_provider_that_changes_its_vectors_or_refuses_is_told() {
    let server = serve(|n, asked| (200, numbered(&asked.body, 3 + n)));
    let error = ask(&server, vec!["text".into(); 40]).unwrap_err();
    assert!(error.message.contains("4 numbers where 3 were expected"), "{}", error.message);
    let server = serve(|_, _| (401, json!({ "error": { "message": "bad key" } })));
    let error = ask(&server, vec!["text".into()]).unwrap_err();
    assert!(error.message.contains("401") && error.message.contains("bad key"), "{}", error.message);
    assert_eq!(server.asked.lock().unwrap().len(), 1);
    let server = serve(|_, _| (200, json!({ "data": "none" })));
    assert!(ask(&server, vec!["text".into()]).unwrap_err().message.contains("no embeddings"));
}
