//! The door: who calls, and whether the things that the path names are open to them. It stands before every route that is not
//! declared open, so a new handler is behind it without a word; what a body or a query names is looked up with the caller's scope.

use axum::extract::{RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use vitascope_model::account::Scope;
use vitascope_model::usage::Meter;
use vitascope_model::{Error, Result};

use super::error::ApiError;
use super::extract::{collection_of, compat_access_token};
use crate::app::App;
use crate::app::account::identify;

pub(super) async fn guard(
    State(app): State<App>,
    params: RawPathParams,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let caller = identify(&app, compat_access_token(request.headers())?).await?;
    if !caller.scope.is_whole() {
        check_path(&app, &caller.scope, &params.iter().collect::<Vec<_>>()).await?;
    }
    app.usage.add(caller.scope.user(), Meter::Requests, 1);
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// For a key that is bound to collections: what the path names must lie in one of them. A path that names only things of which
/// nobody said here where they lie is closed to it.
async fn check_path(app: &App, scope: &Scope, params: &[(&str, &str)]) -> Result<()> {
    let named = |noun: &str| params.iter().find(|(name, _)| *name == noun).map(|(_, id)| *id);
    let mut is_placed = params.is_empty();
    if let Some(id) = named("session") {
        // The collection beside a session is not looked at: apps poll sessions of a named collection under `default`.
        app.store.get_session(scope, &id.parse()?).await?;
        is_placed = true;
    } else if let Some(name) = named("collection") {
        collection_of(app, scope, name).await?;
        is_placed = true;
    }
    if let Some(id) = named("rtstream") {
        app.store.get_rtstream(scope, &id.parse()?).await?;
        is_placed = true;
    }
    if let Some(id) = named("video") {
        app.store.get_video(scope, &id.parse()?).await?;
        is_placed = true;
    }
    if let Some(id) = named("audio") {
        app.store.get_audio(scope, &id.parse()?).await?;
        is_placed = true;
    }
    if let Some(id) = named("image") {
        app.store.get_image(scope, &id.parse()?).await?;
        is_placed = true;
    }
    if let Some(id) = named("download") {
        app.store.get_takeout(scope, &id.parse()?).await?;
        is_placed = true;
    }
    if let Some(id) = named("job") {
        app.store.get_job(scope, &id.parse()?).await?;
        is_placed = true;
    }
    if is_placed { Ok(()) } else { Err(Error::denied("this API key is bound to some collections: it may not go here")) }
}
