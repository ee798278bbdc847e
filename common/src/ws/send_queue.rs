//! Frames that are not sent yet.

use super::frame::{CloseCode, Header, MAX_HEADER_LEN, Opcode};

/// A server's Ping without payload: FIN and the opcode; no mask, length 0.
pub const EMPTY_PING: [u8; 2] = [0x80 | Opcode::Ping as u8, 0];

/// A server's Close frame with a code and no reason.
pub fn close_frame(code: CloseCode) -> [u8; 4] {
    let [high, low] = (code as u16).to_be_bytes();
    [0x80 | Opcode::Close as u8, 2, high, low]
}

/// Sent bytes that are kept before the unsent ones behind them move to the front.
const SENT_LEN: usize = 64 * 1024;

/// Bytes to be sent once the socket is writable: mostly none.
#[derive(Debug, Default)]
pub struct SendQueue {
    bytes: Vec<u8>,
    sent: usize,
    /// Where the last frame begins, if it is a fragment of which nothing is sent, and more may join it.
    open_fragment: Option<usize>,
}

impl SendQueue {
    /// Bytes of memory in use: the unsent ones, and some that were sent.
    pub fn held(&self) -> usize {
        self.bytes.len()
    }

    /// Whether everything is sent.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes to send next.
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// The socket has taken the first `len` of the unsent bytes.
    pub fn sent(&mut self, len: usize) {
        self.sent += len;
        if self.open_fragment.is_some_and(|start| start < self.sent) {
            self.open_fragment = None;
        }
        if self.sent == self.bytes.len() {
            *self = SendQueue::default();
        } else if self.sent >= SENT_LEN.max(self.bytes.len() / 2) {
            self.bytes.drain(..self.sent);
            self.open_fragment = self.open_fragment.map(|start| start - self.sent);
            self.sent = 0;
        }
    }

    /// Adds bytes as they are, such as the rest of a frame.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.open_fragment = None;
    }

    /// Adds an unmasked frame, the only one of its message.
    pub fn push_frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut header = [0; MAX_HEADER_LEN];
        let len = Header::server(opcode, payload.len()).write(&mut header);
        self.push(&header[..len]);
        self.push(payload);
    }

    /// Adds whole frames. A fragment joins the one before it: a message that comes byte by byte, to a peer that does not
    /// read, would otherwise take three times its length.
    pub fn push_frames(&mut self, mut frames: &[u8]) {
        while let Ok(Some((header, header_len))) = Header::parse(frames) {
            let (frame, behind) = frames.split_at(header_len + header.len as usize);
            match self.open_fragment {
                Some(start) if header.opcode == Opcode::Continuation => {
                    self.extend_fragment(start, &frame[header_len..], header.fin);
                }
                _ => {
                    let start = self.bytes.len();
                    self.bytes.extend_from_slice(frame);
                    self.open_fragment = (!header.fin).then_some(start);
                }
            }
            frames = behind;
        }
    }

    fn extend_fragment(&mut self, start: usize, payload: &[u8], fin: bool) {
        let (before, before_len) =
            Header::parse(&self.bytes[start..]).ok().flatten().expect("ours, and whole");
        let header = Header { fin, len: before.len + payload.len() as u64, ..before };
        let mut bytes = [0; MAX_HEADER_LEN];
        let header_len = header.write(&mut bytes);
        self.bytes.extend_from_slice(payload);
        // It grows twice at most: at 126 bytes, and at 64 KiB.
        self.bytes.splice(start..start + before_len, bytes[..header_len].iter().copied());
        if fin {
            self.open_fragment = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
        let header = Header { fin, ..Header::server(opcode, payload.len()) };
        let mut bytes = [0; MAX_HEADER_LEN];
        let len = header.write(&mut bytes);
        [&bytes[..len], payload].concat()
    }

    #[test]
    fn fragments_of_one_byte_are_joined_into_one_frame() {
        let mut queue = SendQueue::default();
        queue.push_frames(&fragment(Opcode::Binary, false, &[0]));
        let message: Vec<u8> = (0..70_000).map(|i| i as u8).collect();
        (1..message.len() - 1)
            .for_each(|i| queue.push_frames(&fragment(Opcode::Continuation, false, &message[i..=i])));
        queue.push_frames(&fragment(Opcode::Continuation, true, &message[message.len() - 1..]));
        assert_eq!(queue.unsent(), fragment(Opcode::Binary, true, &message));
    }

    #[test]
    fn nothing_joins_a_partly_sent_fragment_or_a_whole_message() {
        let [first, second] =
            [Opcode::Binary, Opcode::Continuation].map(|opcode| fragment(opcode, false, b"ab"));
        for (before, sent) in [
            (&first, 1),
            (&fragment(Opcode::Binary, true, b"ab"), 0),
            (&fragment(Opcode::Pong, true, b"ab"), 0),
        ] {
            let mut queue = SendQueue::default();
            queue.push_frames(before);
            queue.sent(sent);
            queue.push_frames(&second);
            queue.push_frames(&second);
            let joined = fragment(Opcode::Continuation, false, b"abab");
            assert_eq!(queue.unsent(), [&before[sent..], &joined].concat());
        }
    }

    #[test]
    fn sent_bytes_are_discarded() {
        let mut queue = SendQueue::default();
        queue.push(&[1; 2 * SENT_LEN]);
        queue.push_frames(&fragment(Opcode::Binary, false, b"a"));
        queue.sent(SENT_LEN - 1);
        assert_eq!(queue.held(), 2 * SENT_LEN + 3);
        queue.sent(SENT_LEN);
        assert_eq!(queue.held(), 4);
        queue.push_frames(&fragment(Opcode::Continuation, true, b"b"));
        assert_eq!(queue.unsent(), [&[1][..], &fragment(Opcode::Binary, true, b"ab")].concat());
        queue.sent(5);
        assert!(queue.is_empty() && queue.bytes.capacity() == 0);
    }

    #[test]
    fn frames_without_a_queue_are_those_with_one() {
        let mut queue = SendQueue::default();
        queue.push_frame(Opcode::Ping, &[]);
        queue.push_frame(Opcode::Close, &1013u16.to_be_bytes());
        let frames = [&EMPTY_PING[..], &close_frame(CloseCode::TryAgainLater)].concat();
        assert_eq!(queue.unsent(), frames);
    }
}
