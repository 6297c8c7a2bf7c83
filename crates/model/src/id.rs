//! Typed ids: one table of prefixes, one way to mint them (UUIDv7 from a handed-in clock and handed-in randomness), one way to read them.
//! An id is opaque to clients; here its prefix says what it names, so that a stream's id is never taken for a session's.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::time::WallTime;

/// Longer than any id we mint; ids of other origins (older servers, tests) may look different but not be unbounded.
const MAX_LENGTH: usize = 80;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal, $noun:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            pub const PREFIX: &'static str = $prefix;
            /// What it names, for messages.
            pub const NOUN: &'static str = $noun;

            /// A new id, sortable by `now` if it has a prefix.
            pub fn mint(now: WallTime, random: [u8; 10]) -> Self {
                $name(mint($prefix, now, random))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// When it was minted, to the millisecond, if it is one of ours.
            pub fn minted_at(&self) -> Option<WallTime> {
                minted_at(self.0.strip_prefix($prefix)?)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            /// What cannot be an id of ours names nothing: not found, not malformed.
            fn from_str(text: &str) -> Result<Self, Error> {
                let fits = text.starts_with($prefix) && text.len() <= MAX_LENGTH
                    && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
                fits.then(|| $name(text.to_owned())).ok_or_else(|| {
                    let shown: String = text.chars().filter(|c| !c.is_control()).take(MAX_LENGTH).collect();
                    Error::not_found(format_args!("{} {shown}", $noun))
                })
            }
        }
    )*};
}

ids! {
    UserId = "u-", "user";
    ApiKeyId = "key-", "API key";
    CollectionId = "c-", "collection";
    CaptureSessionId = "cap-", "capture session";
    RtStreamId = "rts-", "rtstream";
    TrackId = "trk-", "track";
    VideoId = "m-", "video";
    AudioId = "a-", "audio";
    ImageId = "img-", "image";
    OriginalId = "org-", "original";
    TakeoutId = "dl-", "download";
    JobId = "job-", "job";
    MediaIndexId = "idx_", "index";
    EventId = "evt-", "event";
    /// Of a WebSocket connection; account-scoped.
    ConnectionId = "ws-", "connection";
    /// Contract: 16 hex digits and nothing else.
    LiveIndexId = "", "index";
}

fn mint(prefix: &str, now: WallTime, random: [u8; 10]) -> String {
    if prefix.is_empty() {
        random[..8].iter().map(|b| format!("{b:02x}")).collect()
    } else {
        format!("{prefix}{}", uuid_v7(now, random))
    }
}

fn uuid_v7(now: WallTime, random: [u8; 10]) -> uuid::Uuid {
    uuid::Builder::from_unix_timestamp_millis((now.0 / 1000).max(0) as u64, &random).into_uuid()
}

fn minted_at(uuid: &str) -> Option<WallTime> {
    let (seconds, nanos) = uuid::Uuid::try_parse(uuid).ok()?.get_timestamp()?.to_unix();
    Some(WallTime(i64::try_from(seconds).ok()? * crate::time::SECOND + i64::from(nanos / 1000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn ids_sort_by_time_and_read_back() {
        let early = RtStreamId::mint(WallTime(1_000_000), [7; 10]);
        let late = RtStreamId::mint(WallTime(2_000_000), [0; 10]);
        assert!(early < late);
        assert_eq!(early.as_str().parse::<RtStreamId>().unwrap(), early);
        assert_eq!(late.minted_at(), Some(WallTime(2_000_000)));
        let bare = LiveIndexId::mint(WallTime(2_000_000), [0xa7; 10]);
        assert_eq!((bare.as_str(), bare.minted_at()), ("a7a7a7a7a7a7a7a7", None));
        assert_eq!("rts-2".parse::<RtStreamId>().unwrap().minted_at(), None);
    }

    #[test]
    fn what_is_no_id_of_this_kind_is_not_found() {
        for text in ["", "cap-", "rts-../../etc", "rts-\u{7}", &format!("rts-{}", "x".repeat(100)), "m-1"] {
            let parsed = text.parse::<RtStreamId>();
            assert_eq!(parsed.unwrap_err().kind, ErrorKind::NotFound, "{text:?}");
        }
    }
}
