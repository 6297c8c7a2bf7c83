//! The boxes of an MP4 file as they lie in memory, and the big-endian fields in them. What a box claims is checked against the bytes
//! that are there before anything is made of it; what the fields mean is said elsewhere.

use vitascope_model::{Error, Result};

/// Four letters.
pub(super) type Kind = [u8; 4];

/// A box: its kind and what is in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bx<'a> {
    pub(super) kind: Kind,
    pub(super) body: &'a [u8],
}

/// A file that is not as it says.
pub(super) fn broken(what: impl std::fmt::Display) -> Error {
    Error::invalid(format!("a broken MP4 file: {what}"))
}

/// How a box begins: its kind, the bytes of its header, and its size with the header; None: it goes on to the end.
pub(super) fn header(bytes: &[u8]) -> Result<Option<(Kind, u64, Option<u64>)>> {
    let Some((size, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let Some((kind, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let (head, size) = match u32::from_be_bytes(*size) {
        0 => (8, None),
        1 => {
            let Some(size) = rest.first_chunk::<8>() else { return Ok(None) };
            (16, Some(u64::from_be_bytes(*size)))
        }
        size => (8, Some(u64::from(size))),
    };
    if size.is_some_and(|size| size < head) {
        return Err(broken(format!("a box {} that is smaller than its own header", name(*kind))));
    }
    Ok(Some((*kind, head, size)))
}

/// The boxes in a box, one after the other. Fewer bytes than a header has are no box: QuickTime ends some lists so.
pub(super) fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = Result<Bx<'_>>> {
    std::iter::from_fn(move || {
        let found = next_box(bytes).transpose()?;
        bytes = found.as_ref().map_or(&[], |(_, rest)| rest);
        Some(found.map(|(found, _)| found))
    })
}

fn next_box(bytes: &[u8]) -> Result<Option<(Bx<'_>, &[u8])>> {
    let Some((kind, head, size)) = header(bytes)? else { return Ok(None) };
    let size = size.unwrap_or(bytes.len() as u64);
    let whole = usize::try_from(size).ok().and_then(|size| bytes.split_at_checked(size));
    let (whole, rest) = whole.ok_or_else(|| broken(format!("a box {} larger than what it lies in", name(kind))))?;
    Ok(Some((Bx { kind, body: &whole[head as usize..] }, rest)))
}

/// The first box of this kind in a box.
pub(super) fn find<'a>(bytes: &'a [u8], kind: &Kind) -> Result<Option<&'a [u8]>> {
    for found in boxes(bytes) {
        let found = found?;
        if found.kind == *kind {
            return Ok(Some(found.body));
        }
    }
    Ok(None)
}

/// The same where a file cannot do without.
pub(super) fn need<'a>(bytes: &'a [u8], kind: &Kind) -> Result<&'a [u8]> {
    find(bytes, kind)?.ok_or_else(|| broken(format!("no box {} where one must be", name(*kind))))
}

/// A kind as text.
pub(super) fn name(kind: Kind) -> String {
    kind.escape_ascii().to_string()
}

/// Fields, read one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    /// Whose fields they are, for the error.
    of: &'static str,
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8], of: &'static str) -> Fields<'a> {
        Fields { bytes, of }
    }

    /// The fields of a box that begins with its version; its flags are passed over.
    pub(super) fn versioned(bytes: &'a [u8], of: &'static str) -> Result<(u8, Fields<'a>)> {
        let (version, _, fields) = Fields::flagged(bytes, of)?;
        Ok((version, fields))
    }

    /// Version, flags, and what follows.
    pub(super) fn flagged(bytes: &'a [u8], of: &'static str) -> Result<(u8, u32, Fields<'a>)> {
        let mut fields = Fields::new(bytes, of);
        let word = fields.u32()?;
        Ok(((word >> 24) as u8, word & 0x00ff_ffff, fields))
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or_else(|| broken(format!("a box {} that ends in the middle of a field", self.of)))?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(super) fn skip(&mut self, count: usize) -> Result<()> {
        self.take(count).map(|_| ())
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        Ok(self.take(2)?.iter().fold(0, |n, b| n << 8 | u16::from(*b)))
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(self.take(4)?.iter().fold(0, |n, b| n << 8 | u32::from(*b)))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(self.take(8)?.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    /// A time or length: 64 bits in version 1 of a box, else 32.
    pub(super) fn long(&mut self, version: u8) -> Result<u64> {
        if version == 1 { self.u64() } else { self.u32().map(u64::from) }
    }

    /// `count` rows of `N` words each.
    pub(super) fn rows<const N: usize>(&mut self, count: u32) -> Result<Rows<'a, N>> {
        let bytes = (count as usize).checked_mul(N * 4).ok_or_else(|| broken("a table without end"))?;
        self.take(bytes).map(|bytes| Rows { bytes })
    }

    /// What is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.bytes
    }
}

/// A table of words that is read where it lies.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rows<'a, const N: usize> {
    bytes: &'a [u8],
}

impl<'a, const N: usize> Rows<'a, N> {
    pub(super) fn len(self) -> usize {
        self.bytes.len() / (N * 4)
    }

    pub(super) fn iter(self) -> impl Iterator<Item = [u32; N]> + 'a {
        self.bytes.chunks_exact(N * 4).map(|row| {
            std::array::from_fn(|n| u32::from_be_bytes([row[n * 4], row[n * 4 + 1], row[n * 4 + 2], row[n * 4 + 3]]))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(bytes: &[u8]) -> Result<Vec<(String, usize)>> {
        boxes(bytes).map(|b| b.map(|b| (name(b.kind), b.body.len()))).collect()
    }

    #[test]
    fn boxes_have_short_and_long_sizes_and_the_last_may_have_none() {
        let mut bytes = b"\0\0\0\x0aabcd12\0\0\0\x01wide\0\0\0\0\0\0\0\x11x".to_vec();
        assert_eq!(kinds(&bytes).unwrap(), [("abcd".to_owned(), 2), ("wide".to_owned(), 1)]);
        bytes.extend(b"\0\0\0\0last123");
        assert_eq!(kinds(&bytes).unwrap()[2], ("last".to_owned(), 3));
        assert_eq!(kinds(b"\0\0\0\x08free\0\0\0\0").unwrap(), [("free".to_owned(), 0)], "QuickTime's end of a list");
    }

    #[test]
    fn sizes_that_cannot_be_are_told() {
        for bytes in
            [&b"\0\0\0\x07abcd"[..], b"\0\0\0\x0babcd12", b"\xff\xff\xff\xffabcd", b"\0\0\0\x01abcd\0\0\0\0\0\0\0\x0f"]
        {
            assert!(kinds(bytes).is_err(), "{bytes:?}");
        }
        assert!(Fields::new(&[0; 11], "abcd").rows::<3>(1).is_err());
        assert!(Fields::new(&[0; 11], "abcd").rows::<4>(u32::MAX).is_err());
    }
}
