//! A collection: a named shelf of videos, streams and sessions. Every user has one that cannot be deleted.

use crate::id::{CollectionId, UserId};
use crate::time::WallTime;

#[derive(Clone, Debug, PartialEq)]
pub struct Collection {
    pub id: CollectionId,
    pub owner: UserId,
    pub name: String,
    pub description: String,
    pub is_public: bool,
    /// The one that the alias `default` means.
    pub is_default: bool,
    pub created_at: WallTime,
}
