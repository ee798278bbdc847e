//! Frames that wait to be sent.

use common::frame::{CloseCode, Header, MAX_HEADER_LEN, Opcode};

/// Sent bytes that are kept before the unsent ones behind them move to the front.
pub const SENT_LEN: usize = 64 * 1024;

/// Bytes that wait to be sent: mostly none.
#[derive(Debug, Default)]
pub struct Output {
    pub bytes: Vec<u8>,
    sent: usize,
    /// Where the last frame begins, if it is a fragment of which nothing is sent, and more may join it.
    open_fragment: Option<usize>,
}

impl Output {
    /// Bytes that it keeps.
    pub fn held(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub fn sent(&mut self, len: usize) {
        self.sent += len;
        if self.open_fragment.is_some_and(|start| start < self.sent) {
            self.open_fragment = None;
        }
        if self.sent == self.bytes.len() {
            *self = Output::default();
        } else if self.sent >= SENT_LEN.max(self.bytes.len() / 2) {
            self.bytes.drain(..self.sent);
            self.open_fragment = self.open_fragment.map(|start| start - self.sent);
            self.sent = 0;
        }
    }

    /// Adds bytes as they are: the rest of a frame, say.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.open_fragment = None;
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
