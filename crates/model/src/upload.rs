//! What comes in by upload: a slot is a URL of ours that takes one file, and gives it back to who knows the URL.
//! An original is such a file after somebody has: it is kept as it came, once for each owner.

use crate::id::{CollectionId, OriginalId, UserId};
use crate::time::WallTime;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadSlot {
    /// SHA-256 of the secret in its URL.
    pub hash: String,
    pub owner: UserId,
    pub collection_id: CollectionId,
    /// What the asset is to be called, if the client said so when it asked for the URL.
    pub name: Option<String>,
    pub expires_at: WallTime,
    /// The file, while it comes in by pieces.
    pub arriving: Option<Arriving>,
    /// The file, once all of it is on the disk.
    pub received: Option<Received>,
}

/// A file that comes in by pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arriving {
    /// Its name in the folder of uploads. How much of it is there, it says itself.
    pub file: String,
    /// What the sender called it.
    pub source_name: Option<String>,
    /// How many bytes it will have.
    pub length: u64,
    /// Bytes that are known to be right while a piece comes whose sum is still to be checked.
    pub sure: Option<u64>,
}

/// A file that has come in whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its name in the folder of uploads.
    pub file: String,
    /// What the sender called it.
    pub source_name: Option<String>,
    pub sha256: String,
    pub bytes: u64,
}

/// An uploaded file, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    pub id: OriginalId,
    pub owner: UserId,
    /// Where the first asset that was made of it lay.
    pub collection_id: CollectionId,
    pub sha256: String,
    pub bytes: i64,
    /// Bytes that no chunk counts, since no sample of a track lies there.
    pub loose_bytes: i64,
    /// Key of the object that holds the file.
    pub object: String,
    /// As ffprobe names it.
    pub container: String,
    pub created_at: WallTime,
    /// Whether its bytes are no longer kept.
    pub is_dropped: bool,
}
