//! The slow path: a connection in the middle of a frame or of a message, octet by octet if need be.
//!
//! It takes frames in any pieces and decides every violation. It holds what has arrived, and allocates nothing on
//! the word of a header.

use common::frame::{CloseCode, Header, MAX_CONTROL_LEN, MAX_HEADER_LEN, Opcode, Violation, is_sendable};
use common::mask;

/// The longest header of an answer: 2 octets and 8 of length. A message is gathered behind so much room, so that
/// its echo needs no copy.
const HEADROOM: usize = 10;

/// Data messages, and the octets of their payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub messages: u64,
    pub bytes: usize,
}

impl Count {
    pub fn add(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes;
    }
}

/// Octets that wait to be sent.
#[derive(Debug, Default)]
pub struct Output {
    octets: Vec<u8>,
    sent: usize,
}

impl Output {
    /// Octets that it keeps: all, until the last is sent.
    pub fn held(&self) -> usize {
        self.octets.len()
    }

    pub fn unsent(&self) -> &[u8] {
        &self.octets[self.sent..]
    }

    pub fn sent(&mut self, octets: usize) {
        self.sent += octets;
        if self.sent == self.octets.len() {
            *self = Output::default();
        }
    }

    pub fn push(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    pub fn push_frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut header = [0; MAX_HEADER_LEN];
        let len = Header::server(opcode, payload.len()).write(&mut header);
        self.push(&header[..len]);
        self.push(payload);
    }

    /// A Close frame with a code and no reason.
    pub fn push_close(&mut self, code: CloseCode) {
        self.push_frame(Opcode::Close, &(code as u16).to_be_bytes());
    }

    /// Takes a message over as it is, where nothing waits before it.
    fn push_message(&mut self, mut message: Message) {
        let header = Header::server(message.opcode, message.payload().len());
        let start = HEADROOM - header.encoded_len();
        header.write(&mut message.octets[start..]);
        if self.octets.is_empty() {
            *self = Output { octets: message.octets, sent: start };
        } else {
            self.push(&message.octets[start..]);
        }
    }
}

/// Why nothing more is read. The Close frame that answers is in the output already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer sent a Close frame.
    Peer,
    /// The peer broke the protocol.
    Violation(Violation),
}

impl From<Violation> for End {
    fn from(violation: Violation) -> End {
        End::Violation(violation)
    }
}

/// A message of which some has arrived.
#[derive(Debug)]
struct Message {
    opcode: Opcode,
    /// [`HEADROOM`], then payload.
    octets: Vec<u8>,
    /// Of a text: octets of `octets` known to be UTF-8.
    valid: usize,
}

impl Message {
    fn new(opcode: Opcode) -> Message {
        Message { opcode, octets: vec![0; HEADROOM], valid: HEADROOM }
    }

    fn payload(&self) -> &[u8] {
        &self.octets[HEADROOM..]
    }

    /// Adds what came, and checks text at once (RFC 6455, section 8.1), but for a character cut short at the end.
    fn extend(&mut self, octets: &[u8]) -> Result<(), Violation> {
        self.octets.extend_from_slice(octets);
        if self.opcode == Opcode::Text {
            self.valid += match simdutf8::compat::from_utf8(&self.octets[self.valid..]) {
                Ok(text) => text.len(),
                Err(cut_short) if cut_short.error_len().is_none() => cut_short.valid_up_to(),
                Err(_) => return Err(Violation::BadUtf8),
            };
        }
        Ok(())
    }

    /// Whether a text ends at the end of a character.
    fn is_whole(&self) -> bool {
        self.opcode != Opcode::Text || self.valid == self.octets.len()
    }
}

/// A frame of which the header has arrived.
#[derive(Debug)]
struct Frame {
    header: Header,
    key: [u8; 4],
    /// Octets of its payload that have arrived.
    arrived: u64,
}

/// Where a connection stands in what its peer sends.
#[derive(Debug, Default)]
pub struct Partial {
    /// The octets of a header that has not all arrived.
    header: [u8; MAX_HEADER_LEN],
    header_len: usize,
    frame: Option<Frame>,
    message: Option<Message>,
    /// The payload of a control frame, at most [`MAX_CONTROL_LEN`].
    control: Vec<u8>,
}

impl Partial {
    /// Whether the connection is in the middle of nothing, so that this can go.
    pub fn is_at_rest(&self) -> bool {
        self.header_len == 0 && self.frame.is_none() && self.message.is_none()
    }

