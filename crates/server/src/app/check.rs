//! Whether what is stored is whole: every row's object is there and as long as its index says, every asset's ranges were recorded, no row
//! speaks of one that is gone, and what lies on the disk is spoken of. It reads only, beside a running server too: what such a one is about to do is not damage.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use vitascope_media::index::{Form, Index};
use vitascope_model::{Result, Span, WallTime};
use vitascope_store::Objects;
use vitascope_store::audit::{Audit, AuditChunk, Family, StoredObject};

use super::open_objects;
use crate::config::Config;

/// An object is written before its row: a younger one may get its row yet.
const ORPHAN_AFTER: Span = Span::seconds(3600);
/// Rows taken at a time.
const BATCH: i64 = 500;

#[derive(Debug, Default)]
pub struct Report {
    pub tracks: usize,
    pub open_tracks: usize,
    pub chunks: u64,
    pub bytes: u64,
    pub samples: u64,
    /// Chunks that are still to be encoded.
    pub promised: u64,
    /// Chunks in journals.
    pub unsealed: usize,
    /// Objects that are not in the remote store yet, and their bytes; nothing where there is none.
    pub unsent: Option<(usize, u64)>,
    /// Objects that were deleted and wait for the sweeper, and their bytes.
    pub waiting: (i64, i64),
    /// Old enough to be removed.
    pub orphans: Vec<StoredObject>,
    /// Worth knowing, and no harm.
    pub notes: Vec<String>,
    pub damage: Vec<String>,
}

/// `deep` reads every object, and counts its samples.
pub async fn check(config: &Config, deep: bool, now: WallTime) -> Result<Report> {
    let data_dir = &config.data_dir;
    let audit = Audit::open(&data_dir.join("vitascope.db")).await?;
    let objects = open_objects(config)?;
    let mut report = Report { damage: audit.broken_pages().await?, ..Report::default() };
    let tracks: HashMap<String, bool> = audit.list_tracks().await?.into_iter().collect();
    report.tracks = tracks.len();
    report.open_tracks = tracks.values().filter(|open| **open).count();
    let unsealed = journals(data_dir, &tracks, &mut report);
    // Objects before rows: what is sealed in between is then known twice rather than not at all.
    let stored: HashMap<String, StoredObject> = objects.list().await?.into_iter().map(|o| (o.key.clone(), o)).collect();
    check_chunks(&audit, &objects, &stored, deep, &mut report).await?;
    check_files(&audit, &objects, &stored, &mut report).await?;
    check_rows(&audit, &mut report).await?;
    report.unsent = objects.is_remote().then_some(objects.waiting().await?);
    report.waiting = audit.waiting_objects().await?;
    let known = audit.known_objects().await?;
    let is_orphan = |o: &StoredObject| !known.contains(&o.key) && !unsealed.contains(&o.key);
    for orphan in stored.into_values().filter(|o| is_orphan(o) && now - o.written > ORPHAN_AFTER) {
        // The sweeper may have taken it since the objects were listed.
        if objects.exists(&orphan.key).await? {
            report.orphans.push(orphan);
        }
    }
    report.orphans.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(report)
}

/// Images, uploaded files and downloads: objects that are a file each.
async fn check_files(
    audit: &Audit,
    objects: &Objects,
    stored: &HashMap<String, StoredObject>,
    report: &mut Report,
) -> Result<()> {
    for family in Family::ALL {
        for (id, object, bytes) in audit.list_files(family).await? {
            // What lies in an uploaded file was counted with the tracks.
            report.bytes += if family == Family::Original { 0 } else { bytes as u64 };
            let wrong = match stored.get(&object) {
                Some(found) if found.bytes == bytes as u64 => continue,
                Some(found) => format!("object {object} has {} bytes, not {bytes}", found.bytes),
                // Written since the objects were listed.
                None if objects.exists(&object).await? => continue,
                None => format!("object {object} is missing"),
            };
            if audit.has_file(family, &id).await? {
                report.damage.push(format!("{} {id}: {wrong}", family.as_str()));
            }
        }
    }
    Ok(())
}

async fn check_rows(audit: &Audit, report: &mut Report) -> Result<()> {
    for (asset, track) in audit.list_empty_parts().await? {
        report.damage.push(format!("asset {asset}: nothing is recorded of its part of track {track}"));
    }
    for (table, parent, count) in audit.list_orphan_rows().await? {
        report.damage.push(format!("orphan rows: {count} of table {table} speak of a {parent} that is not there"));
    }
    for (track, says, has) in audit.list_miscounted_tracks().await? {
        report.damage.push(format!("track {track}: its row says {says} bytes, its chunks have {has}"));
    }
    Ok(())
}

