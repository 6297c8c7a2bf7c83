//! A media playlist, as far as saving a stream needs it: its init and its segments, in order, if they make one file.

use vitascope_model::{Error, Result};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Playlist {
    init: String,
    segments: Vec<String>,
}

impl Playlist {
    pub(super) fn read(text: &str) -> Result<Playlist> {
        if !text.trim_start().starts_with("#EXTM3U") {
            return Err(Error::invalid("the URL gives no playlist of a stream"));
        }
        let (mut inits, mut segments, mut is_whole) = (Vec::new(), Vec::new(), false);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(attributes) = line.strip_prefix("#EXT-X-MAP:") {
                let uri = attributes.split_once("URI=\"").and_then(|(_, rest)| rest.split_once('"'));
                inits.extend(uri.map(|(uri, _)| uri.to_owned()));
            } else if line.starts_with("#EXT-X-STREAM-INF") || line.starts_with("#EXT-X-BYTERANGE") {
                return Err(Error::invalid(
                    "the stream has several forms, or lies in ranges of a file: it cannot be saved like this",
                ));
            } else if line == "#EXT-X-ENDLIST" {
                is_whole = true;
            } else if !line.starts_with('#') {
                segments.push(line.to_owned());
            }
        }
        inits.dedup();
        if !is_whole {
            return Err(Error::invalid("the stream still grows: make a clip of a range, and save that"));
        }
        match <[String; 1]>::try_from(inits) {
            Ok([init]) if !segments.is_empty() => Ok(Playlist { init, segments }),
            _ => Err(Error::invalid("the parts of the stream do not make one file")),
        }
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.init).chain(&self.segments).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str =
        "#EXTM3U\n#EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:2.0,\n0.m4s\n#EXTINF:1.5,\n1.m4s\n#EXT-X-ENDLIST\n";

    #[test]
    fn the_files_of_a_stream_in_order() {
        let list = Playlist::read(WHOLE).unwrap();
        assert_eq!(list.files().collect::<Vec<_>>(), ["init.mp4", "0.m4s", "1.m4s"]);
    }

    #[test]
    fn what_makes_no_file_is_said() {
        let said = |text: &str| Playlist::read(text).unwrap_err().message;
        assert!(said(&WHOLE.replace("#EXT-X-ENDLIST", "")).contains("still grows"));
        assert!(said("<html>").contains("no playlist"));
        assert!(said("#EXTM3U\n#EXT-X-ENDLIST").contains("do not make one file"));
        assert!(said("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nx.m3u8").contains("several forms"));
        let two = WHOLE.replace("#EXTINF:1.5", "#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"other.mp4\"\n#EXTINF:1.5");
        assert!(said(&two).contains("do not make one file"));
    }
}
