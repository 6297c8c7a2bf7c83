//! An open socket lives as long as the key or token that opened it: passes are looked at again when one may have changed, and four
//! times a second besides, since a token ends by time and the command line writes to the database behind the server's back.

use std::time::Duration;

use vitascope_model::ErrorKind;

use crate::app::App;
use crate::app::account::admit;

/// What is revoked is closed within a second, half of which the store may go on telling what it had read (`store/kept.rs`).
const EACH: Duration = Duration::from_millis(250);

/// Runs until shutdown.
pub async fn run(app: App) {
    loop {
        tokio::select! {
            () = app.pass_bell.notified() => {}
            () = tokio::time::sleep(EACH) => {}
            () = app.shutdown.cancelled() => return,
        }
        look_again(&app).await;
    }
}

async fn look_again(app: &App) {
    for pass in app.sockets.passes() {
        match admit(app, pass.clone()).await {
            Ok(caller) => app.sockets.renew(&pass, &caller.scope),
            Err(error) if error.kind == ErrorKind::Unauthenticated => app.sockets.dismiss(&pass, &error.message),
            Err(error) => tracing::error!(%error, "the pass of a socket could not be looked at"),
        }
    }
}