/// Removes what the report calls orphans; how many.
pub async fn remove_orphans(config: &Config, report: &Report) -> Result<usize> {
    let objects = open_objects(config)?;
    for orphan in &report.orphans {
        objects.remove(&orphan.key).await?;
    }
    Ok(report.orphans.len())
}

async fn check_chunks(
    audit: &Audit,
    objects: &Objects,
    stored: &HashMap<String, StoredObject>,
    deep: bool,
    report: &mut Report,
) -> Result<()> {
    let mut after = (String::new(), 0);
    loop {
        let chunks = audit.list_chunks((&after.0, after.1), BATCH).await?;
        let Some(last) = chunks.last() else { return Ok(()) };
        after = (last.track_id.clone(), last.start_us);
        for chunk in chunks {
            report.chunks += 1;
            report.bytes += chunk.bytes as u64;
            report.samples += chunk.samples as u64;
            if chunk.object.is_empty() {
                report.promised += 1;
                continue;
            }
            let wrong = match wrong_with(&chunk, stored.get(&chunk.object)) {
                Some(wrong) => Some(wrong),
                None if deep => unreadable(&chunk, objects).await,
                None => None,
            };
            // Sealed since the objects were listed, or deleted since the rows were: neither is damage.
            if let Some(wrong) = wrong
                && audit.has_chunk(&chunk.track_id, chunk.start_us).await?
                && (stored.contains_key(&chunk.object) || !objects.exists(&chunk.object).await?)
            {
                report.damage.push(format!("track {}, chunk {}: {wrong}", chunk.track_id, chunk.start_us));
            }
        }
    }
}

fn wrong_with(chunk: &AuditChunk, object: Option<&StoredObject>) -> Option<String> {
    let Some(object) = object else { return Some(format!("object {} is missing", chunk.object)) };
    let index = match Index::decode(&chunk.sample_index, chunk.bytes as u64) {
        Ok(index) => index,
        Err(error) => return Some(format!("its index cannot be read: {error}")),
    };
    let counted = (index.entries.len() as i64, index.data_bytes as i64);
    if counted != (chunk.samples, chunk.bytes) || index.index_bytes != chunk.sample_index.len() {
        let (samples, bytes) = counted;
        return Some(format!(
            "its index has {samples} samples of {bytes} bytes, not {} of {}",
            chunk.samples, chunk.bytes
        ));
    }
    // What lies in an uploaded file has the rest of it around.
    let (least, most) = (index.end(), if index.form == Form::InPlace { u64::MAX } else { index.end() });
    if !(least..=most).contains(&object.bytes) {
        return Some(format!("object {} has {} bytes, not {least}", chunk.object, object.bytes));
    }
    (chunk.end_us <= chunk.start_us).then(|| "it ends before it begins".to_owned())
}

async fn unreadable(chunk: &AuditChunk, objects: &Objects) -> Option<String> {
    let index = Index::decode(&chunk.sample_index, chunk.bytes as u64).ok()?;
    let begin = index.entries.first().map_or(0, |e| e.skip);
    objects.range(&chunk.object, begin, index.end() - begin).await.err().map(|error| error.to_string())
}

/// What lies in journals. Returns the keys under which it will be sealed, or is already where its row is not there yet.
fn journals(data_dir: &Path, tracks: &HashMap<String, bool>, report: &mut Report) -> HashSet<String> {
    let folders = std::fs::read_dir(data_dir.join("journal")).into_iter().flatten().filter_map(std::result::Result::ok);
    let mut unsealed = HashSet::new();
    for folder in folders {
        let track = folder.file_name().to_string_lossy().into_owned();
        let files = std::fs::read_dir(folder.path()).into_iter().flatten().filter_map(std::result::Result::ok);
        let names: Vec<String> = files.map(|f| f.file_name().to_string_lossy().into_owned()).collect();
        let begun: Vec<&str> = names.iter().filter_map(|n| n.strip_suffix(".idx")).collect();
        report.unsealed += begun.len();
        unsealed.extend(begun.iter().map(|start| format!("tracks/{track}/{start}.dat")));
        match tracks.get(&track) {
            None if !names.is_empty() => report.notes.push(format!("a journal of a track that is not there: {track}")),
            Some(false) if !begun.is_empty() => {
                report
                    .notes
                    .push(format!("track {track} grows no more, and has {} chunks in its journal", begun.len()));
            }
            _ => {}
        }
    }
    unsealed
}
