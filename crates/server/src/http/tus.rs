//! tus 1.0 over HTTP: core, creation, expiration, termination, checksum. Only headers are read and written here.
//! What is made has a URL that is as good as a key, and at the end the same file lies at an upload URL like any other.

use axum::extract::{Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use vitascope_model::{Error, Result, WallTime};

use super::error::{ApiError, status};
use super::extract::{Owner, collection_of};
use super::router::Routes;
use super::upload::clean_name;
use crate::app::App;
use crate::app::tus::{self, Appended, Checksum, Progress};

const VERSION: &str = "1.0.0";
const EXTENSIONS: &str = "creation,expiration,termination,checksum";
const ALGORITHMS: &str = "sha1,sha256";

pub(super) fn routes() -> Routes {
    const SECRET: &str = "/tus/{secret}";
    Routes::new()
        .post("/collection/{collection}/tus", create)
        .open_on("OPTIONS", SECRET, on(MethodFilter::OPTIONS, options))
        .open_on("HEAD", SECRET, on(MethodFilter::HEAD, show))
        .open_on("PATCH", SECRET, on(MethodFilter::PATCH, append))
        .open_on("DELETE", SECRET, on(MethodFilter::DELETE, terminate))
}

/// An answer of tus: a status and headers.
type Head = (StatusCode, HeaderMap);

/// Every answer says which version it speaks, errors too.
fn spoken(answer: Result<Head, Refusal>) -> Response {
    let mut response = match answer {
        Ok((status, headers)) => (status, headers).into_response(),
        Err(Refusal { status, error }) => {
            let mut response = ApiError(error).into_response();
            *response.status_mut() = status;
            response
        }
    };
    put(response.headers_mut(), "tus-resumable", VERSION);
    if response.status() == StatusCode::PRECONDITION_FAILED {
        put(response.headers_mut(), "tus-version", VERSION);
    }
    response
}

/// What is wrong, with the status that tus has for it.
struct Refusal {
    status: StatusCode,
    error: Error,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal { status: status(error.kind), error }
    }
}

fn refuse(code: u16, message: impl Into<String>) -> Refusal {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST);
    Refusal { status, error: Error::invalid(message) }
}

fn put(headers: &mut HeaderMap, name: &'static str, value: impl ToString) {
    if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn number(headers: &HeaderMap, name: &str) -> Result<u64, Refusal> {
    let wrong = || refuse(400, format!("{name} must be a whole number of bytes"));
    text(headers, name).and_then(|value| value.parse().ok()).ok_or_else(wrong)
}

fn check_version(headers: &HeaderMap) -> Result<(), Refusal> {
    if text(headers, "tus-resumable") == Some(VERSION) {
        return Ok(());
    }
    Err(refuse(412, format!("Tus-Resumable must be {VERSION}")))
}

async fn options(State(app): State<App>) -> Response {
    let mut headers = HeaderMap::new();
    put(&mut headers, "tus-version", VERSION);
    put(&mut headers, "tus-extension", EXTENSIONS);
    put(&mut headers, "tus-checksum-algorithm", ALGORITHMS);
    put(&mut headers, "tus-max-size", app.config.max_upload);
    (StatusCode::NO_CONTENT, headers).into_response()
}

async fn create(
    State(app): State<App>,
    Owner(scope): Owner,
    Path(collection): Path<String>,
    headers: HeaderMap,
) -> Response {
    let made = async {
        // First of all, so that nobody learns anything about what is not theirs.
        let collection = collection_of(&app, &scope, &collection).await?;
        check_version(&headers)?;
        let length = number(&headers, "upload-length")?;
        if length > app.config.max_upload {
            return Err(refuse(413, "Upload-Length is more than VITASCOPE_MAX_UPLOAD"));
        }
        let names = names_in(text(&headers, "upload-metadata").unwrap_or(""))?;
        let made = tus::create(&app, &scope, &collection, length, names).await?;
        let mut answer = HeaderMap::new();
        put(&mut answer, "location", app.config.url(&format!("/tus/{}", made.secret)));
        describe(&app, &mut answer, &made.secret, made.slot.expires_at);
        Ok((StatusCode::CREATED, answer))
    };
    spoken(made.await)
}

/// Where the file can be read, and named to `/upload`, once it is whole; and until when.
fn describe(app: &App, headers: &mut HeaderMap, secret: &str, expires_at: WallTime) {
    put(headers, "x-upload-url", app.config.url(&format!("/uploads/{secret}")));
    put(headers, "upload-expires", http_date(expires_at));
}

/// The name that the asset is to have and the file's own, of Upload-Metadata: pairs of a key and base64.
fn names_in(metadata: &str) -> Result<(Option<String>, Option<String>), Refusal> {
    let mut names = (None, None);
    for pair in metadata.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        let bytes = STANDARD.decode(value.trim());
        let bytes = bytes.map_err(|_| refuse(400, format!("the value of {key} in Upload-Metadata is not base64")))?;
        let value = String::from_utf8_lossy(&bytes).into_owned();
        match key {
            "name" => names.0 = clean_name(&value),
            "filename" => names.1 = clean_name(&value),
            _ => {}
        }
    }
    Ok(names)
}

