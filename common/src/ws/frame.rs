//! The WebSocket frame header (RFC 6455, section 5.2), both ways, with no allocation.
//!
//! ```text
//!  0               1               2               3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-------+-+-------------+-------------------------------+
//! |F|R|R|R| opcode|M|  length     | 16 or 64 bits of length, where |
//! |I|S|S|S|  (4)  |A|    (7)      | the 7 bits say 126 or 127      |
//! |N|V|V|V|       |S|             |                               |
//! | |1|2|3|       |K|             |                               |
//! +-+-+-+-+-------+-+-------------+-------------------------------+
//! | masking key (32), where MASK  | payload …                     |
//! ```

use std::fmt;
use thiserror::Error;

/// The longest header: 2 bytes, 8 of length, 4 of masking key.
pub const MAX_HEADER_LEN: usize = 14;

/// The longest payload of a control frame (section 5.5).
pub const MAX_CONTROL_LEN: usize = 125;

/// What a frame is for (section 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of the message begun before.
    Continuation = 0x0,
    /// A message of UTF-8 text, or its first fragment.
    Text = 0x1,
    /// A message of any bytes, or its first fragment.
    Binary = 0x2,
    /// The closing handshake.
    Close = 0x8,
    /// Asks the peer for a Pong with the same payload.
    Ping = 0x9,
    /// Answers a Ping, or says unasked that the sender lives.
    Pong = 0xA,
}

impl Opcode {
    /// Whether this is a control frame, which may stand between the fragments of a message (section 5.5).
    pub fn is_control(self) -> bool {
        self as u8 >= 0x8
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether this is the last frame of its message.
    pub fin: bool,
    /// What the frame is for.
    pub opcode: Opcode,
    /// The masking key: there from a client, and only from a client (section 5.1).
    pub mask: Option<[u8; 4]>,
    /// Payload length that the header *declares*, in bytes. Allocate nothing from a declared length.
    pub len: u64,
}

impl fmt::Display for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Opcode::Continuation => "continuation",
            Opcode::Text => "text",
            Opcode::Binary => "binary",
            Opcode::Close => "close",
            Opcode::Ping => "ping",
            Opcode::Pong => "pong",
        })
    }
}

impl fmt::Display for Header {
    /// Such as `a text frame of 5 bytes, the first fragment of its message`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let masked = if self.mask.is_some() { "masked " } else { "" };
        write!(f, "a {masked}{} frame of {} bytes", self.opcode, self.len)?;
        match (self.opcode, self.fin) {
            (Opcode::Continuation, true) => f.write_str(", the last fragment of its message"),
            (Opcode::Continuation, false) => f.write_str(", a middle fragment of its message"),
            (_, false) => f.write_str(", the first fragment of its message"),
            (_, true) => Ok(()),
        }
    }
}

impl Header {
    /// The header of an unfragmented frame from a server.
    pub fn server(opcode: Opcode, len: usize) -> Header {
        Header { fin: true, opcode, mask: None, len: len as u64 }
    }

