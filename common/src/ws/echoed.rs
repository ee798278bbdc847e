//! Answers that lie in the buffer in which the frames arrived.

use super::frame::Header;
use std::ops::Range;

/// Data messages, and the bytes of their payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Messages.
    pub messages: u64,
    /// Bytes of payload.
    pub bytes: usize,
}

/// How far a buffer is answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Echoed {
    /// Where in the buffer the answers are.
    pub answers: Range<usize>,
    /// Everything in the buffer before this index was read.
    pub consumed: usize,
    /// Messages that have ended.
    pub count: Count,
}

impl Echoed {
    /// Nothing yet of a buffer whose input begins at `start`.
    pub fn from(start: usize) -> Echoed {
        Echoed { answers: start..start, consumed: start, count: Count::default() }
    }

    /// Makes the payload, which ends the input read so far, the last of the answers. The first payload stays where it is;
    /// those behind it move up.
    #[inline]
    pub fn append(&mut self, buffer: &mut [u8], header: Header, payload: Range<usize>) {
        self.consumed = payload.end;
        let header_len = header.encoded_len();
        if self.answers.is_empty() {
            self.answers = payload.start - header_len..payload.start - header_len;
        } else {
            buffer.copy_within(payload.clone(), self.answers.end + header_len);
        }
        header.write(&mut buffer[self.answers.end..]);
        self.answers.end += header_len + payload.len();
    }
}
