//! A collection: a named shelf of videos, streams and sessions. Every user has one that cannot be deleted.

use crate::id::{CollectionId, UserId};
use crate::time::{Span, WallTime};

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
    pub retention: Retention,
}

/// How much a collection keeps of what is recorded, and for how long. `None`: as the server's settings say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    pub max_bytes: Option<i64>,
    pub max_age: Option<Span>,
}

/// Gigabytes (of a thousand million bytes, whole or not) as a limit.
pub fn bytes_of_gb(gb: f64) -> Option<i64> {
    let bytes = (gb * 1e9).round();
    (1.0..9e18).contains(&bytes).then_some(bytes as i64)
}

/// Days, whole or not, as a limit; a thousand years are for ever.
pub fn age_of_days(days: f64) -> Option<Span> {
    Span::from_seconds(days * 86_400.0).filter(|age| (1..=31_557_600_000_000_000).contains(&age.0))
}

/// Why retention let something go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Older than what is kept.
    Age,
    /// More than the collection may hold.
    Collection,
    /// More than the server may hold.
    Server,
}

impl Limit {
    pub fn as_str(self) -> &'static str {
        match self {
            Limit::Age => "max_days",
            Limit::Collection => "max_gb",
            Limit::Server => "server_max_gb",
        }
    }
}
