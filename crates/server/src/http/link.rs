//! URLs of ours in a client's hand: which stream or which file they lead to. Only what was given out is understood, in every form in which
//! it was given out; whether the caller may have it is asked afterwards.

use url::Url;
use vitascope_model::Result;
use vitascope_model::id::TakeoutId;
use vitascope_model::stream::Stream;

use crate::app::{App, expiry, stream};

/// Where a URL of ours leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// By its id, or by a name that expires.
    Stream(String),
    /// A file to be taken away, and the secret that opens it.
    Takeout(TakeoutId, String),
}

/// compat: besides our own URLs, those of a player elsewhere that the SDKs' `play()` makes of them: `…/player?url=<stream_url>`.
pub(super) fn read(app: &App, link: &str) -> Option<Link> {
    read_of(&app.config.url(""), link.trim())
}

fn read_of(ours: &str, link: &str) -> Option<Link> {
    let parsed = Url::parse(link).ok()?;
    let of_query = |name: &str| parsed.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    if let Some(inner) = of_query("url").filter(|_| parsed.path().ends_with("/player")) {
        return read_ours(ours, &Url::parse(&inner).ok()?);
    }
    read_ours(ours, &parsed)
}

fn read_ours(ours: &str, link: &Url) -> Option<Link> {
    let base = Url::parse(ours).ok()?;
    if (link.scheme(), link.host(), link.port_or_known_default())
        != (base.scheme(), base.host(), base.port_or_known_default())
    {
        return None;
    }
    let path = link.path().strip_prefix(base.path().trim_end_matches('/'))?;
    let mut words = path.split('/').filter(|w| !w.is_empty());
    match (words.next()?, words.next(), words.next()) {
        ("streams", Some(id), _) => Some(Link::Stream(id.to_owned())),
        ("watch" | "embed", None, _) => {
            let v = link.query_pairs().find(|(key, _)| key == "v").map(|(_, value)| value.into_owned())?;
            Some(Link::Stream(stream::id_in_slug(&v).to_owned()))
        }
        ("downloads", Some(id), Some(secret)) => Some(Link::Takeout(id.parse().ok()?, secret.to_owned())),
        _ => None,
    }
}

/// The stream of a link, if there is one.
pub(super) async fn stream_of(app: &App, name: &str) -> Result<Option<Stream>> {
    app.store.find_stream(&expiry::resolve(app, name)?.stream_id).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_names_a_stream_of_ours_or_nothing() {
        for (link, id) in [
            ("https://v.example/base/streams/abc/index.m3u8", Some("abc")),
            ("https://v.example:443/base/streams/abc/0-1.m3u8?x=1", Some("abc")),
            ("https://v.example/base/watch?v=some-words-abc", Some("abc")),
            ("https://v.example/base/embed?v=abc&t=5", Some("abc")),
            (
                "https://console.videodb.io/player?url=https%3A%2F%2Fv.example%2Fbase%2Fstreams%2Fabc%2Findex.m3u8",
                Some("abc"),
            ),
            ("https://console.videodb.io/player?url=https://v.example/base/streams/abc/index.m3u8", Some("abc")),
            ("https://elsewhere.example/base/streams/abc/index.m3u8", None),
            ("http://v.example/base/streams/abc/index.m3u8", None),
            ("https://v.example:8443/base/streams/abc/index.m3u8", None),
            ("https://v.example/streams/abc/index.m3u8", None),
            ("https://v.example/base/streams", None),
            ("https://v.example/base/watch", None),
            ("https://v.example/base/downloads/abc", None),
            ("file:///etc/passwd", None),
            ("abc", None),
            ("", None),
        ] {
            let wanted = id.map(|id: &str| Link::Stream(id.to_owned()));
            assert_eq!(read_of("https://v.example/base", link), wanted, "{link}");
        }
    }

    #[test]
    fn a_link_names_a_file_with_its_secret() {
        let id = TakeoutId::mint(vitascope_model::WallTime(0), [0; 10]);
        let link = format!("https://v.example/downloads/{id}/5ec");
        assert_eq!(read_of("https://v.example", &link), Some(Link::Takeout(id, "5ec".to_owned())));
        assert_eq!(read_of("https://v.example", "https://v.example/downloads/nonsense/5ec"), None);
    }
}
