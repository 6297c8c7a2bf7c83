//! How bytes that are played go out: CORS, caching, validators and single byte ranges, the same for every playlist, init and segment.
//! Pure: it sees the request's headers and the finished body. What the body is, and who may have it, is not decided here.

use std::io::Write as _;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use crate::random;

pub(super) const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// What the request says about the form of its answer.
pub(super) struct Wanted {
    method: Method,
    headers: HeaderMap,
}

impl Wanted {
    pub(super) fn new(method: Method, headers: HeaderMap) -> Wanted {
        Wanted { method, headers }
    }

    fn text(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The answer with this body: whole, a range of it, or the word that it has not changed. What may change carries a validator.
    pub(super) fn answer(&self, kind: &'static str, cache: &'static str, body: Bytes) -> Response {
        let tag = (cache != FOR_EVER).then(|| format!("\"{}\"", random::hex(&Sha256::digest(&body)[..12])));
        let (mut response, range) = self.frame(kind, cache, tag.as_deref(), body.len() as u64);
        *response.body_mut() = Body::from(body.slice(range.start as usize..range.end as usize));
        response
    }

    /// The answer without its body, of `size` bytes in all, and which of them belong to it.
    pub(super) fn frame(
        &self,
        kind: &'static str,
        cache: &'static str,
        tag: Option<&str>,
        size: u64,
    ) -> (Response, std::ops::Range<u64>) {
        let (mut response, range) = match self.matches(tag) {
            true => (StatusCode::NOT_MODIFIED.into_response(), 0..0),
            false => self.whole_or_range(kind, tag, size),
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
        if let Some(tag) = tag.and_then(|tag| HeaderValue::from_str(tag).ok()) {
            headers.insert(header::ETAG, tag);
        }
        (response, range)
    }

    pub(super) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// The same of a text, packed where the client can unpack it. Each form has a validator and ranges of its own.
    pub(super) fn answer_text(&self, kind: &'static str, cache: &'static str, body: Bytes) -> Response {
        let packed = if self.takes_gzip() { gzip(&body).filter(|packed| packed.len() < body.len()) } else { None };
        let is_packed = packed.is_some();
        let mut response = self.answer(kind, cache, packed.unwrap_or(body));
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if is_packed && response.status() != StatusCode::NOT_MODIFIED {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }

    /// Whether the client says that it unpacks gzip, and does not say with `q=0` that it does not.
    fn takes_gzip(&self) -> bool {
        let weight_of = |wanted: &str| {
            let said = self.headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
            said.flat_map(|line| line.split(',')).find_map(|one| {
                let (name, more) = one.split_once(';').unwrap_or((one, ""));
                let weight = more.trim().strip_prefix("q=").map_or(Ok(1.0), |q| q.trim().parse::<f32>());
                name.trim().eq_ignore_ascii_case(wanted).then_some(weight.unwrap_or(0.0))
            })
        };
        weight_of("gzip").or_else(|| weight_of("*")).is_some_and(|weight| weight > 0.0)
    }

    /// How many bytes of its body an answer sends.
    pub(super) fn sends(&self, answer: &Response) -> u64 {
        if self.is_head() { 0 } else { answer.body().size_hint().lower() }
    }

    fn matches(&self, tag: Option<&str>) -> bool {
        let (Some(tag), Some(known)) = (tag, self.text(header::IF_NONE_MATCH)) else { return false };
        known.split(',').map(str::trim).any(|k| k == "*" || k.strip_prefix("W/").unwrap_or(k) == tag)
    }

    fn whole_or_range(&self, kind: &'static str, tag: Option<&str>, size: u64) -> (Response, std::ops::Range<u64>) {
        // A range of another version than the client has would be torn: it gets the whole. HEAD knows no ranges.
        let is_same = self.headers.get(header::IF_RANGE).is_none_or(|v| tag.is_some_and(|tag| v == tag));
        let asked = self.text(header::RANGE).filter(|_| self.method == Method::GET && is_same);
        let (status, part, range) = match asked.map_or(Range::Whole, |text| range_of(text, size)) {
            Range::Whole => (StatusCode::OK, 0..size, None),
            Range::Part(from, to) => {
                (StatusCode::PARTIAL_CONTENT, from..to, Some(format!("bytes {from}-{}/{size}", to - 1)))
            }
            Range::Outside => (StatusCode::RANGE_NOT_SATISFIABLE, 0..0, Some(format!("bytes */{size}"))),
        };
        let mut response = (status, [(header::CONTENT_TYPE, kind), (header::ACCEPT_RANGES, "bytes")]).into_response();
        if let Some(range) = range.and_then(|text| HeaderValue::from_str(&text).ok()) {
            response.headers_mut().insert(header::CONTENT_RANGE, range);
        }
        (response, part)
    }
}

/// Fast rather than small: a playlist is all repetition.
fn gzip(body: &[u8]) -> Option<Bytes> {
    let mut packer = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    packer.write_all(body).ok()?;
    packer.finish().ok().map(Bytes::from)
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    Whole,
    /// From the first byte to before the second.
    Part(u64, u64),
    Outside,
}

/// One range of bytes. Several, other units and what cannot be read are passed over, as RFC 9110 allows: the whole is a right answer.
fn range_of(text: &str, size: u64) -> Range {
    let Some((from, to)) = text.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-')) else {
        return Range::Whole;
    };
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(from) || !is_number(to) || (from.is_empty() && to.is_empty()) {
        return Range::Whole;
    }
    // A number too large for the type is beyond every end.
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    if from.is_empty() {
        let last = number(to).min(size);
        return if last == 0 { Range::Outside } else { Range::Part(size - last, size) };
    }
    let end = if to.is_empty() { size } else { number(to).saturating_add(1).min(size) };
    match number(from) {
        from if !to.is_empty() && number(to) < from => Range::Whole,
        from if from >= size => Range::Outside,
        from => Range::Part(from, end),
    }
}

/// Any page may play, and read why it may not: there are no cookies, who has the URL has the right.
pub(super) fn open_to_all(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    let exposed = "content-length, content-range, accept-ranges, etag, x-request-id";
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(exposed));
    response
}

/// The question that a browser asks before a request with a range or a validator.
pub(super) async fn preflight() -> Response {
    let allowed = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "range, if-range, if-none-match"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    open_to_all((StatusCode::NO_CONTENT, allowed).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_standard() {
        for (text, wanted) in [
            ("bytes=0-0", Range::Part(0, 1)),
            ("bytes=2-", Range::Part(2, 10)),
            ("bytes=8-99999999999999999999999", Range::Part(8, 10)),
            ("bytes=-3", Range::Part(7, 10)),
            ("bytes=-99", Range::Part(0, 10)),
            ("bytes=-0", Range::Outside),
            ("bytes=10-", Range::Outside),
            ("bytes=5-4", Range::Whole),
            ("bytes=0-1,3-4", Range::Whole),
            ("bytes=-", Range::Whole),
            ("bytes=+1-2", Range::Whole),
            ("pages=1-2", Range::Whole),
        ] {
            assert_eq!(range_of(text, 10), wanted, "{text}");
        }
        assert_eq!(range_of("bytes=-1", 0), Range::Outside);
    }

    fn wanted(method: Method, name: HeaderName, value: &str) -> Wanted {
        Wanted::new(method, HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())]))
    }

    #[test]
    fn what_has_not_changed_is_not_sent_again_and_a_changed_body_is() {
        let body = Bytes::from_static(b"#EXTM3U");
        let first = wanted(Method::GET, header::ACCEPT, "*/*").answer("text/plain", "no-cache", body.clone());
        let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        let again = wanted(Method::GET, header::IF_NONE_MATCH, &format!("\"x\", W/{tag}"));
        assert_eq!(again.answer("text/plain", "no-cache", body).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(again.answer("text/plain", "no-cache", Bytes::from_static(b"other")).status(), StatusCode::OK);
    }

    #[test]
    fn a_text_is_packed_for_who_says_so_and_each_form_has_its_validator() {
        let body = || Bytes::from("#EXTINF:2.000000,\n".repeat(40));
        let ask = |name, value| wanted(Method::GET, name, value).answer_text("text/plain", "no-cache", body());
        let (plain, packed) = (ask(header::ACCEPT, "*/*"), ask(header::ACCEPT_ENCODING, "br, gzip;q=0.5"));
        assert_eq!(plain.headers().get(header::CONTENT_ENCODING), None);
        assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
        assert!(
            plain.headers()[header::VARY] == "accept-encoding" && packed.headers()[header::VARY] == "accept-encoding"
        );
        assert_ne!(plain.headers()[header::ETAG], packed.headers()[header::ETAG]);
        assert!(gzip(&body()).unwrap().len() < 80);
        for refused in ["gzip;q=0", "identity", "*;q=0", "gzip;q=0, *", "gzip;q=x", "br"] {
            assert_eq!(
                ask(header::ACCEPT_ENCODING, refused).headers().get(header::CONTENT_ENCODING),
                None,
                "{refused}"
            );
        }
        assert!(ask(header::ACCEPT_ENCODING, "*").headers().contains_key(header::CONTENT_ENCODING));
    }

    #[test]
    fn a_range_is_for_get_alone() {
        let body = || Bytes::from_static(b"0123456789");
        let part = wanted(Method::GET, header::RANGE, "bytes=2-4").answer("video/mp4", FOR_EVER, body());
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(part.headers()[header::CONTENT_RANGE], "bytes 2-4/10");
        let head = wanted(Method::HEAD, header::RANGE, "bytes=2-4").answer("video/mp4", FOR_EVER, body());
        assert_eq!(head.status(), StatusCode::OK);
        let asked = wanted(Method::GET, header::RANGE, "bytes=2-4");
        assert_eq!((asked.sends(&part), wanted(Method::HEAD, header::ACCEPT, "*/*").sends(&head)), (3, 0));
        let beyond = wanted(Method::GET, header::RANGE, "bytes=10-").answer("video/mp4", FOR_EVER, body());
        assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(beyond.headers()[header::CONTENT_RANGE], "bytes */10");
    }
}
