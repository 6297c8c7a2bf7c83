//! `multipart/form-data` as the endpoints for files want it: a few short fields and one file. Pure: bytes in, bytes out.

use bytes::Bytes;

/// A boundary that no field holds and no 16-bit sound is likely to hold; the file comes last, so a chance hit would only cut it.
const BOUNDARY: &str = "vitascope-7d1f0b6a94c2e853";

#[derive(Default)]
pub(super) struct Form(Vec<u8>);

impl Form {
    pub(super) fn field(mut self, name: &str, value: &str) -> Form {
        let part = format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        self.0.extend_from_slice(part.as_bytes());
        self
    }

    /// The content type, and the body, which ends with the file.
    pub(super) fn file(mut self, name: &str, file_name: &str, kind: &str, content: &[u8]) -> (String, Bytes) {
        let head = format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"{file_name}\"\r\ncontent-type: {kind}\r\n\r\n"
        );
        self.0.extend_from_slice(head.as_bytes());
        self.0.extend_from_slice(content);
        self.0.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        (format!("multipart/form-data; boundary={BOUNDARY}"), self.0.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_a_file_become_a_body() {
        let (kind, body) = Form::default().field("model", "m").file("file", "a.wav", "audio/wav", b"abc");
        assert_eq!(kind, format!("multipart/form-data; boundary={BOUNDARY}"));
        let expected = format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nm\r\n\
             --{BOUNDARY}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\ncontent-type: audio/wav\r\n\r\nabc\r\n\
             --{BOUNDARY}--\r\n"
        );
        assert_eq!(std::str::from_utf8(&body).unwrap(), expected);
    }
}
