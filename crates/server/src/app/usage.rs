//! Usage: what an account has done for it, added up in memory and written down every few seconds, so that no request costs a commit.
//! What is counted in the last seconds before a `kill -9` is lost; a shutdown loses nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vitascope_model::Result;
use vitascope_model::id::UserId;
use vitascope_model::usage::{Amounts, Meter, Month, Stored};
use vitascope_store::usage;

use super::App;

/// How much a kill may lose.
const EACH: Duration = Duration::from_secs(5);

/// What is counted and not yet written down.
#[derive(Default)]
pub struct Usage {
    fresh: Mutex<HashMap<UserId, Amounts>>,
    /// Held while it is written: who reads the sums waits for what is on its way.
    writing: tokio::sync::Mutex<()>,
}

/// Where something is counted for one account.
#[derive(Clone)]
pub struct Tally {
    usage: Arc<Usage>,
    owner: UserId,
}

impl Tally {
    pub fn of(app: &App, owner: &UserId) -> Tally {
        Tally { usage: app.usage.clone(), owner: owner.clone() }
    }

    pub fn add(&self, meter: Meter, amount: u64) {
        self.usage.add(&self.owner, meter, amount);
    }
}

impl Usage {
    pub fn add(&self, user: &UserId, meter: Meter, amount: u64) {
        if amount == 0 {
            return;
        }
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        match fresh.get_mut(user) {
            Some(amounts) => amounts.add(meter, amount),
            None => fresh.entry(user.clone()).or_default().add(meter, amount),
        }
    }

    fn take(&self) -> HashMap<UserId, Amounts> {
        std::mem::take(&mut *self.fresh.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put_back(&self, unwritten: HashMap<UserId, Amounts>) {
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        for (user, amounts) in unwritten {
            fresh.entry(user).or_default().merge(&amounts);
        }
    }
}

/// Writes down what was counted, in one commit; nothing if nothing was.
pub async fn flush(app: &App) -> Result<()> {
    let _writing = app.usage.writing.lock().await;
    let taken = app.usage.take();
    if taken.is_empty() {
        return Ok(());
    }
    let (rows, month) = (taken.clone(), Month::of(app.now()));
    let written = app.store.write(move |tx| {
        Box::pin(async move {
            for (user, amounts) in &rows {
                usage::add(tx, user, &month, amounts).await?;
            }
            Ok(())
        })
    });
    if let Err(error) = written.await {
        app.usage.put_back(taken);
        return Err(error);
    }
    Ok(())
}

/// Runs until shutdown; what is counted after that is written by who closes the store.
pub async fn run(app: App) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EACH) => {}
            () = app.shutdown.cancelled() => return,
        }
        if let Err(error) = flush(&app).await {
            tracing::error!(%error, "usage could not be written down; it is tried again");
        }
    }
}

/// What an account used, and what it has stored.
pub struct Account {
    pub month: Month,
    pub this_month: Amounts,
    pub in_all: Amounts,
    /// The newest first.
    pub months: Vec<(Month, Amounts)>,
    pub stored: Stored,
}

/// To the last request: what is only in memory is written down first.
pub async fn of(app: &App, user: &UserId) -> Result<Account> {
    flush(app).await?;
    let (month, months) = (Month::of(app.now()), app.store.usage_of(user).await?);
    let this_month = months.iter().find(|(m, _)| *m == month).map(|(_, amounts)| *amounts).unwrap_or_default();
    let mut in_all = Amounts::default();
    months.iter().for_each(|(_, amounts)| in_all.merge(amounts));
    Ok(Account { month, this_month, in_all, months, stored: app.store.stored_of(user).await? })
}
