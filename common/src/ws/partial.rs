//! The slow path: a connection in the middle of a frame or of a message, byte by byte if need be.
//!
//! It takes frames in any pieces and decides every violation. No message is gathered: each piece is answered as it arrives,
//! as a fragment (RFC 6455, section 5.4), and what is kept is where the peer stands.

use super::echoed::Echoed;
use super::frame::{Header, MAX_CONTROL_LEN, MAX_HEADER_LEN, Opcode, Violation, is_sendable};
use super::mask;
use super::text::Cut;
use std::str;

/// Room before what is read: a control frame that began in an earlier read is answered in this one's buffer.
pub const HEADROOM: usize = 2 + MAX_CONTROL_LEN + 1;

/// Why nothing more is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer sent a Close frame with this body, which is also the answer.
    Peer(Vec<u8>),
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
    /// Whether a fragment of it was sent.
    is_answered: bool,
    /// Bytes of payload that have been declared.
    len: usize,
    /// Of a text: a character cut short.
    cut: Cut,
}

/// A frame of which the header has arrived.
#[derive(Debug)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    /// The masking key, beginning with the byte that is due.
    key: [u8; 4],
    /// Bytes of payload that have not arrived.
    left: u64,
}

/// Where a connection stands in what its peer sends.
#[derive(Debug, Default)]
pub struct Partial {
    /// The bytes of a header that has not all arrived.
    header: [u8; MAX_HEADER_LEN],
    header_len: u8,
    frame: Option<Frame>,
    message: Option<Message>,
    /// The payload of a control frame, at most [`MAX_CONTROL_LEN`].
    pub control: Vec<u8>,
}

impl Partial {
    /// Whether the peer is between two messages, so that this can go.
    pub fn is_at_boundary(&self) -> bool {
        self.header_len == 0 && self.frame.is_none() && self.message.is_none()
    }

    /// Bytes that are certain to belong to the message under way; 0: there is none.
    pub fn left_of_message(&self) -> usize {
        match (&self.message, &self.frame) {
            (None, _) => 0,
            (_, Some(frame)) => usize::try_from(frame.left).unwrap_or(usize::MAX),
            // The rest of a header: 2 bytes, and the key, and what the second says of a longer length.
            (_, None) => match (self.header_len, self.header[1] & 0x7f) {
                (before @ 0..2, _) => 6 - usize::from(before),
                (before, 126) => 8 - usize::from(before),
                (before, 127) => 14 - usize::from(before),
                (before, _) => 6 - usize::from(before),
            },
        }
    }

    /// Answers the rest of the buffer, in place. At each message boundary `fast_path` may answer whole frames, as many as it
    /// will; it need not answer any.
    ///
    /// # Errors
    /// [`End`], after which nothing more may be fed.
    pub fn feed(
        &mut self,
        buffer: &mut [u8],
        done: &mut Echoed,
        max_message_len: usize,
        fast_path: impl Fn(&mut Echoed, &mut [u8], usize),
    ) -> Result<(), End> {
        loop {
            if self.is_at_boundary() {
                fast_path(done, buffer, max_message_len);
            }
            if done.consumed == buffer.len() {
                return Ok(());
            }
            self.step(buffer, done, max_message_len)?;
        }
    }

    /// Takes the rest of a header, or some payload.
    fn step(&mut self, buffer: &mut [u8], done: &mut Echoed, max_message_len: usize) -> Result<(), End> {
        if self.frame.is_none() {
            done.consumed += self.take_header(&buffer[done.consumed..], max_message_len)?;
        }
        let Some(frame) = &mut self.frame else { return Ok(()) };
        let rest = buffer.len() - done.consumed;
        let len = usize::try_from(frame.left).map_or(rest, |left| left.min(rest));
        let piece = done.consumed..done.consumed + len;
        mask::apply(&mut buffer[piece.clone()], frame.key, 0);
        frame.key.rotate_left(len % 4);
        frame.left -= len as u64;
        let (opcode, is_whole, fin) = (frame.opcode, frame.left == 0, frame.left == 0 && frame.fin);
        if is_whole {
            self.frame = None;
        }
        if opcode.is_control() {
            done.consumed = piece.end;
            self.control.extend_from_slice(&buffer[piece]);
            return if is_whole { self.answer_control(opcode, buffer, done) } else { Ok(()) };
        }
        let message = self.message.as_mut().expect("begun with its first frame");
        if message.opcode == Opcode::Text {
            message.cut.check(&buffer[piece.clone()], fin)?;
        }
        if piece.is_empty() && !fin {
            return Ok(());
        }
        let opcode = if message.is_answered { Opcode::Continuation } else { message.opcode };
        message.is_answered = true;
        if fin {
            done.count.messages += 1;
            done.count.bytes += message.len;
            self.message = None;
        }
        done.append(buffer, Header { fin, ..Header::server(opcode, len) }, piece);
        Ok(())
    }

