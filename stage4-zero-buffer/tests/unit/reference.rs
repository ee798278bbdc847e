//! Tungstenite's answers, as a reference for the property test and for the fuzzer (`fuzz/`).
//!
//! Stage 4 gives the same answers, except in three cases of protocol violations:
//!
//! - It rejects a frame as soon as the bytes show a fault. Tungstenite waits for the whole frame.
//! - A header with two faults, one of them a length over the limit: 1002, for the other one. Tungstenite checks the length
//!   first, and closes with 1009.
//! - A control frame with its length in 16 or 64 bits: 1002, because a valid length never needs them (RFC 6455, sections 5.2
//!   and 5.5). Tungstenite accepts it if the length is at most 125.
//!
//! The comparison covers the sequence of whole messages and control frames, but not the reason text of a Close frame.

use common::frame::{Header, MAX_CONTROL_LEN, Opcode};
use std::io::{self, Cursor, Read, Write};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

/// A server's message or control frame: opcode and payload. Of a Close frame, only the code.
pub type Frame = (Opcode, Vec<u8>);

/// A connection in memory: all input, and the output.
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

/// The limit on messages does not apply to control frames.
fn max_frame_len(max_message_len: usize) -> usize {
    max_message_len.max(MAX_CONTROL_LEN)
}

/// Tungstenite's answers to `input`.
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

/// A server's messages, reassembled, and its control frames, in the order in which they end; and the number of bytes of
/// an incomplete frame at the end. How a server fragments a message is not compared.
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

/// The expected answers to `input`, where `ours` were given: tungstenite's, except in the cases above.
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

/// When tungstenite rejects the frame that stage 4 rejects.
enum Refused {
    /// Never, or with another code. The frame begins at this index.
    Here(usize),
    /// Once the input has this length.
    WhenWhole(usize),
}

/// Finds that frame with a naive parser. Missing header bytes count as 0.
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
