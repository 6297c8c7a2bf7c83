//! Retention: what is too old, or too much, goes, oldest first. It is worked out anew each time from rows alone, so that a crash in between
//! leaves less to do and nothing half done. What may never go is said in the store's `retention`; when it is looked at, in `jobs::upkeep`.

use vitascope_model::capture::CaptureSession;
use vitascope_model::collection::Limit;
use vitascope_model::id::EventId;
use vitascope_model::{Result, WallTime};
use vitascope_store::retention::{Shelf, drop_before};
use vitascope_store::{capture, disk_of, outbox};

use super::{App, mint};
use crate::config::Cap;
use crate::events::frames::storage_dropped;

/// So much less than a limit is left, as a part of it: then there is nothing to do for a while.
const MARGIN: i64 = 50;

/// Whether retention leaves alone what a session recorded, and what was exported from it.
pub async fn keep_session(app: &App, session: &CaptureSession, keep: bool) -> Result<()> {
    let id = session.id.clone();
    app.store.write(move |tx| Box::pin(async move { capture::set_keep(tx, &id, keep).await })).await
}

/// Brings everything below its limits as far as that is possible; whether it was.
pub async fn enforce(app: &App) -> Result<bool> {
    let (mut shelves, settings) = (app.store.list_shelves().await?, app.config.retention);
    for shelf in &mut shelves {
        if let Some(age) = shelf.retention.max_age.or(settings.max_age) {
            let cut = app.now() - age;
            drop_all(app, shelf, cut, Limit::Age).await?;
        }
    }
    let mut is_within = true;
    for shelf in &mut shelves {
        let Some(excess) = shelf.retention.max_bytes.and_then(|most| excess(shelf.bytes, most)) else { continue };
        if let Some(cut) = app.store.find_cut(Some(&shelf.collection), excess).await? {
            drop_all(app, shelf, cut, Limit::Collection).await?;
        }
        is_within &= shelf.retention.max_bytes.is_none_or(|most| shelf.bytes <= most);
    }
    let Some(most) = cap(app)? else { return Ok(is_within) };
    let total = |shelves: &[Shelf]| shelves.iter().map(|s| s.bytes).sum::<i64>();
    let Some(excess) = excess(total(&shelves), most) else { return Ok(is_within) };
    if let Some(cut) = app.store.find_cut(None, excess).await? {
        for shelf in &mut shelves {
            drop_all(app, shelf, cut, Limit::Server).await?;
        }
    }
    Ok(is_within && total(&shelves) <= most)
}

/// How much has to go, if any.
fn excess(bytes: i64, most: i64) -> Option<i64> {
    (bytes > most).then(|| bytes - (most - most / MARGIN))
}

fn cap(app: &App) -> Result<Option<i64>> {
    Ok(match app.config.retention.cap {
        Cap::Off => None,
        Cap::Bytes(most) => Some(most),
        Cap::OfDisk(share) => Some((disk_of(&app.config.data_dir)?.total as f64 * share) as i64),
    })
}

/// Lets go of everything in a collection that lies wholly before `cut` and may go, and tells it. The bytes are on the disk until their
/// grace is over.
async fn drop_all(app: &App, shelf: &mut Shelf, cut: WallTime, limit: Limit) -> Result<()> {
    // Most of the time there is nothing, and that costs no commit.
    while !app.shutdown.is_cancelled() && app.store.has_before(&shelf.collection, cut).await? {
        let (now, event, told) = (app.now(), mint!(app, EventId), shelf.clone());
        let gone = app
            .store
            .write(move |tx| {
                Box::pin(async move {
                    let gone = drop_before(tx, &told.collection, cut, now).await?;
                    if !gone.is_nothing() {
                        outbox::insert(tx, &storage_dropped(&told, &gone, cut, limit, event, now)).await?;
                    }
                    Ok(gone)
                })
            })
            .await?;
        if gone.is_nothing() {
            break;
        }
        let (assets, chunks, bytes) = (gone.assets.len() + gone.images.len(), gone.dropped.chunks, gone.dropped.bytes);
        tracing::info!(collection.id = %shelf.collection, limit = limit.as_str(), before = %cut, assets, chunks, bytes, "retention let go");
        shelf.bytes -= bytes;
        app.plans.forget();
        app.outbox_bell.notify_one();
        app.sweep_bell.notify_one();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_little_more_goes_than_must() {
        assert_eq!(excess(100, 100), None);
        assert_eq!(excess(101, 100), Some(3));
        assert_eq!(excess(7, 1), Some(6));
    }
}
