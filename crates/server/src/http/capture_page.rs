//! The page that records in a browser, for those who can or will install nothing. It is the same for everybody: the session stands in the
//! query and the client token in the fragment, which no server sees.

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY};
use axum::response::{Html, IntoResponse};

use super::router::Routes;

const PAGE: &str = include_str!("../../../../console/capture.html");
/// Nothing from elsewhere, nothing to elsewhere, and nobody puts the page into a frame. The worker is the page's clock.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; media-src blob:; \
     worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn routes() -> Routes {
    Routes::new().open("/capture", page)
}

async fn page() -> impl IntoResponse {
    let headers: [(HeaderName, &str); 3] =
        [(CONTENT_SECURITY_POLICY, POLICY), (REFERRER_POLICY, "no-referrer"), (CACHE_CONTROL, "no-cache")];
    (headers, Html(PAGE))
}
