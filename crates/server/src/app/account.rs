//! Who is who: the bootstrap of an empty installation, API keys, and the client tokens that recorders carry.
//! A caller is known again by a pass, so that whatever it opened can be closed when the pass is no longer good.

use vitascope_model::account::{ApiKey, Scope};
use vitascope_model::id::{ApiKeyId, CollectionId, UserId};
use vitascope_model::{Error, Result, Span, WallTime};
use vitascope_store::{Tx, token, user};

use super::{App, mint};
use crate::random;

/// What opened the door, by the hash under which it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    Key(String),
    Token(String),
}

/// Who calls, and what of the account is open to them.
#[derive(Clone, Debug)]
pub struct Caller {
    pub scope: Scope,
    pub pass: Pass,
    /// Whose token it is, if the application said so when it had it minted.
    pub end_user_id: Option<String>,
}

impl Caller {
    pub fn user(&self) -> &UserId {
        self.scope.user()
    }

    /// The hash of the client token, if it is one.
    pub fn token(&self) -> Option<&str> {
        match &self.pass {
            Pass::Key(_) => None,
            Pass::Token(hash) => Some(hash),
        }
    }
}

pub struct MintedToken {
    pub token: String,
    pub expires_at: WallTime,
}

/// Makes the first user and sees that some API key opens the door. Returns a key that was minted now and is shown only once.
pub async fn bootstrap(app: &App) -> Result<Option<String>> {
    let user = match app.store.find_first_user().await? {
        Some(user) => user,
        None => {
            let (id, now) = (mint!(app, UserId), app.now());
            let made = id.clone();
            app.store.write(move |tx| Box::pin(async move { user::insert(tx, &id, "owner", now).await })).await?;
            made
        }
    };
    super::collection::default_of(app, &Scope::whole(user.clone())).await?;
    match &app.config.api_key {
        Some(key) if key.starts_with("st-") => Err(Error::invalid("VITASCOPE_API_KEY must not begin with st-")),
        Some(key) => {
            add_key(app, &user, key).await?;
            if app.store.find_api_key(&random::digest(key)).await?.is_none() {
                tracing::warn!("the key in VITASCOPE_API_KEY was revoked and opens nothing");
            }
            Ok(None)
        }
        None if app.store.has_api_key().await? => Ok(None),
        None => mint_key(app, &user).await.map(Some),
    }
}

pub async fn mint_key(app: &App, user: &UserId) -> Result<String> {
    let key = format!("sk-{}{}", random::secret_name(), random::secret_name());
    add_key(app, user, &key).await?;
    Ok(key)
}

async fn add_key(app: &App, user: &UserId, key: &str) -> Result<()> {
    let (id, user, hash, now) = (mint!(app, ApiKeyId), user.clone(), random::digest(key), app.now());
    // Enough to tell keys apart, and never more than a third of the secret.
    let hint: String = key.chars().take((key.chars().count() / 3).min(11)).collect();
    app.store.write(move |tx| Box::pin(async move { user::insert_key(tx, &id, &user, &hash, &hint, now).await })).await
}

/// Ends a key, the tokens that it minted, and the sockets of both. `name` is the key itself, its id or its hint.
pub async fn revoke_key(app: &App, user: &UserId, name: String) -> Result<ApiKey> {
    let (owner, now) = (user.clone(), app.now());
    let revoked = app.store.write(move |tx| {
        Box::pin(async move {
            let found = free_to_lose(tx, &owner, &name).await?;
            user::revoke_key(tx, &found.id, now).await?;
            Ok(found)
        })
    });
    let revoked = revoked.await?;
    app.pass_bell.notify_one();
    tracing::info!(key.id = %revoked.id, "an API key was revoked");
    Ok(revoked)
}

/// From now on the key sees these collections only.
pub async fn bind_key(app: &App, user: &UserId, name: String, collections: Vec<CollectionId>) -> Result<()> {
    let owner = user.clone();
    let bound = app.store.write(move |tx| {
        Box::pin(async move {
            let found = free_to_lose(tx, &owner, &name).await?;
            user::bind_key(tx, &found.id, &collections).await
        })
    });
    bound.await?;
    app.pass_bell.notify_one();
    Ok(())
}

