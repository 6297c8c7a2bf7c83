//! What a program can check of the house rules: file length, opening comments, and which room uses which.

use std::path::{Path, PathBuf};

const LONGEST_FILE: usize = 400;

/// Inside the server: who may name whom. `app` is below them all; nobody names `http`.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("app", &["http", "rtsp", "serve"]),
    ("events", &["http", "rtsp", "jobs", "serve"]),
    ("jobs", &["http", "rtsp", "live", "events", "serve"]),
    ("live", &["http", "rtsp", "jobs", "serve"]),
    ("rtsp", &["http", "jobs", "events", "serve"]),
    ("http", &["rtsp", "jobs", "serve"]),
];

/// Between crates the compiler forbids it; these words would be a way round.
const ONLY_IN: &[(&str, &str)] = &[
    ("sqlx::", "store"),
    ("rten::", "ai"),
    ("axum::", "server"),
    ("object_store::", "store"),
    ("x11rb::", "recorder"),
];

#[test]
fn files_are_short_and_say_what_lives_in_them() {
    let mut wrong = Vec::new();
    for file in sources() {
        let text = std::fs::read_to_string(&file).unwrap();
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            wrong.push(format!("{}: {lines} lines, at most {LONGEST_FILE}", file.display()));
        }
        if !text.starts_with("//!") {
            wrong.push(format!("{}: does not open with what lives here", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rooms_name_only_rooms_below_them() {
    let mut wrong = Vec::new();
    for (room, forbidden) in FORBIDDEN {
        for file in sources().iter().filter(|f| f.starts_with(crates().join("server/src").join(room))) {
            let text = std::fs::read_to_string(file).unwrap();
            for other in *forbidden {
                if text.contains(&format!("crate::{other}::")) {
                    wrong.push(format!("{} names crate::{other}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_power_has_one_room() {
    let mut wrong = Vec::new();
    for file in sources() {
        let text = std::fs::read_to_string(&file).unwrap();
        for (word, room) in ONLY_IN {
            let here = file.strip_prefix(crates()).unwrap().starts_with(room);
            if !here && file.components().all(|c| c.as_os_str() != "tests") && text.contains(word) {
                wrong.push(format!("{} uses {word}, which belongs to {room}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A look-up that takes a user would show what a key bound to other collections may not see.
#[test]
fn look_ups_of_the_store_take_a_scope() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in sources().iter().filter(|f| f.starts_with(crates().join("store/src"))) {
        let text = std::fs::read_to_string(file).unwrap();
        for (at, word) in text.match_indices("pub async fn get_").chain(text.match_indices("pub async fn list_")) {
            let signature = text[at + word.len()..].split('{').next().unwrap();
            seen += usize::from(signature.contains("&Scope"));
            if signature.contains("&UserId") {
                wrong.push(format!("{}: {word}{signature}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen >= 8, "the look-ups were found");
}

#[test]
fn the_map_is_short() {
    let map = crates().join("../ARCHITECTURE.md");
    assert!(std::fs::read_to_string(map).unwrap().lines().count() < 200);
}

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![crates()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|n| n != "target" && n != "python") {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 50, "the sources were found");
    found
}
