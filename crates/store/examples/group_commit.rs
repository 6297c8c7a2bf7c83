//! How many capture events a second are made durable: by one writer after another, and by sixteen at once that share commits.
//! The same store, the same rows and the same `synchronous=FULL` both times, on the disk of the folder that is named.
//! cargo run --release -p vitascope-store --example group_commit [FOLDER]

use std::path::Path;
use std::time::Instant;

use vitascope_model::event::{Event, Webhook};
use vitascope_model::id::{CaptureSessionId, EventId, UserId};
use vitascope_model::{Result, WallTime};
use vitascope_store::{Store, outbox};

const WRITERS: usize = 16;
const EACH: usize = 250;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a benchmark's result")]
async fn main() -> Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let file = Path::new(&folder).join("group-commit.db");
    remove(&file);
    let store = Store::open(&file).await?;
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    // In turns, so that a slow moment of the disk meets both.
    for round in 0..5 {
        alone.push(run(&store, round * 2, 1, EACH).await?);
        together.push(run(&store, round * 2 + 1, WRITERS, EACH).await?);
    }
    let (alone, together) = (middle(alone), middle(together));
    println!("one by one    {alone:8.0} events/s");
    println!("{WRITERS} writers    {together:8.0} events/s");
    println!("ratio         {:8.1}", together / alone);
    store.close().await;
    remove(&file);
    Ok(())
}

fn remove(file: &Path) {
    for end in ["", "-wal", "-shm"] {
        // Mostly it is not there.
        std::fs::remove_file(format!("{}{end}", file.display())).ok();
    }
}

fn middle(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Events a second when so many tasks write so many each.
async fn run(store: &Store, round: usize, writers: usize, each: usize) -> Result<f64> {
    let began = Instant::now();
    let tasks: Vec<_> = (0..writers).map(|writer| tokio::spawn(write(store.clone(), round, writer, each))).collect();
    for task in tasks {
        task.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))?;
    }
    Ok((writers * each) as f64 / began.elapsed().as_secs_f64())
}

async fn write(store: Store, round: usize, writer: usize, each: usize) -> Result<()> {
    for n in 0..each {
        let at = WallTime((round * 1_000_000 + writer * 10_000 + n) as i64);
        let mut unique = [0; 10];
        unique[2..].copy_from_slice(&at.0.to_be_bytes());
        let session = CaptureSessionId::mint(WallTime(writer as i64), [0; 10]);
        let body = format!(r#"{{"version":"2","event":"capture_session.active","capture_session_id":"{session}"}}"#);
        let event = Event {
            id: EventId::mint(at, unique),
            owner: UserId::mint(WallTime(0), [0; 10]),
            collection_id: None,
            session_id: Some(session),
            name: "capture_session.active".to_owned(),
            at,
            frame: None,
            webhook: Some(Webhook { url: "http://127.0.0.1/hook".to_owned(), body }),
        };
        store.write(move |tx| Box::pin(async move { outbox::insert(tx, &event).await })).await?;
    }
    Ok(())
}
