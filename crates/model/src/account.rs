//! Who may see what. Every look-up of the store takes a `Scope`, so that a key of some collections cannot reach into others
//! through a handler that did not think of it.

use crate::id::{ApiKeyId, CollectionId, UserId};
use crate::time::WallTime;

/// What a caller may see: everything of one user, or only what lies in some collections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    user: UserId,
    collections: Option<Vec<CollectionId>>,
}

impl Scope {
    pub fn whole(user: UserId) -> Scope {
        Scope { user, collections: None }
    }

    pub fn of_collections(user: UserId, collections: Vec<CollectionId>) -> Scope {
        Scope { user, collections: Some(collections) }
    }

    pub fn user(&self) -> &UserId {
        &self.user
    }

    pub fn is_whole(&self) -> bool {
        self.collections.is_none()
    }

    /// The collections that it is bound to, in the order in which they were given; `None` if it is the whole account.
    pub fn collections(&self) -> Option<&[CollectionId]> {
        self.collections.as_deref()
    }

    pub fn includes(&self, collection: &CollectionId) -> bool {
        self.collections.as_ref().is_none_or(|bound| bound.contains(collection))
    }

    /// Whether a thing of `owner` that lies in `collection` may be seen.
    pub fn covers(&self, owner: &UserId, collection: &CollectionId) -> bool {
        self.user == *owner && self.includes(collection)
    }
}

/// An API key as it is known after it was minted: by everything but itself.
#[derive(Clone, Debug)]
pub struct ApiKey {
    pub id: ApiKeyId,
    /// Its first characters, so that a person can tell keys apart.
    pub hint: String,
    pub scope: Scope,
    pub created_at: WallTime,
}

/// A client token as it is known after it was minted.
#[derive(Clone, Debug)]
pub struct ClientToken {
    /// That of the key which minted it, as it is now.
    pub scope: Scope,
    /// The application's own name for who holds it.
    pub end_user_id: Option<String>,
    pub expires_at: WallTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_covers_its_user_and_its_collections_only() {
        let user = |n: u8| UserId::mint(WallTime(0), [n; 10]);
        let collection = |n: u8| CollectionId::mint(WallTime(0), [n; 10]);
        let (whole, bound) = (Scope::whole(user(1)), Scope::of_collections(user(1), vec![collection(1)]));
        assert!(whole.covers(&user(1), &collection(2)) && !whole.covers(&user(2), &collection(2)));
        assert!(bound.covers(&user(1), &collection(1)) && !bound.covers(&user(1), &collection(2)));
        assert!(!bound.covers(&user(2), &collection(1)));
        assert!(
            !Scope::of_collections(user(1), Vec::new()).includes(&collection(1)),
            "bound to none is not bound to all"
        );
    }
}
