//! Files of any size on their way out: read from their object piece by piece, with ranges, validators and a name to be saved under.
//! Who may have them is not decided here.

use std::ops::Range;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, X_CONTENT_TYPE_OPTIONS};
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use vitascope_model::Result;
use vitascope_model::id::UserId;
use vitascope_model::usage::Meter;

use super::deliver::{Wanted, open_to_all};
use crate::app::App;
use crate::app::usage::Tally;

/// Read at once.
const BLOCK: u64 = 512 << 10;

/// An object as a file.
pub(super) struct File<'a> {
    pub(super) owner: &'a UserId,
    pub(super) object: &'a str,
    pub(super) bytes: u64,
    pub(super) kind: &'static str,
    pub(super) cache: &'static str,
    /// What it is saved as.
    pub(super) name: &'a str,
}

pub(super) fn send(app: &App, wanted: &Wanted, file: &File<'_>) -> Response {
    // An object never changes: its key says what is in it.
    let tag = format!("\"{}\"", &crate::random::digest(file.object)[..24]);
    let (mut response, range) = wanted.frame(file.kind, file.cache, Some(&tag), file.bytes);
    let headers = response.headers_mut();
    if let Ok(named) = HeaderValue::from_str(&disposition(file.name)) {
        headers.insert(CONTENT_DISPOSITION, named);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !range.is_empty() {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
        let tally = Tally::of(app, file.owner);
        if !wanted.is_head() {
            *response.body_mut() = Body::from_stream(blocks(app.clone(), file.object.to_owned(), range, tally));
        }
    }
    open_to_all(response)
}

fn blocks(app: App, object: String, range: Range<u64>, tally: Tally) -> impl Stream<Item = Result<Bytes>> {
    futures_util::stream::unfold(range.start, move |at| {
        let (app, object, tally) = (app.clone(), object.clone(), tally.clone());
        async move {
            let count = BLOCK.min(range.end - at);
            if count == 0 {
                return None;
            }
            let read = app.objects.range(&object, at, count).await;
            if read.is_ok() {
                tally.add(Meter::BytesOut, count);
            }
            // After an error there is nothing more to say.
            let next = if read.is_ok() { at + count } else { range.end };
            Some((read, next))
        }
    })
}

/// As RFC 6266 has it: a name of plain letters for old clients, and the whole of it for all others.
fn disposition(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() && !"\"\\%".contains(c) || c == ' ' { c } else { '_' };
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~".contains(b);
    let mut encoded = String::new();
    for b in name.bytes() {
        if is_plain(&b) {
            encoded.push(char::from(b));
        } else {
            encoded.push_str(&format!("%{b:02X}"));
        }
    }
    format!("attachment; filename=\"{}\"; filename*=UTF-8''{encoded}", name.chars().map(plain).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_break_out_of_its_header() {
        assert_eq!(disposition("a b.mp4"), "attachment; filename=\"a b.mp4\"; filename*=UTF-8''a%20b.mp4");
        assert_eq!(
            disposition("ü\"\r\n;.mp4"),
            "attachment; filename=\"____;.mp4\"; filename*=UTF-8''%C3%BC%22%0D%0A%3B.mp4"
        );
        assert!(HeaderValue::from_str(&disposition("漢字\0\u{7f}")).is_ok());
    }
}