    /// Returns the bytes taken.
    fn take_header(&mut self, input: &[u8], max_message_len: usize) -> Result<usize, Violation> {
        let before = usize::from(self.header_len);
        let copied = (MAX_HEADER_LEN - before).min(input.len());
        self.header[before..before + copied].copy_from_slice(&input[..copied]);
        match Header::parse(&self.header[..before + copied])? {
            None => {
                self.header_len += copied as u8;
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
        let Header { opcode, fin, len, mask } = header;
        let key = mask.ok_or(Violation::Unmasked)?;
        if !opcode.is_control() {
            match (&self.message, opcode) {
                (None, Opcode::Continuation) => return Err(Violation::StrayContinuation),
                (Some(_), Opcode::Text | Opcode::Binary) => return Err(Violation::UnfinishedMessage),
                _ => {}
            }
            let new = || Message { opcode, is_answered: false, len: 0, cut: Cut::default() };
            let message = self.message.get_or_insert_with(new);
            if len > (max_message_len - message.len) as u64 {
                return Err(Violation::TooBig);
            }
            message.len += len as usize;
        }
        self.frame = Some(Frame { opcode, fin, key, left: len });
        Ok(())
    }

    /// A control frame has arrived.
    fn answer_control(&mut self, opcode: Opcode, buffer: &mut [u8], done: &mut Echoed) -> Result<(), End> {
        let body = std::mem::take(&mut self.control);
        match opcode {
            Opcode::Close => {
                check_close(&body)?;
                return Err(End::Peer(body));
            }
            Opcode::Ping => {
                let payload = done.consumed - body.len()..done.consumed;
                buffer[payload.clone()].copy_from_slice(&body);
                done.append(buffer, Header::server(Opcode::Pong, body.len()), payload);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Checks the body of a Close frame (section 5.5.1): nothing, or a status code and a reason in UTF-8.
fn check_close(body: &[u8]) -> Result<(), Violation> {
    match body {
        [] => Ok(()),
        [_, _, reason @ ..] if str::from_utf8(reason).is_err() => Err(Violation::BadUtf8),
        [high, low, ..] if is_sendable(u16::from_be_bytes([*high, *low])) => Ok(()),
        _ => Err(Violation::BadClose),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` to `partial` in one piece, without a fast path, and returns its answer.
    fn feed(partial: &mut Partial, bytes: &[u8]) -> (Vec<u8>, Result<(), End>) {
        let mut buffer = [&[0; HEADROOM], bytes].concat();
        let mut done = Echoed::from(HEADROOM);
        let result = partial.feed(&mut buffer, &mut done, 1 << 20, |_, _, _| ());
        (buffer[done.answers].to_vec(), result)
    }

    #[test]
    fn each_piece_of_a_message_is_answered_when_it_arrives() {
        let mut partial = Partial::default();
        for (bytes, answer) in [
            // FIN, binary | MASK, 5 | key 1 2 3 4 | no payload yet
            (&[0x82, 0x85, 1, 2, 3, 4][..], &[][..]),
            (&[1, 2], &[0x02, 2, 0, 0]),
            (&[3], &[0x00, 1, 0]),
            // the rest | a Ping of one byte, without that byte
            (&[4, 1, 0x89, 0x81, 7, 7, 7, 7], &[0x80, 2, 0, 0]),
            // the byte of the Ping | FIN, text | MASK, 1 | key 0 | "a" | half a header
            (&[7, 0x81, 0x81, 0, 0, 0, 0, b'a', 0x82], &[0x8a, 1, 0, 0x81, 1, b'a']),
        ] {
            assert_eq!(feed(&mut partial, bytes), (answer.to_vec(), Ok(())), "after {bytes:?}");
        }
        assert!(partial.left_of_message() == 0 && !partial.is_at_boundary());
    }

    /// Reads of at most `left_of_message` end exactly at the end of the message.
    #[test]
    fn what_is_left_of_a_message_never_exceeds_its_end() {
        for lens in [[1, 0, 125], [126, 70_000, 3], [65_535, 65_536, 0]] {
            let mut bytes = Vec::new();
            for (i, len) in lens.into_iter().enumerate() {
                let opcode = if i == 0 { Opcode::Binary } else { Opcode::Continuation };
                let header = Header { fin: i == 2, opcode, mask: Some([0; 4]), len };
                let mut encoded = [0; MAX_HEADER_LEN];
                let header_len = header.write(&mut encoded);
                bytes.extend_from_slice(&encoded[..header_len]);
                bytes.resize(bytes.len() + len as usize, 0);
            }
            let (mut partial, mut at) = (Partial::default(), MAX_HEADER_LEN);
            feed(&mut partial, &bytes[..at]).1.unwrap();
            while partial.left_of_message() > 0 {
                let end = at + partial.left_of_message().min(1000);
                feed(&mut partial, &bytes[at..end]).1.unwrap();
                at = end;
            }
            assert_eq!((at, partial.is_at_boundary()), (bytes.len(), true), "{lens:?}");
        }
    }

    #[test]
    fn the_longest_control_frame_is_answered_wherever_it_is_split() {
        let ping: Vec<u8> = [0x89, 0xfd, 0, 0, 0, 0].into_iter().chain(0..125).collect();
        let pong: Vec<u8> = [0x8a, 125].into_iter().chain(0..125).collect();
        for cut in 1..ping.len() {
            let mut partial = Partial::default();
            assert_eq!(feed(&mut partial, &ping[..cut]), (vec![], Ok(())));
            assert_eq!(feed(&mut partial, &ping[cut..]), (pong.clone(), Ok(())), "split at {cut}");
        }
    }

    #[test]
    fn invalid_text_is_rejected_before_its_frame_is_complete() {
        let mut partial = Partial::default();
        // FIN, text | MASK, 10 | key 0 | "é" in two pieces, then invalid UTF-8
        assert_eq!(feed(&mut partial, &[0x81, 0x8a, 0, 0, 0, 0, 0xc3]), (vec![0x01, 1, 0xc3], Ok(())));
        assert_eq!(feed(&mut partial, &[0xa9]), (vec![0x00, 1, 0xa9], Ok(())));
        assert_eq!(feed(&mut partial, &[0xff]).1, Err(End::Violation(Violation::BadUtf8)));
    }

    #[test]
    fn at_a_boundary_only_between_messages() {
        let mut partial = Partial::default();
        for (bytes, at_boundary) in [
            (&[0x01][..], false),               // half a header
            (&[0x80, 0, 0, 0, 0], false),       // an empty text fragment, not the last
            (&[0x89, 0x80, 0, 0, 0, 0], false), // a Ping
            (&[0x80, 0x80, 0, 0, 0, 0], true),  // the last fragment
            (&[0x89, 0x80, 0, 0, 0], false),    // most of a Ping
            (&[0], true),
        ] {
            feed(&mut partial, bytes).1.unwrap();
            assert_eq!(partial.is_at_boundary(), at_boundary, "after {bytes:?}");
        }
    }

    /// The cost of each stalled peer, whatever it has sent.
    #[test]
    fn an_unfinished_message_costs_at_most_72_bytes() {
        assert!(size_of::<Partial>() <= 72, "{}", size_of::<Partial>());
        let mut partial = Partial::default();
        feed(&mut partial, &[&[0x82, 0xfe, 0xff, 0xff, 0, 0, 0, 0], &[0; 60_000][..]].concat()).1.unwrap();
        assert_eq!(partial.control.capacity(), 0);
    }
}
