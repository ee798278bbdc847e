//! What a shard sends: messages, control frames, and the rest of what did not fit into the socket.

use super::payload;
use super::phase::Phase;
use super::shard::{READABLE, Shard};
use super::slots::{CLOSE_SEEN, OUTBOX, State};
use common::frame::{CloseCode, Header, MAX_CONTROL_LEN, MAX_HEADER_LEN, Opcode};
use common::mask;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

/// Octets of control frames that may wait behind a message: a server that sends pings but reads no pongs is given
/// up rather than remembered.
const MAX_WAITING: usize = 64 * 1024;

/// What a socket has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    written: usize,
    /// Messages of the open loop that have come due since.
    owed: u32,
}

impl Shard {
    /// A masking key. Unpredictable keys protect proxies from scripts (RFC 6455, section 10.3); here they only have
    /// to differ from message to message, so that the server has to unmask.
    #[inline]
    fn masking_key(&mut self) -> [u8; 4] {
        let mut x = self.mask_state;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.mask_state = x;
        ((x >> 32) as u32).to_ne_bytes()
    }

    /// Sends the next message of an open connection. False: the connection is lost.
    #[inline]
    pub(super) fn send_message(&mut self, index: u32, now_ns: u64) -> bool {
        let key = self.masking_key();
        let slot = &mut self.slots[index];
        let seed = payload::seed(self.setup.number, index, self.phase_number, slot.sent);
        slot.sent += 1;
        slot.since_ns = now_ns;
        self.outstanding += 1;
        self.totals.sent += 1;
        // What comes before the key is the same in every message, and written already.
        let (head, body) = self.message.split_at_mut(self.message_head_len);
        *head.last_chunk_mut().expect("a head ends with the key") = key;
        payload::fill(body, seed, key);
        let message = std::mem::take(&mut self.message);
        let sent = self.transmit(index, &message);
        self.message = message;
        sent
    }

    /// Sends a control frame. False: the connection is lost.
    pub(super) fn send_control(&mut self, index: u32, opcode: Opcode, body: &[u8]) -> bool {
        let key = self.masking_key();
        let header = Header { fin: true, opcode, mask: Some(key), len: body.len() as u64 };
        let mut frame = [0; MAX_HEADER_LEN + MAX_CONTROL_LEN];
        let head_len = header.write(&mut frame);
        let end = head_len + body.len();
        frame[head_len..end].copy_from_slice(body);
        mask::apply(&mut frame[head_len..end], key, 0);
        self.transmit(index, &frame[..end])
    }

    /// Begins the closing handshake of an open connection.
    pub(super) fn close(&mut self, index: u32, now_ns: u64) {
        if !self.send_control(index, Opcode::Close, &(CloseCode::Normal as u16).to_be_bytes()) {
            return;
        }
        self.now_closing(index, now_ns);
    }

    /// Counts an open connection among those that are closing, and waits for the server to close it.
    pub(super) fn now_closing(&mut self, index: u32, now_ns: u64) {
        self.leaves(index);
        let slot = &mut self.slots[index];
        (slot.state, slot.since_ns) = (State::Closing, now_ns);
        self.closing += 1;
        self.close_deadlines.push_back((now_ns, index));
    }

    /// Sends a frame, or keeps what the socket does not take. False: the connection is lost.
    #[inline]
    fn transmit(&mut self, index: u32, frame: &[u8]) -> bool {
        let slot = &self.slots[index];
        if slot.has(OUTBOX) {
            return self.keep(index, frame);
        }
        loop {
            match send(slot.socket(), frame, SendFlags::NOSIGNAL) {
                Ok(sent) if sent == frame.len() => return true,
                Ok(sent) => return self.keep(index, &frame[sent..]),
                Err(Errno::AGAIN) => return self.keep(index, frame),
                Err(Errno::INTR) => {}
                // A peer that has answered our Close and is gone need not be told anything more.
                Err(_) if slot.has(CLOSE_SEEN) => return true,
                Err(error) => {
                    self.lost_in(index, "send", error);
                    return false;
                }
            }
        }
    }

    /// Keeps the end of a frame until the socket takes it.
    #[cold]
    fn keep(&mut self, index: u32, end: &[u8]) -> bool {
        let slot = &mut self.slots[index];
        let watched = slot.has(OUTBOX);
        slot.flags |= OUTBOX;
        let outbox = self.outboxes.entry(index).or_default();
        outbox.bytes.extend_from_slice(end);
        if outbox.bytes.len() > self.setup.payload_len + MAX_HEADER_LEN + MAX_WAITING {
            let why = || "the server sends pings but does not read the pongs".to_owned();
            self.lost(index, super::failures::Class::Other, why);
            return false;
        }
        if !watched {
            let socket = self.slots[index].socket();
            // Edge-triggered, but this call looks at the socket anew, so no edge is missed.
            epoll::modify(&self.epoll, socket, EventData::new_u64(index.into()), READABLE | EventFlags::OUT)
                .expect("the socket is registered");
        }
        true
    }

    /// Notes that one more message is due on a connection whose socket is full. False: it is not full.
    #[inline]
    pub(super) fn owe(&mut self, index: u32) -> bool {
        let full = self.slots[index].has(OUTBOX);
        if full {
            self.outboxes.entry(index).or_default().owed += 1;
        }
        full
    }

    /// The socket may have room again. False: the connection is lost.
    pub(super) fn flush(&mut self, index: u32) -> bool {
        let Some(outbox) = self.outboxes.get_mut(&index) else { return true };
        while outbox.written < outbox.bytes.len() {
            match send(self.slots[index].socket(), &outbox.bytes[outbox.written..], SendFlags::NOSIGNAL) {
                Ok(sent) => outbox.written += sent,
                Err(Errno::AGAIN) => return true,
                Err(Errno::INTR) => {}
                Err(error) => {
                    self.lost_in(index, "send", error);
                    return false;
                }
            }
        }
        let owed = outbox.owed;
        self.outboxes.remove(&index);
        self.slots[index].flags &= !OUTBOX;
        let Phase::Open { pace, span, .. } = self.phase else { return true };
        (0..owed).all(|_| self.owe(index) || self.send_due(index, pace, span))
    }
}
