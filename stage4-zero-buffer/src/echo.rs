//! The fast path: whole frames, answered within the buffer that they arrived in.
//!
//! ```text
//! read   | header key payload | header key payload | header key payl
//! sent         | header payload | header payload |
//!              ^ start                       end ^  ^ consumed
//! ```
//! An answer has no key, so it is at least four octets shorter than its frame: writing never overtakes reading. The
//! first payload, mostly the only one, stays where it is; those behind it move up.

use crate::partial::Count;
use common::frame::{Header, Opcode};
use common::mask;
use std::ops::Range;

/// What became of a buffer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Echoed {
    /// Where in the buffer the answers are.
    pub answers: Range<usize>,
    /// Octets that were dealt with. What lies behind them is for [`crate::partial::Partial`].
    pub consumed: usize,
    /// Messages echoed.
    pub count: Count,
}

/// Answers the frames at the start of `buffer`, up to the first that is not a whole message of at most
/// `max_message_len` octets, a whole Ping or a whole Pong.
///
/// What is wrong with that one, if anything, is not decided here; it stays as it came.
pub fn echo(buffer: &mut [u8], max_message_len: usize) -> Echoed {
    let mut done = Echoed::default();
    while let Ok(Some((header, header_len))) = Header::parse(&buffer[done.consumed..]) {
        let at = done.consumed + header_len;
        let whole = header.len <= (buffer.len() - at).min(max_message_len.max(125)) as u64;
        let (Some(key), true, true) = (header.mask, header.fin, whole) else { break };
        let payload = at..at + header.len as usize;
        let answer = match header.opcode {
            Opcode::Text | Opcode::Binary if payload.len() <= max_message_len => header.opcode,
            Opcode::Ping => Opcode::Pong,
            Opcode::Pong => {
                done.consumed = payload.end;
                continue;
            }
            _ => break,
        };
        mask::apply(&mut buffer[payload.clone()], key, 0);
        if answer == Opcode::Text && simdutf8::basic::from_utf8(&buffer[payload.clone()]).is_err() {
            mask::apply(&mut buffer[payload], key, 0);
            break;
        }
        done.consumed = payload.end;
        if answer != Opcode::Pong {
            done.count.add(payload.len());
        }
        done.append(buffer, answer, payload);
    }
    done
}

impl Echoed {
    /// Makes the payload, which lies behind the answers, the last of them.
    #[inline]
    fn append(&mut self, buffer: &mut [u8], opcode: Opcode, payload: Range<usize>) {
        let header = Header::server(opcode, payload.len());
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
