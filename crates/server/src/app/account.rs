//! Who is who: the bootstrap of an empty installation, API keys, and the client tokens that recorders carry.

use vitascope_model::id::{ApiKeyId, UserId};
use vitascope_model::{Error, Result, Span, WallTime};
use vitascope_store::{token, user};

use super::{App, mint};
use crate::random;

/// What an access token turned out to be.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Holds an API key.
    Owner(UserId),
    /// Holds a client token of this user, known by the token's hash.
    Client { user: UserId, token_hash: String },
}

impl Caller {
    pub fn user(&self) -> &UserId {
        match self {
            Caller::Owner(user) | Caller::Client { user, .. } => user,
        }
    }
}

pub struct ClientToken {
    pub token: String,
    pub expires_in: Span,
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
    super::collection::default_of(app, &user).await?;
    match &app.config.api_key {
        Some(key) if key.starts_with("st-") => Err(Error::invalid("VITASCOPE_API_KEY must not begin with st-")),
        Some(key) => add_key(app, &user, key).await.map(|()| None),
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
    let hint: String = key.chars().take(7).collect();
    app.store.write(move |tx| Box::pin(async move { user::insert_key(tx, &id, &user, &hash, &hint, now).await })).await
}

/// Who holds this key or token.
pub async fn identify(app: &App, secret: &str) -> Result<Caller> {
    let hash = random::digest(secret);
    if !secret.starts_with("st-") {
        let user = app.store.find_user_by_key(&hash).await?;
        return user.map(Caller::Owner).ok_or_else(|| Error::unauthenticated("the API key is not valid"));
    }
    match app.store.find_token(&hash).await? {
        Some((_, expires)) if expires <= app.now() => Err(Error::unauthenticated("the client token has expired")),
        Some((user, _)) => Ok(Caller::Client { user, token_hash: hash }),
        None => Err(Error::unauthenticated("the client token is not valid")),
    }
}

pub async fn mint_token(app: &App, user: &UserId, end_user: Option<String>, expires_in: Span) -> Result<ClientToken> {
    let (token, now) = (format!("st-{}{}", random::secret_name(), random::secret_name()), app.now());
    let (expires_at, hash, user) = (now + expires_in, random::digest(&token), user.clone());
    let forget = now - Span::seconds(7 * 86_400);
    app.store
        .write(move |tx| {
            Box::pin(async move {
                token::delete_expired(tx, forget).await?;
                token::insert(tx, &hash, &user, end_user.as_deref(), now, expires_at).await
            })
        })
        .await?;
    Ok(ClientToken { token, expires_in, expires_at })
}
