//! The `Transport` header of SETUP. Read here and not by the library, whose parser panics on a lone quote.

use vitascope_model::{Error, ErrorKind, Result};

/// Longer headers hold nothing that a publisher needs to say.
const MAX_LENGTH: usize = 1024;

/// The first offer of RTP over this connection: the interleaved channel it wants, if it names one.
pub(super) fn interleaved(header: &str) -> Result<Option<u8>> {
    if header.len() > MAX_LENGTH {
        return Err(Error::invalid("the Transport header is too long"));
    }
    for offer in header.split(',') {
        let mut parts = offer.split(';').map(str::trim);
        if !parts.next().is_some_and(|p| p.eq_ignore_ascii_case("RTP/AVP/TCP")) {
            continue;
        }
        let channels = parts.find_map(|p| p.strip_prefix("interleaved="));
        return channels.map(first_channel).transpose();
    }
    Err(Error::new(ErrorKind::Unimplemented, "only RTP/AVP/TCP is taken"))
}

fn first_channel(range: &str) -> Result<u8> {
    let first = range.split('-').next().unwrap_or_default();
    let channel = first.parse::<u8>().ok().filter(|c| c.is_multiple_of(2));
    channel.ok_or_else(|| Error::invalid("interleaved channels begin at an even number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_are_read_in_order_and_junk_is_refused() {
        assert_eq!(interleaved("RTP/AVP/TCP;unicast;interleaved=2-3;mode=record").unwrap(), Some(2));
        assert_eq!(interleaved("RTP/AVP;unicast;client_port=1-2,RTP/AVP/TCP;mode=\"RECORD\"").unwrap(), None);
        assert_eq!(interleaved("RTP/AVP/UDP;unicast").unwrap_err().kind, ErrorKind::Unimplemented);
        for junk in ["RTP/AVP/TCP;interleaved=x", "RTP/AVP/TCP;interleaved=1-2", "RTP/AVP/TCP;interleaved=256-257"] {
            assert_eq!(interleaved(junk).unwrap_err().kind, ErrorKind::InvalidArgument, "{junk}");
        }
        assert_eq!(interleaved("RTP/AVP/TCP;mode=\"").unwrap(), None, "a lone quote");
        assert_eq!(interleaved(&"RTP/AVP/TCP;".repeat(100)).unwrap_err().kind, ErrorKind::InvalidArgument);
    }

    #[test]
    fn garbage_never_panics() {
        const PIECES: [&str; 12] =
            ["RTP/AVP/TCP", "RTP/AVP", ";", ",", "\"", "=", "interleaved=", "-", "7", "254-255", " ", "é"];
        let mut state = 3_u32;
        for _ in 0..20_000 {
            let mut header = String::new();
            for _ in 0..8 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                header.push_str(PIECES[(state >> 16) as usize % PIECES.len()]);
            }
            if let Ok(Some(channel)) = interleaved(&header) {
                assert!(channel.is_multiple_of(2), "{header}");
            }
        }
    }
}
