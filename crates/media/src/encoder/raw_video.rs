//! Raw pictures with their times as a Matroska stream, the one form in which ffmpeg takes both from a pipe: a track of uncompressed
//! I420, one cluster a picture, times in milliseconds. Nothing else of Matroska is here.

/// Everything before the first picture.
pub(super) fn header(width: u32, height: u32, fps: u32) -> Vec<u8> {
    let nanos_per_frame = 1_000_000_000 / u64::from(fps.max(1));
    let picture = [
        uint(&[0xb0], width.into()),
        uint(&[0xba], height.into()),
        element(&[0x2e, 0xb5, 0x24], b"I420"), // ColourSpace
    ];
    let track = [
        uint(&[0xd7], 1),
        uint(&[0x73, 0xc5], 1),
        uint(&[0x83], 1), // video
        element(&[0x86], b"V_UNCOMPRESSED"),
        uint(&[0x23, 0xe3, 0x83], nanos_per_frame), // tells the rate control what to expect
        element(&[0xe0], &picture.concat()),
    ];
    let entry = element(&[0xae], &track.concat());
    [
        element(&[0x1a, 0x45, 0xdf, 0xa3], &element(&[0x42, 0x82], b"matroska")),
        vec![0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], // Segment without an end
        element(&[0x15, 0x49, 0xa9, 0x66], &uint(&[0x2a, 0xd7, 0xb1], 1_000_000)),    // times in milliseconds
        element(&[0x16, 0x54, 0xae, 0x6b], &entry),
    ]
    .concat()
}

/// What comes before the `length` bytes of a picture shown from `millis`.
pub(super) fn before_picture(millis: u32, length: usize) -> Vec<u8> {
    let time = uint(&[0xe7], millis.into());
    let block = [&[0xa3][..], &size(length + 4), &[0x81, 0, 0, 0x80]].concat();
    [&[0x1f, 0x43, 0xb6, 0x75][..], &size(time.len() + block.len() + length), &time, &block].concat()
}

fn element(id: &[u8], body: &[u8]) -> Vec<u8> {
    [id, &size(body.len()), body].concat()
}

fn uint(id: &[u8], value: u64) -> Vec<u8> {
    element(id, &value.to_be_bytes())
}

/// A size in its eight-byte form, good for every length.
fn size(length: usize) -> [u8; 8] {
    (length as u64 | 1 << 56).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_cover_what_follows() {
        let before = before_picture(66, 6);
        let cluster = u64::from_be_bytes(before[4..12].try_into().unwrap()) & !(1 << 56);
        assert_eq!(cluster as usize, before.len() - 12 + 6);
        assert!(header(4, 2, 15).ends_with(b"I420"));
    }
}
