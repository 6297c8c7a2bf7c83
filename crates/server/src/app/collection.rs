//! Collections: made, renamed, deleted with what they hold; and the default one, which every user has.

use vitascope_model::account::Scope;
use vitascope_model::collection::{Collection, Retention};
use vitascope_model::id::{CollectionId, UserId};
use vitascope_model::{Error, Result, Span};
use vitascope_store::capture::SessionFilter;
use vitascope_store::collection;

use super::{App, deletion, image, mint};

/// Sessions that are looked up at a time.
const AT_ONCE: i64 = 100;

/// What of a collection a client may choose; `None` leaves it as it is.
#[derive(Debug, Default)]
pub struct Wishes {
    pub name: Option<String>,
    pub description: Option<String>,
    pub is_public: Option<bool>,
    pub max_bytes: Option<Option<i64>>,
    pub max_age: Option<Option<Span>>,
}

impl Wishes {
    fn retention(&self, before: Retention) -> Retention {
        Retention {
            max_bytes: self.max_bytes.unwrap_or(before.max_bytes),
            max_age: self.max_age.unwrap_or(before.max_age),
        }
    }
}

/// The collection that a client names: by its id, or as `default`.
pub async fn named(app: &App, scope: &Scope, name: &str) -> Result<Collection> {
    match name {
        "default" => default_of(app, scope).await,
        id => app.store.get_collection(scope, &id.parse()?).await,
    }
}

/// The default collection of the caller: the user's, made when it is first needed; for a key that is bound to others, the first of those.
pub async fn default_of(app: &App, scope: &Scope) -> Result<Collection> {
    let default = default_of_user(app, scope.user()).await?;
    if scope.includes(&default.id) {
        return Ok(default);
    }
    let first = scope.collections().and_then(<[CollectionId]>::first);
    let first = first.ok_or_else(|| Error::not_found("a collection that this key may see"))?;
    app.store.get_collection(scope, first).await
}

async fn default_of_user(app: &App, user: &UserId) -> Result<Collection> {
    if let Some(found) = app.store.find_default_collection(user).await? {
        return Ok(found);
    }
    let made = Collection {
        id: mint!(app, CollectionId),
        owner: user.clone(),
        name: "Default Collection".to_owned(),
        description: "Where everything goes that names no other collection".to_owned(),
        is_public: false,
        is_default: true,
        created_at: app.now(),
        retention: Retention::default(),
    };
    app.store.write(move |tx| Box::pin(async move { collection::insert(tx, &made).await })).await?;
    // Another request may have been quicker: the row that is there is the right one.
    app.store.find_default_collection(user).await?.ok_or_else(|| Error::internal("the default collection is missing"))
}

pub async fn create(app: &App, user: &UserId, wishes: Wishes) -> Result<Collection> {
    let retention = wishes.retention(Retention::default());
    let name = wishes.name.filter(|n| !n.trim().is_empty()).ok_or_else(|| Error::invalid("name is required"))?;
    let made = Collection {
        id: mint!(app, CollectionId),
        owner: user.clone(),
        name,
        description: wishes.description.unwrap_or_default(),
        is_public: wishes.is_public.unwrap_or(false),
        is_default: false,
        created_at: app.now(),
        retention,
    };
    let row = made.clone();
    app.store.write(move |tx| Box::pin(async move { collection::insert(tx, &row).await })).await?;
    Ok(made)
}

pub async fn update(app: &App, user: &UserId, mut found: Collection, wishes: Wishes) -> Result<Collection> {
    only_owner(user, &found)?;
    found.retention = wishes.retention(found.retention);
    if let Some(name) = wishes.name {
        found.name = name;
    }
    if let Some(description) = wishes.description {
        found.description = description;
    }
    if let Some(is_public) = wishes.is_public {
        found.is_public = is_public;
    }
    let row = found.clone();
    app.store.write(move |tx| Box::pin(async move { collection::update(tx, &row).await })).await?;
    Ok(found)
}

/// Deletes a collection with everything in it, as the contract has it; live recordings are stopped first. The default one stays.
pub async fn delete(app: &App, user: &UserId, found: Collection) -> Result<()> {
    only_owner(user, &found)?;
    if found.is_default {
        return Err(Error::invalid("the default collection cannot be deleted"));
    }
    empty(app, &Scope::whole(user.clone()), &found.id).await?;
    app.store
        .write(move |tx| {
            Box::pin(async move {
                if !collection::is_empty(tx, &found.id).await? {
                    let message =
                        "something came into the collection, or was still draining, while it was emptied: try again";
                    return Err(Error::conflict(message));
                }
                collection::delete(tx, &found.id).await
            })
        })
        .await
}

/// Deletes what lies in a collection. Sessions first: what they export meanwhile is among the assets then.
async fn empty(app: &App, scope: &Scope, id: &CollectionId) -> Result<()> {
    loop {
        let some = app.store.list_sessions(scope, id, &SessionFilter::default(), AT_ONCE).await?;
        for session in &some {
            deletion::delete_session(app, session).await?;
        }
        if some.is_empty() {
            break;
        }
    }
    for video in app.store.list_videos(scope, Some(id)).await? {
        deletion::delete_video(app, &video).await?;
    }
    for audio in app.store.list_audios(scope, Some(id)).await? {
        deletion::delete_audio(app, &audio).await?;
    }
    for found in app.store.list_images(scope, Some(id)).await? {
        image::delete(app, &found).await?;
    }
    Ok(())
}

fn only_owner(user: &UserId, found: &Collection) -> Result<()> {
    if found.owner == *user { Ok(()) } else { Err(Error::denied("only its owner may change a public collection")) }
}