    /// Reads the header at the start of `bytes`, and how many bytes it took. `None`: it has not all arrived.
    ///
    /// A length in more bytes than it needs is taken as it is, as tungstenite does.
    ///
    /// # Errors
    /// Any [`Violation`] but [`Violation::Unmasked`] (the caller knows which end it is), as early as the bytes
    /// show it.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Violation> {
        let &[first, second, ..] = bytes else {
            return bytes.first().map_or(Ok(None), |&first| opcode(first).map(|_| None));
        };
        let opcode = opcode(first)?;
        let fin = first & 0x80 != 0;
        let short = second & 0x7f;
        if opcode.is_control() {
            if !fin {
                return Err(Violation::FragmentedControl);
            }
            if usize::from(short) > MAX_CONTROL_LEN {
                return Err(Violation::LongControl);
            }
        }
        let (len, at) = match short {
            126 => match bytes.get(2..4) {
                Some(len) => (u64::from(u16::from_be_bytes(len.try_into().expect("2 bytes"))), 4),
                None => return Ok(None),
            },
            127 => match bytes.get(2..10) {
                Some(len) => (u64::from_be_bytes(len.try_into().expect("8 bytes")), 10),
                None => return Ok(None),
            },
            short => (u64::from(short), 2),
        };
        if second & 0x80 == 0 {
            return Ok(Some((Header { fin, opcode, mask: None, len }, at)));
        }
        let Some(key) = bytes.get(at..at + 4) else { return Ok(None) };
        let mask = Some(key.try_into().expect("4 bytes"));
        Ok(Some((Header { fin, opcode, mask, len }, at + 4)))
    }

    /// How many bytes [`Header::write`] writes.
    #[inline]
    pub fn encoded_len(&self) -> usize {
        let len = match self.len {
            0..=125 => 2,
            126..=0xffff => 4,
            _ => 10,
        };
        len + if self.mask.is_some() { 4 } else { 0 }
    }

    /// Writes the header to the start of `out`, with the shortest form of the length; returns the bytes written.
    ///
    /// # Panics
    /// If `out` is shorter than [`Header::encoded_len`].
    #[inline]
    pub fn write(&self, out: &mut [u8]) -> usize {
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        out[0] = if self.fin { 0x80 } else { 0 } | self.opcode as u8;
        let at = match self.len {
            len @ 0..=125 => {
                out[1] = masked | len as u8;
                2
            }
            len @ 126..=0xffff => {
                out[1] = masked | 126;
                out[2..4].copy_from_slice(&(len as u16).to_be_bytes());
                4
            }
            len => {
                out[1] = masked | 127;
                out[2..10].copy_from_slice(&len.to_be_bytes());
                10
            }
        };
        let Some(key) = self.mask else { return at };
        out[at..at + 4].copy_from_slice(&key);
        at + 4
    }
}

/// The opcode in a frame's first byte, whose reserved bits must be clear: no extension is ever negotiated.
#[inline]
fn opcode(first: u8) -> Result<Opcode, Violation> {
    if first & 0x70 != 0 {
        return Err(Violation::ReservedBits);
    }
    Ok(match first & 0x0f {
        0x0 => Opcode::Continuation,
        0x1 => Opcode::Text,
        0x2 => Opcode::Binary,
        0x8 => Opcode::Close,
        0x9 => Opcode::Ping,
        0xA => Opcode::Pong,
        reserved => return Err(Violation::ReservedOpcode(reserved)),
    })
}

/// A status code of the closing handshake (section 7.4.1), as far as these programs send them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum CloseCode {
    /// The purpose is fulfilled.
    Normal = 1000,
    /// The server is going down.
    GoingAway = 1001,
    /// The peer broke the protocol.
    Protocol = 1002,
    /// Data of the wrong kind: text that is not UTF-8.
    InvalidData = 1007,
    /// A message over the limit.
    TooBig = 1009,
    /// The server is overloaded (the registry of section 11.7).
    TryAgainLater = 1013,
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", *self as u16)
    }
}

/// Whether an endpoint may send `code` in a Close frame (section 7.4): not those that only stand for what happened
/// (1005, 1006, 1015), nor a gateway's (1014), nor undefined ones. Tungstenite does the same.
pub fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999)
}

/// A protocol violation, each with the section of RFC 6455; its text is for the log.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Violation {
    /// Section 5.2, RSV1 to RSV3.
    #[error("reserved bits are set, but no extension was negotiated")]
    ReservedBits,
    /// Section 5.2, opcode.
    #[error("opcode {0:#x} is reserved")]
    ReservedOpcode(u8),
    /// Section 5.5: control frames must not be fragmented.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// Section 5.5: at most 125 bytes.
    #[error("a control frame is longer than 125 bytes")]
    LongControl,
    /// Section 5.1: a client masks every frame.
    #[error("a frame from a client is not masked")]
    Unmasked,
    /// Section 5.4: a continuation with nothing to continue.
    #[error("a continuation frame continues nothing")]
    StrayContinuation,
    /// Section 5.4: a new message before the last one was finished.
    #[error("a message begins before the one before it is finished")]
    UnfinishedMessage,
    /// Section 5.5.1: a body of one byte, or a status code that may not be sent.
    #[error("a Close frame carries no valid status code")]
    BadClose,
    /// Section 8.1.
    #[error("text is not UTF-8")]
    BadUtf8,
    /// Section 10.4.
    #[error("a message is over the size limit")]
    TooBig,
}