    /// Octets that it keeps of a message.
    pub fn held(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.payload().len())
    }

    /// Takes what has arrived, unmasking it in place; puts answers into `output`.
    ///
    /// # Errors
    /// [`End`], after which there is nothing more to be fed.
    pub fn feed(
        &mut self,
        mut input: &mut [u8],
        max_message_len: usize,
        output: &mut Output,
    ) -> (Count, Result<(), End>) {
        let mut count = Count::default();
        while !input.is_empty() {
            match self.step(input, max_message_len, output, &mut count) {
                Ok(taken) => input = &mut input[taken..],
                Err(end) => {
                    if let End::Violation(violation) = end {
                        output.push_close(violation.close_code());
                    }
                    return (count, Err(end));
                }
            }
        }
        (count, Ok(()))
    }

    /// Takes the rest of a header or some payload, and answers the frame if that was all; returns the octets taken.
    fn step(
        &mut self,
        input: &mut [u8],
        max_message_len: usize,
        output: &mut Output,
        count: &mut Count,
    ) -> Result<usize, End> {
        let mut taken = 0;
        if self.frame.is_none() {
            taken = self.take_header(input, max_message_len)?;
        }
        let Some(frame) = &mut self.frame else { return Ok(taken) };
        let left = frame.header.len - frame.arrived;
        let piece_len = (input.len() - taken).min(usize::try_from(left).unwrap_or(usize::MAX));
        let piece = &mut input[taken..taken + piece_len];
        mask::apply(piece, frame.key, frame.arrived as usize % 4);
        frame.arrived += piece_len as u64;
        let whole = frame.arrived == frame.header.len;
        match &mut self.message {
            Some(message) if !frame.header.opcode.is_control() => message.extend(piece)?,
            _ => self.control.extend_from_slice(piece),
        }
        if whole {
            self.finish_frame(output, count)?;
        }
        Ok(taken + piece_len)
    }

    fn take_header(&mut self, input: &[u8], max_message_len: usize) -> Result<usize, Violation> {
        let before = self.header_len;
        let copied = (MAX_HEADER_LEN - before).min(input.len());
        self.header[before..before + copied].copy_from_slice(&input[..copied]);
        match Header::parse(&self.header[..before + copied])? {
            None => {
                self.header_len = before + copied;
                Ok(copied)
            }
            Some((header, len)) => {
                self.header_len = 0;
                self.begin_frame(header, max_message_len)?;
                Ok(len - before)
            }
        }
    }

    /// Checks a header against what went before it (section 5.4), and the size it declares.
    fn begin_frame(&mut self, header: Header, max_message_len: usize) -> Result<(), Violation> {
        let key = header.mask.ok_or(Violation::Unmasked)?;
        if !header.opcode.is_control() {
            match (&self.message, header.opcode) {
                (None, Opcode::Continuation) => return Err(Violation::StrayContinuation),
                (Some(_), Opcode::Text | Opcode::Binary) => return Err(Violation::UnfinishedMessage),
                _ => {}
            }
            let message = self.message.get_or_insert_with(|| Message::new(header.opcode));
            if header.len > (max_message_len - message.payload().len()) as u64 {
                return Err(Violation::TooBig);
            }
        }
        self.frame = Some(Frame { header, key, arrived: 0 });
        Ok(())
    }

    fn finish_frame(&mut self, output: &mut Output, count: &mut Count) -> Result<(), End> {
        let header = self.frame.take().expect("a frame has arrived").header;
        match header.opcode {
            Opcode::Ping => output.push_frame(Opcode::Pong, &self.control),
            Opcode::Pong => {}
            Opcode::Close => {
                check_close(&self.control)?;
                output.push_frame(Opcode::Close, &self.control);
                return Err(End::Peer);
            }
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                if header.fin {
                    let message = self.message.take().expect("begun with its first frame");
                    if !message.is_whole() {
                        return Err(Violation::BadUtf8.into());
                    }
                    count.add(message.payload().len());
                    output.push_message(message);
                }
                return Ok(());
            }
        }
        debug_assert!(self.control.len() <= MAX_CONTROL_LEN);
        self.control.clear();
        Ok(())
    }
}

/// Checks the body of a Close frame (section 5.5.1): nothing, or a status code and a reason in UTF-8.
fn check_close(body: &[u8]) -> Result<(), Violation> {
    match body {
        [] => Ok(()),
        [_, _, reason @ ..] if std::str::from_utf8(reason).is_err() => Err(Violation::BadUtf8),
        [high, low, ..] if is_sendable(u16::from_be_bytes([*high, *low])) => Ok(()),
        _ => Err(Violation::BadClose),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `octets` to `partial` in one piece; returns what it answers.
    fn feed(partial: &mut Partial, octets: &[u8]) -> (Vec<u8>, Result<(), End>) {
        let mut output = Output::default();
        let (_, result) = partial.feed(&mut octets.to_vec(), 1 << 20, &mut output);
        (output.unsent().to_vec(), result)
    }

    #[test]
    fn a_header_is_not_taken_at_its_word() {
        let mut partial = Partial::default();
        // FIN, binary | MASK, 127 | 1 MiB | key | 3 octets of it
        let (answer, result) =
            feed(&mut partial, &[0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 1, 2, 3]);
        assert_eq!((answer, result), (vec![], Ok(())));
        assert!(!partial.is_at_rest());
        assert!(partial.message.unwrap().octets.capacity() < 100, "grows with what has arrived");
    }

    #[test]
    fn text_is_refused_before_its_frame_is_whole() {
        let mut partial = Partial::default();
        // FIN, text | MASK, 10 | key 0 | "é" in two pieces, then an octet that no text has
        assert_eq!(feed(&mut partial, &[0x81, 0x8a, 0, 0, 0, 0, 0xc3]), (vec![], Ok(())));
        assert_eq!(feed(&mut partial, &[0xa9]), (vec![], Ok(())));
        let (answer, result) = feed(&mut partial, &[0xff]);
        assert_eq!(result, Err(End::Violation(Violation::BadUtf8)));
        assert_eq!(answer, [0x88, 2, 0x03, 0xef], "Close 1007");
    }

    #[test]
    fn at_rest_only_between_messages() {
        let mut partial = Partial::default();
        for (octets, at_rest) in [
            (&[0x01][..], false),               // half a header
            (&[0x80, 0, 0, 0, 0], false),       // text, to be continued, empty
            (&[0x89, 0x80, 0, 0, 0, 0], false), // ping
            (&[0x80, 0x80, 0, 0, 0, 0], true),  // the end of the text
            (&[0x89, 0x80, 0, 0, 0], false),    // most of a ping
            (&[0], true),
        ] {
            feed(&mut partial, octets).1.unwrap();
            assert_eq!(partial.is_at_rest(), at_rest, "after {octets:?}");
        }
    }
}