async fn show(State(app): State<App>, Path(secret): Path<String>, headers: HeaderMap) -> Response {
    let shown = async {
        check_version(&headers)?;
        let progress = tus::progress(&app, &secret).await?;
        let mut answer = progress_head(&app, &secret, &progress);
        put(&mut answer, "upload-length", progress.length);
        answer.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok((StatusCode::OK, answer))
    };
    spoken(shown.await)
}

fn progress_head(app: &App, secret: &str, progress: &Progress) -> HeaderMap {
    let mut headers = HeaderMap::new();
    put(&mut headers, "upload-offset", progress.offset);
    describe(app, &mut headers, secret, progress.expires_at);
    headers
}

async fn append(State(app): State<App>, Path(secret): Path<String>, request: Request) -> Response {
    spoken(append_piece(&app, &secret, request).await)
}

async fn append_piece(app: &App, secret: &str, request: Request) -> Result<Head, Refusal> {
    let headers = request.headers();
    check_version(headers)?;
    if text(headers, CONTENT_TYPE.as_str()) != Some("application/offset+octet-stream") {
        return Err(refuse(415, "Content-Type must be application/offset+octet-stream"));
    }
    let offset = number(headers, "upload-offset")?;
    let checksum = text(headers, "upload-checksum").map(checksum_of).transpose()?;
    let body = request.into_body().into_data_stream();
    match tus::append(app, secret, offset, checksum, body).await? {
        Appended::To(progress) => Ok((StatusCode::NO_CONTENT, progress_head(app, secret, &progress))),
        Appended::WrongOffset(offset) => Err(refuse(409, format!("Upload-Offset must be {offset}: so much is here"))),
        Appended::Busy => Err(refuse(423, "another request is sending this upload")),
        Appended::WrongChecksum => Err(refuse(460, "the checksum does not match: nothing of this piece was kept")),
        Appended::TooLong => Err(refuse(413, "there is more of it than Upload-Length said")),
    }
}

fn checksum_of(header: &str) -> Result<Checksum, Refusal> {
    let unknown = || refuse(400, format!("Upload-Checksum must be one of {ALGORITHMS}, a space, and base64"));
    let (algorithm, sum) = header.split_once(' ').ok_or_else(unknown)?;
    let sum = STANDARD.decode(sum.trim()).map_err(|_| unknown())?;
    match algorithm {
        "sha1" => Ok(Checksum::Sha1(sum)),
        "sha256" => Ok(Checksum::Sha256(sum)),
        _ => Err(unknown()),
    }
}

async fn terminate(State(app): State<App>, Path(secret): Path<String>, headers: HeaderMap) -> Response {
    let ended = async {
        check_version(&headers)?;
        if !tus::terminate(&app, &secret).await? {
            return Err(refuse(423, "a request is sending this upload"));
        }
        Ok((StatusCode::NO_CONTENT, HeaderMap::new()))
    };
    spoken(ended.await)
}

/// As in RFC 9110: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(at: WallTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = at.0.div_euclid(1_000_000);
    // RFC 3339, whose parts are the same.
    let text = WallTime(seconds * 1_000_000).to_string();
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or("");
    let month = part(5, 7).parse::<usize>().ok().and_then(|n| MONTHS.get(n.wrapping_sub(1))).unwrap_or(&"");
    let day = DAYS[seconds.div_euclid(86_400).rem_euclid(7) as usize];
    format!("{day}, {} {month} {} {} GMT", part(8, 10), part(0, 4), part(11, 19))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_as_http_has_them() {
        assert_eq!(http_date(WallTime(784_111_777_500_000)), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn metadata_names_the_file() {
        let Ok(names) = names_in("filename w7wubXA0,name Zmlyc3Q=,is_private") else { panic!("it can be read") };
        assert_eq!(names, (Some("first".to_owned()), Some("ü.mp4".to_owned())));
        assert!(names_in("filename %%").is_err());
    }
}
