//! What tungstenite answers, for the property test and for the fuzzer (`fuzz/`).
//!
//! Stage 4 says the same but in three cases, all of them of a peer that broke the protocol:
//!
//! - It refuses a frame as soon as the bytes show what is wrong. Tungstenite waits for the whole frame.
//! - A header with two faults, one of them a length over the limit: 1002 for the other one. Tungstenite, which looks
//!   at the length first, says 1009.
//! - A control frame with its length in 16 or 64 bits: 1002, since no length that a control frame may have needs them
//!   (RFC 6455, sections 5.2 and 5.5). Tungstenite takes it if the length is at most 125.
//!
//! Compared is the sequence of whole messages and control frames. The reason in a Close frame is for people, and not compared.

use common::frame::{Header, MAX_CONTROL_LEN, Opcode};
use std::io::{self, Cursor, Read, Write};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

/// A message or a control frame of a server: opcode and payload, and of a Close frame only the code.
pub type Frame = (Opcode, Vec<u8>);

/// A stream that has been received, and what is sent in answer.
struct Wire<'i> {
    received: Cursor<&'i [u8]>,
    sent: Vec<u8>,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.received.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            len => Ok(len),
        }
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sent.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A limit on messages, however small, is none on control frames.
fn max_frame_len(max_message_len: usize) -> usize {
    max_message_len.max(MAX_CONTROL_LEN)
}

/// What tungstenite answers to `input`.
pub fn answers(input: &[u8], max_message_len: usize) -> Vec<Frame> {
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_message_size(Some(max_message_len))
        .max_frame_size(Some(max_frame_len(max_message_len)));
    let mut websocket = WebSocketContext::new(Role::Server, Some(config));
    let mut wire = Wire { received: Cursor::new(input), sent: Vec::new() };
    let code = loop {
        match websocket.read(&mut wire) {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                websocket.write(&mut wire, message).expect("written to memory")
            }
            Ok(_) => {}
            Err(Error::ConnectionClosed | Error::Io(_)) => break None,
            Err(Error::Utf8(_)) => break Some(1007u16),
            Err(Error::Capacity(_)) => break Some(1009),
            Err(_) => break Some(1002),
        }
    };
    if let Some(code) = code {
        let frame = CloseFrame { code: code.into(), reason: Default::default() };
        websocket.close(&mut wire, Some(frame)).expect("written to memory");
    }
    let _ = websocket.flush(&mut wire);
    messages(&wire.sent).0
}

/// The messages of a server, put together from their fragments, and its control frames, each where it ends; and how many
/// bytes of one more frame that is not whole. In how many fragments a message comes is the server's own business.
pub fn messages(mut bytes: &[u8]) -> (Vec<Frame>, usize) {
    let (mut messages, mut begun) = (Vec::new(), None::<Frame>);
    while let Some((header, at)) = Header::parse(bytes).expect("valid") {
        assert!(header.mask.is_none());
        let Some(payload) = bytes.get(at..at + header.len as usize) else { break };
        bytes = &bytes[at + payload.len()..];
        match (header.opcode, &mut begun) {
            (Opcode::Close, _) => messages.push((Opcode::Close, payload[..payload.len().min(2)].to_vec())),
            (control, _) if control.is_control() => messages.push((control, payload.to_vec())),
            (Opcode::Continuation, Some(begun)) => begun.1.extend_from_slice(payload),
            (Opcode::Text | Opcode::Binary, None) => begun = Some((header.opcode, payload.to_vec())),
            (opcode, begun) => panic!("{opcode:?} after {begun:?}"),
        }
        if header.fin && !header.opcode.is_control() {
            messages.extend(begun.take());
        }
    }
    (messages, bytes.len())
}

/// The expected answer to `input`, given `ours`: tungstenite's, except for the cases named above.
pub fn answer(input: &[u8], max_message_len: usize, ours: &[Frame]) -> Vec<Frame> {
    if !has_closed(ours) {
        return answers(input, max_message_len);
    }
    match refused(input, max_message_len) {
        Refused::Here(at) => {
            let mut expected = answers(&input[..at], max_message_len);
            if !has_closed(&expected) {
                expected.push((Opcode::Close, 1002u16.to_be_bytes().to_vec()));
            }
            expected
        }
        Refused::WhenWhole(len) => {
            let mut whole = input.to_vec();
            whole.resize(len.max(input.len()), 0);
            answers(&whole, max_message_len)
        }
    }
}

/// Whether the last of these is a Close frame.
pub fn has_closed(frames: &[Frame]) -> bool {
    frames.last().is_some_and(|(opcode, _)| *opcode == Opcode::Close)
}

/// When tungstenite refuses the last frame of an input as we do.
enum Refused {
    /// Never, or with another code. It begins here.
    Here(usize),
    /// Once the input has this length.
    WhenWhole(usize),
}

/// Reads frames in the plainest way. Bytes that a header lacks count as 0.
fn refused(input: &[u8], max_message_len: usize) -> Refused {
    let max_frame_len = max_frame_len(max_message_len) as u64;
    let (mut at, mut in_message) = (0, false);
    loop {
        let byte = |i: usize| input.get(at + i).copied().unwrap_or(0);
        let (first, masked, short) = (byte(0), byte(1) & 0x80 != 0, byte(1) & 0x7f);
        let len_bytes = [0, 2, 8][usize::from(short.saturating_sub(125))];
        let len = (2..2 + len_bytes).fold(0, |len, i| len << 8 | u64::from(byte(i)));
        let len = if len_bytes == 0 { u64::from(short) } else { len };
        let (control, continuation) = (first & 0x08 != 0, first & 0x0f == 0);
        let faulty = first & 0x70 != 0 || !masked || (!control && continuation != in_message);
        if (control && len_bytes > 0) || (faulty && len > max_frame_len) {
            return Refused::Here(at);
        }
        let header_len = 2 + len_bytes + if masked { 4 } else { 0 };
        let end = at + header_len + len.min(max_frame_len) as usize;
        if end >= input.len() || len > max_frame_len {
            return Refused::WhenWhole(end);
        }
        if !control {
            in_message = first & 0x80 == 0;
        }
        at = end;
    }
}
