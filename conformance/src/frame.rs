//! Frames as a client sends them, right or wrong, and as a server must send them (RFC 6455, section 5.2).

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

/// The longest payload of a control frame (section 5.5).
pub(crate) const MAX_CONTROL_LEN: usize = 125;

/// A frame, of any opcode.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Whether it is the last of its message.
    pub fin: bool,
    /// RSV1 (4), RSV2 (2) and RSV3 (1).
    pub rsv: u8,
    /// What it is for.
    pub opcode: u8,
    /// Its application data, unmasked.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame with FIN and no reserved bit.
    pub fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
        Frame { fin: true, rsv: 0, opcode, payload: payload.as_ref().to_vec() }
    }

    /// A whole message of text.
    pub fn text(text: &str) -> Frame {
        Frame::new(TEXT, text)
    }

    /// A Close with a status code and a reason.
    pub fn close(code: u16, reason: &str) -> Frame {
        Frame::new(CLOSE, [&code.to_be_bytes(), reason.as_bytes()].concat())
    }

    /// The same, but not the last of its message.
    pub fn more(self) -> Frame {
        Frame { fin: false, ..self }
    }

    /// The same, with reserved bits.
    pub fn reserved(self, rsv: u8) -> Frame {
        Frame { rsv, ..self }
    }

    /// The bytes a client sends: with a masking key, another one for every frame (section 5.3).
    pub fn masked(&self) -> Vec<u8> {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let key = COUNT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b1).to_be_bytes();
        let mut octets = self.header(self.payload.len() as u64, 0x80);
        octets.extend_from_slice(&key);
        octets.extend(self.payload.iter().zip(key.iter().cycle()).map(|(octet, mask)| octet ^ mask));
        octets
    }

    /// The bytes a client must never send: without a mask.
    pub fn unmasked(&self) -> Vec<u8> {
        [self.header(self.payload.len() as u64, 0), self.payload.clone()].concat()
    }

    /// The header and key of a frame like this one that declares `len` bytes, whatever will follow. The key is
    /// all zeros, so that what follows need not be masked.
    pub fn declaring(&self, len: u64) -> Vec<u8> {
        [self.header(len, 0x80), vec![0; 4]].concat()
    }

    fn header(&self, len: u64, masked: u8) -> Vec<u8> {
        let first = if self.fin { 0x80 } else { 0 } | self.rsv << 4 | self.opcode;
        match len {
            0..=125 => vec![first, masked | len as u8],
            126..=0xffff => [&[first, masked | 126][..], &(len as u16).to_be_bytes()].concat(),
            _ => [&[first, masked | 127][..], &len.to_be_bytes()].concat(),
        }
    }

    /// Takes a server's frame from the front of `octets`, if it is all there, and says how many bytes it took.
    ///
    /// # Errors
    /// What a server must not do: mask, set a reserved bit, use a longer length than needed, or break the rules
    /// of control frames.
    pub fn take(octets: &[u8]) -> Result<Option<(Frame, usize)>, String> {
        let &[first, second, ..] = octets else { return Ok(None) };
        if second & 0x80 != 0 {
            return Err("a masked frame from a server (section 5.1)".into());
        }
        let (len, at, shortest) = match (second, octets) {
            (126, &[_, _, a, b, ..]) => (u64::from(u16::from_be_bytes([a, b])), 4, 126),
            (127, &[_, _, a, b, c, d, e, f, g, h, ..]) => {
                (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 10, 0x1_0000)
            }
            (126 | 127, _) => return Ok(None),
            (len, _) => (u64::from(len), 2, 0),
        };
        let mut frame =
            Frame { fin: first & 0x80 != 0, rsv: first >> 4 & 7, opcode: first & 0xf, payload: vec![] };
        if frame.rsv != 0 {
            return Err("a reserved bit, though no extension was negotiated (section 5.2)".into());
        }
        if !matches!(frame.opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG) {
            return Err(format!("the reserved opcode {:#x} (section 5.2)", frame.opcode));
        }
        if frame.opcode >= CLOSE && (!frame.fin || len > MAX_CONTROL_LEN as u64) {
            return Err("a fragmented control frame, or one over 125 octets (section 5.5)".into());
        }
        if len < shortest {
            return Err(format!("a length of {len} in more octets than it needs (section 5.2)"));
        }
        let Some(payload) = octets[at..].get(..len as usize) else { return Ok(None) };
        frame.payload.extend_from_slice(payload);
        Ok(Some((frame, at + payload.len())))
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.opcode {
            CONTINUATION => write!(f, "Continuation")?,
            TEXT => write!(f, "Text")?,
            BINARY => write!(f, "Binary")?,
            CLOSE => write!(f, "Close")?,
            PING => write!(f, "Ping")?,
            PONG => write!(f, "Pong")?,
            opcode => write!(f, "opcode {opcode:#x}")?,
        }
        if !self.fin {
            write!(f, ", more to come")?;
        }
        if self.rsv != 0 {
            write!(f, ", RSV bits {:03b}", self.rsv)?;
        }
        match (self.opcode, &self.payload[..]) {
            (CLOSE, &[a, b, ref reason @ ..]) => {
                write!(f, ", {} {}", u16::from_be_bytes([a, b]), excerpt(reason))
            }
            (_, payload) => write!(f, ", {}", excerpt(payload)),
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

/// Bytes for a reader: how many, and the first of them.
pub(crate) fn excerpt(octets: &[u8]) -> String {
    const SHOWN: usize = 48;
    let start = octets[..octets.len().min(SHOWN)].escape_ascii();
    let dots = if octets.len() > SHOWN { "…" } else { "" };
    format!("{} octets \"{start}{dots}\"", octets.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_section_5_7() {
        assert_eq!(Frame::text("Hello").unmasked(), b"\x81\x05Hello");
        assert_eq!(Frame::text("Hel").more().unmasked(), b"\x01\x03Hel");
        assert_eq!(Frame::new(BINARY, [7; 256]).unmasked()[..5], [0x82, 0x7e, 1, 0, 7]);
        assert_eq!(Frame::new(BINARY, [7; 65_536]).unmasked()[..11], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0, 7]);
        let masked = Frame::text("Hello").masked();
        assert_eq!(masked[..2], [0x81, 0x85]);
        let plain: Vec<u8> = (0..5).map(|i| masked[6 + i] ^ masked[2 + i % 4]).collect();
        assert_eq!(plain, b"Hello");
    }

    #[test]
    fn a_servers_frame_is_taken_once_it_is_all_there() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let frame = Frame::new(BINARY, vec![b'x'; len]);
            let mut octets = frame.unmasked();
            assert_eq!(Frame::take(&octets[..octets.len() - 1]), Ok(None));
            octets.push(0);
            assert_eq!(Frame::take(&octets), Ok(Some((frame, octets.len() - 1))));
        }
    }

    #[test]
    fn a_servers_mistakes_are_seen() {
        assert!(Frame::take(&Frame::text("Hello").masked()).is_err());
        assert!(Frame::take(&Frame::text("Hello").reserved(4).unmasked()).is_err());
        assert!(Frame::take(&Frame::new(3, "Hello").unmasked()).is_err());
        assert!(Frame::take(&Frame::new(PING, "Hello").more().unmasked()).is_err());
        assert!(Frame::take(&Frame::new(PING, [0; 126]).unmasked()).is_err());
        assert!(Frame::take(b"\x81\x7e\x00\x05Hello").is_err());
        assert!(Frame::take(b"\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff").is_err());
    }
}
