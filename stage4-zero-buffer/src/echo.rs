//! The fast path: whole frames, echoed within the buffer that they arrived in.
//!
//! ```text
//! read   | header key payload | header key payload | header key payl
//! sent         | header payload | header payload |
//!              ^ start                       end ^  ^ consumed
//! ```
//! An answer has no masking key, so it is at least four bytes shorter than its frame: writing never overtakes reading. The
//! first payload, which is mostly the only one, stays in place; the others move up.

use common::echoed::Echoed;
use common::frame::{Header, Opcode};
use common::mask;

/// Echoes the frames from `consumed` on, up to the first that is not a whole message of at most `max_message_len` bytes, a
/// whole Ping or a whole Pong.
///
/// That one stays unchanged, for the slow path, which decides whether it is incomplete, a fragment or invalid.
#[inline]
pub fn echo(done: &mut Echoed, buffer: &mut [u8], max_message_len: usize) {
    while done.consumed < buffer.len() {
        let answered = echo_short(done, buffer, max_message_len) || echo_any(done, buffer, max_message_len);
        if !answered {
            return;
        }
    }
}

/// Answers the next frame, whatever its length. Returns whether it could.
// Out of the way of the loop for short ones, which has few enough variables for the processor's registers without it.
#[inline(never)]
fn echo_any(done: &mut Echoed, buffer: &mut [u8], max_message_len: usize) -> bool {
    let Ok(Some((header, header_len))) = Header::parse(&buffer[done.consumed..]) else { return false };
    let start = done.consumed + header_len;
    let Some(payload) = usize::try_from(header.len).ok().and_then(|len| buffer[start..].get_mut(..len))
    else {
        return false;
    };
    let (Some(key), true) = (header.mask, header.fin) else { return false };
    let payload = start..start + payload.len();
    match header.opcode {
        Opcode::Text | Opcode::Binary if payload.len() <= max_message_len => {
            if !unmask(&mut buffer[payload.clone()], key, header.opcode == Opcode::Text) {
                return false;
            }
            done.count.messages += 1;
            done.count.bytes += payload.len();
            done.append(buffer, Header::server(header.opcode, payload.len()), payload);
        }
        Opcode::Ping => {
            mask::apply(&mut buffer[payload.clone()], key, 0);
            done.append(buffer, Header::server(Opcode::Pong, payload.len()), payload);
        }
        Opcode::Pong => done.consumed = payload.end,
        _ => return false,
    }
    true
}

/// Answers the next frame if it is a message of up to 125 bytes, in a third of the instructions. Returns whether it was.
#[inline(always)]
fn echo_short(done: &mut Echoed, buffer: &mut [u8], max_message_len: usize) -> bool {
    const TEXT: u8 = 0x80 | Opcode::Text as u8;
    const BINARY: u8 = 0x80 | Opcode::Binary as u8;
    let start = done.consumed + 6;
    let Some((&[first @ (TEXT | BINARY), second @ 0x80..=0xfd], rest)) =
        buffer[done.consumed..].split_first_chunk()
    else {
        return false;
    };
    let Some((&key, behind)) = rest.split_first_chunk() else { return false };
    let len = usize::from(second & 0x7f);
    if len > behind.len().min(max_message_len) {
        return false;
    }
    // Moved before it is unmasked: a copy of what was just written would wait for the processor's store buffer.
    let mut to = start;
    if done.answers.is_empty() {
        done.answers = start - 2..start - 2;
    } else {
        to = done.answers.end + 2;
        buffer.copy_within(start..start + len, to);
    }
    if !unmask(&mut buffer[to..to + len], key, first == TEXT) {
        buffer.copy_within(to..to + len, start);
        buffer[start - 4..start].copy_from_slice(&key);
        buffer[start - 6..start - 4].copy_from_slice(&[first, second]);
        return false;
    }
    buffer[to - 2] = first;
    buffer[to - 1] = len as u8;
    done.answers.end = to + len;
    done.consumed = start + len;
    done.count.messages += 1;
    done.count.bytes += len;
    true
}

/// Unmasks a payload. False: it was to be text, and is not; then it stays as it came.
#[inline(always)]
fn unmask(payload: &mut [u8], key: [u8; 4], is_text: bool) -> bool {
    mask::apply(payload, key, 0);
    let is_right = !is_text || payload.is_ascii() || simdutf8::basic::from_utf8(payload).is_ok();
    if !is_right {
        mask::apply(payload, key, 0);
    }
    is_right
}