/// The named key, unless it is the last that sees the whole account: without one, nobody could mint another.
async fn free_to_lose(tx: &mut Tx, user: &UserId, name: &str) -> Result<ApiKey> {
    let hash = random::digest(name);
    let exact = user::find_key(tx, &hash).await?.filter(|k| k.scope.user() == user);
    let keys = user::keys_of(tx, user).await?;
    let found = match exact {
        Some(key) => key,
        None => {
            let mut named = keys.iter().filter(|k| k.id.as_str() == name || (k.hint == name && !name.is_empty()));
            match (named.next(), named.next()) {
                (Some(key), None) => key.clone(),
                (Some(_), Some(_)) => {
                    return Err(Error::conflict("several API keys begin like this: name the one you mean by its id"));
                }
                (None, _) => return Err(Error::not_found("the API key")),
            }
        }
    };
    let others = keys.iter().filter(|k| k.id != found.id && k.scope.is_whole()).count();
    if found.scope.is_whole() && others == 0 {
        return Err(Error::conflict("this is the last API key that opens the whole account: mint another one first"));
    }
    Ok(found)
}

/// Who holds this key or token.
pub async fn identify(app: &App, secret: &str) -> Result<Caller> {
    let hash = random::digest(secret);
    admit(app, if secret.starts_with("st-") { Pass::Token(hash) } else { Pass::Key(hash) }).await
}

/// Who holds this pass, if it is still good.
pub async fn admit(app: &App, pass: Pass) -> Result<Caller> {
    let (scope, end_user_id) = match &pass {
        Pass::Key(hash) => match app.store.find_api_key(hash).await? {
            Some(key) => (key.scope, None),
            None => return Err(Error::unauthenticated("the API key is not valid")),
        },
        Pass::Token(hash) => match app.store.find_token(hash).await? {
            Some(token) if token.expires_at <= app.now() => {
                return Err(Error::unauthenticated("the client token has expired"));
            }
            Some(token) => (token.scope, token.end_user_id),
            None => return Err(Error::unauthenticated("the client token is not valid")),
        },
    };
    Ok(Caller { scope, pass, end_user_id })
}

/// A token that sees what the key of `caller` sees, and lasts no longer than it.
pub async fn mint_token(
    app: &App,
    caller: &Caller,
    end_user_id: Option<String>,
    expires_in: Span,
) -> Result<MintedToken> {
    let Pass::Key(key_hash) = &caller.pass else {
        return Err(Error::denied("a client token may not mint others"));
    };
    let (token, now) = (format!("st-{}{}", random::secret_name(), random::secret_name()), app.now());
    let expires_at = WallTime(now.0.saturating_add(expires_in.0));
    let row = token::NewToken {
        hash: random::digest(&token),
        key_hash: key_hash.clone(),
        user: caller.user().clone(),
        end_user_id,
        expires_at,
    };
    let forget = now - Span::seconds(7 * 86_400);
    app.store
        .write(move |tx| {
            Box::pin(async move {
                token::delete_expired(tx, forget).await?;
                token::insert(tx, &row, now).await
            })
        })
        .await?;
    Ok(MintedToken { token, expires_at })
}

/// Ends a client token before its time, and its sockets.
pub async fn revoke_token(app: &App, user: &UserId, token: &str) -> Result<()> {
    let (hash, user) = (random::digest(token), user.clone());
    let was_there = app.store.write(move |tx| Box::pin(async move { token::delete(tx, &hash, &user).await })).await?;
    app.pass_bell.notify_one();
    if was_there { Ok(()) } else { Err(Error::not_found("the client token")) }
}

/// The ids of the collections that a key is to be bound to, each of them the user's own.
pub async fn own_collections(app: &App, scope: &Scope, names: &[String]) -> Result<Vec<CollectionId>> {
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        let found = super::collection::named(app, scope, name).await?;
        if !ids.contains(&found.id) {
            ids.push(found.id);
        }
    }
    Ok(ids)
}
