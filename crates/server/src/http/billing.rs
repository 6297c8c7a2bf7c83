//! Usage over HTTP, from real counters, and what is left of billing where nobody is billed: the calls that would cost money are
//! refused in words. It concerns the whole account: a key that is bound to collections sees none of it.

use axum::extract::State;
use serde::Serialize;
use serde_json::json;
use vitascope_model::Error;
use vitascope_model::usage::{Amounts, Meter};

use super::error::ApiError;
use super::extract::WholeOwner;
use super::reply::{Answer, Reply};
use super::router::Routes;
use crate::app::{App, usage};

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/billing/usage", show_usage)
        .get("/billing/invoices", list_invoices)
        .post("/billing/checkout", nothing_to_pay)
        .get("/billing/checkouts", nothing_to_pay)
        .post("/billing/topup", nothing_to_pay)
        .get("/billing/auto_recharge", nothing_to_pay)
        .post("/billing/auto_recharge", nothing_to_pay)
}

#[derive(Serialize)]
struct AmountsView {
    requests: u64,
    bytes_in: u64,
    bytes_out: u64,
    seconds_ingested: f64,
    seconds_analysed: f64,
}

fn view(amounts: &Amounts) -> AmountsView {
    AmountsView {
        requests: amounts.of(Meter::Requests),
        bytes_in: amounts.of(Meter::BytesIn),
        bytes_out: amounts.of(Meter::BytesOut),
        seconds_ingested: amounts.span(Meter::Ingested).to_seconds(),
        seconds_analysed: amounts.span(Meter::Analysed).to_seconds(),
    }
}

#[derive(Serialize)]
struct MonthView {
    month: String,
    #[serde(flatten)]
    amounts: AmountsView,
}

/// compat: the published document has two amounts of money, and numbers by name in `breakdown`. There is no money here.
async fn show_usage(State(app): State<App>, WholeOwner(user): WholeOwner) -> Answer {
    let found = usage::of(&app, &user).await?;
    let stored = found.stored;
    let seconds = stored.videos + stored.audios + stored.rtstreams;
    let mut breakdown = json!(view(&found.this_month));
    breakdown["bytes_stored"] = json!(stored.bytes);
    breakdown["seconds_stored"] = json!(seconds.to_seconds());
    let months: Vec<MonthView> =
        found.months.iter().map(|(m, a)| MonthView { month: m.as_str().to_owned(), amounts: view(a) }).collect();
    Ok(Reply::ok(json!({
        "credit_balance": 0,
        "usage_this_month": 0,
        "month": found.month.as_str(),
        "breakdown": breakdown,
        "in_all": view(&found.in_all),
        "months": months,
        "stored": {
            "bytes": stored.bytes,
            "video_seconds": stored.videos.to_seconds(),
            "audio_seconds": stored.audios.to_seconds(),
            "rtstream_seconds": stored.rtstreams.to_seconds(),
        },
    })))
}

async fn list_invoices(_: WholeOwner) -> Answer {
    Ok(Reply::ok(json!([])))
}

async fn nothing_to_pay(_: WholeOwner) -> ApiError {
    ApiError(Error::denied(
        "there is nothing to pay: this server is run by yourself; GET /billing/usage says what was used",
    ))
}