impl Violation {
    /// The status code to close with.
    pub fn close_code(self) -> CloseCode {
        match self {
            Violation::BadUtf8 => CloseCode::InvalidData,
            Violation::TooBig => CloseCode::TooBig,
            _ => CloseCode::Protocol,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First byte, second byte, further bytes of the header; then the header they make.
    const EXAMPLES: &[(&[u8], Header)] = &[
        // FIN, text | length 5 | "Hello" (section 5.7)
        (&[0b1000_0001, 0b0000_0101], Header { fin: true, opcode: Opcode::Text, mask: None, len: 5 }),
        // FIN, text | MASK, length 5 | key
        (
            &[0b1000_0001, 0b1000_0101, 0x37, 0xfa, 0x21, 0x3d],
            Header { fin: true, opcode: Opcode::Text, mask: Some([0x37, 0xfa, 0x21, 0x3d]), len: 5 },
        ),
        // text, to be continued | length 3
        (&[0b0000_0001, 0b0000_0011], Header { fin: false, opcode: Opcode::Text, mask: None, len: 3 }),
        // FIN, ping | MASK, length 0 | key
        (
            &[0b1000_1001, 0b1000_0000, 1, 2, 3, 4],
            Header { fin: true, opcode: Opcode::Ping, mask: Some([1, 2, 3, 4]), len: 0 },
        ),
        // FIN, binary | 126: 16 bits of length follow | 256
        (&[0b1000_0010, 126, 1, 0], Header { fin: true, opcode: Opcode::Binary, mask: None, len: 256 }),
        // FIN, binary | 127: 64 bits of length follow | 65,536
        (
            &[0b1000_0010, 127, 0, 0, 0, 0, 0, 1, 0, 0],
            Header { fin: true, opcode: Opcode::Binary, mask: None, len: 65_536 },
        ),
    ];

    #[test]
    fn examples_of_section_5_7() {
        for (bytes, header) in EXAMPLES {
            assert_eq!(Header::parse(bytes), Ok(Some((*header, bytes.len()))));
            let mut out = [0; MAX_HEADER_LEN];
            assert_eq!(header.write(&mut out), bytes.len());
            assert_eq!(&out[..bytes.len()], *bytes);
            assert_eq!(header.encoded_len(), bytes.len());
            for cut in 0..bytes.len() {
                assert_eq!(Header::parse(&bytes[..cut]), Ok(None), "{cut} bytes of {bytes:?}");
            }
        }
    }

    #[test]
    fn headers_in_words() {
        let words = |fin, opcode, mask| Header { fin, opcode, mask, len: 5 }.to_string();
        assert_eq!(words(true, Opcode::Binary, Some([0; 4])), "a masked binary frame of 5 bytes");
        let [first, middle] = [Opcode::Text, Opcode::Continuation].map(|opcode| words(false, opcode, None));
        assert_eq!(first, "a text frame of 5 bytes, the first fragment of its message");
        assert_eq!(middle, "a continuation frame of 5 bytes, a middle fragment of its message");
    }

    #[test]
    fn violations_are_seen_as_early_as_the_bytes_show_them() {
        for (bytes, violation) in [
            (&[0b1100_0001][..], Violation::ReservedBits),
            (&[0b1001_0001], Violation::ReservedBits),
            (&[0x83], Violation::ReservedOpcode(3)),
            (&[0x8b], Violation::ReservedOpcode(11)),
            (&[0x09, 0x80], Violation::FragmentedControl),
            (&[0x88, 0xfe], Violation::LongControl),
            (&[0x89, 0xff], Violation::LongControl),
        ] {
            assert_eq!(Header::parse(bytes), Err(violation), "{bytes:?}");
        }
    }

    #[test]
    fn close_codes_that_may_be_sent() {
        for code in [1000, 1001, 1002, 1003, 1007, 1011, 1013, 3000, 4999] {
            assert!(is_sendable(code), "{code}");
        }
        for code in [0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
            assert!(!is_sendable(code), "{code}");
        }
    }
}
