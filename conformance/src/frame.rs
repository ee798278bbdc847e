//! Frames: an encoder for a client's, valid or not, and a strict parser for a server's (RFC 6455, section 5.2).

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

/// The longest payload of a control frame, in bytes (section 5.5).
pub(crate) const MAX_CONTROL_LEN: usize = 125;

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub fin: bool,
    /// RSV1 (4), RSV2 (2) and RSV3 (1).
    pub rsv: u8,
    pub opcode: u8,
    /// Unmasked.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame with FIN set and no reserved bits.
    pub fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
        Frame { fin: true, rsv: 0, opcode, payload: payload.as_ref().to_vec() }
    }

    /// An unfragmented text message.
    pub fn text(text: &str) -> Frame {
        Frame::new(TEXT, text)
    }

    /// A Close with a status code and a reason.
    pub fn close(code: u16, reason: &str) -> Frame {
        Frame::new(CLOSE, [&code.to_be_bytes(), reason.as_bytes()].concat())
    }

    /// The same without FIN: a fragment with more to follow.
    pub fn without_fin(self) -> Frame {
        Frame { fin: false, ..self }
    }

    /// The same, with reserved bits.
    pub fn reserved(self, rsv: u8) -> Frame {
        Frame { rsv, ..self }
    }

    /// Encodes it as a client must: masked, with a different key for each frame (section 5.3).
    pub fn masked(&self) -> Vec<u8> {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let key = COUNT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b1).to_be_bytes();
        let mut bytes = self.header(self.payload.len() as u64, 0x80);
        bytes.extend_from_slice(&key);
        bytes.extend(self.payload.iter().zip(key.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    /// Encodes it as a server does, and as a client must not: unmasked.
    pub fn unmasked(&self) -> Vec<u8> {
        [self.header(self.payload.len() as u64, 0), self.payload.clone()].concat()
    }

    /// The header of a frame like this one that declares `len` payload bytes. The masking key is zero, so the payload
    /// that follows is the same masked or unmasked.
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

    /// Parses a server's frame at the start of `bytes`, and returns it with its encoded length in bytes. `None` if it
    /// is incomplete.
    ///
    /// # Errors
    /// A mask, a reserved bit or opcode, a length that is not in its shortest form, or an invalid control frame.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Frame, usize)>, String> {
        let &[first, second, ..] = bytes else { return Ok(None) };
        if second & 0x80 != 0 {
            return Err("a masked frame from a server (section 5.1)".into());
        }
        let (len, at, shortest) = match (second, bytes) {
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
            return Err("a control frame that is fragmented or longer than 125 bytes (section 5.5)".into());
        }
        if len < shortest {
            return Err(format!("a length of {len}, not in its shortest form (section 5.2)"));
        }
        let Some(payload) = bytes[at..].get(..len as usize) else { return Ok(None) };
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
            write!(f, ", FIN clear")?;
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

/// The length of these bytes, and the first 48 of them, escaped.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    const SHOWN: usize = 48;
    let start = bytes[..bytes.len().min(SHOWN)].escape_ascii();
    let dots = if bytes.len() > SHOWN { "…" } else { "" };
    format!("{} bytes \"{start}{dots}\"", bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_section_5_7() {
        assert_eq!(Frame::text("Hello").unmasked(), b"\x81\x05Hello");
        assert_eq!(Frame::text("Hel").without_fin().unmasked(), b"\x01\x03Hel");
        assert_eq!(Frame::new(BINARY, [7; 256]).unmasked()[..5], [0x82, 0x7e, 1, 0, 7]);
        assert_eq!(Frame::new(BINARY, [7; 65_536]).unmasked()[..11], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0, 7]);
        let masked = Frame::text("Hello").masked();
        assert_eq!(masked[..2], [0x81, 0x85]);
        let plain: Vec<u8> = (0..5).map(|i| masked[6 + i] ^ masked[2 + i % 4]).collect();
        assert_eq!(plain, b"Hello");
    }

    #[test]
    fn a_frame_is_parsed_once_it_is_complete() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let frame = Frame::new(BINARY, vec![b'x'; len]);
            let mut bytes = frame.unmasked();
            assert_eq!(Frame::parse(&bytes[..bytes.len() - 1]), Ok(None));
            bytes.push(0);
            assert_eq!(Frame::parse(&bytes), Ok(Some((frame, bytes.len() - 1))));
        }
    }

    #[test]
    fn invalid_server_frames_are_errors() {
        assert!(Frame::parse(&Frame::text("Hello").masked()).is_err());
        assert!(Frame::parse(&Frame::text("Hello").reserved(4).unmasked()).is_err());
        assert!(Frame::parse(&Frame::new(3, "Hello").unmasked()).is_err());
        assert!(Frame::parse(&Frame::new(PING, "Hello").without_fin().unmasked()).is_err());
        assert!(Frame::parse(&Frame::new(PING, [0; 126]).unmasked()).is_err());
        assert!(Frame::parse(b"\x81\x7e\x00\x05Hello").is_err());
        assert!(Frame::parse(b"\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff").is_err());
    }
}
