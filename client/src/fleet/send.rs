//! Sends messages and control frames, and output that the socket could not take at once.

use super::messages::Verify;
use super::payload;
use super::shard::{READABLE, Shard};
use super::slots::{CLOSE_SEEN, OUTBOX, State};
use common::frame::{CloseCode, Header, MAX_CONTROL_LEN, MAX_HEADER_LEN, Opcode};
use common::mask;
use common::random::Xorshift;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

/// Most bytes of control frames queued behind a message: a server that sends pings without reading the pongs is
/// disconnected.
const MAX_WAITING: usize = 64 * 1024;

impl Shard {
    /// Sends the next message of an open connection. False: the connection is lost.
    #[inline]
    pub(super) fn send_message(&mut self, index: u32, now_ns: u64) -> bool {
        self.send_messages(index, 1, now_ns)
    }

    /// Sends the next `count` messages of an open connection in one call, at most a round. False: the connection is lost.
    #[inline]
    pub(super) fn send_messages(&mut self, index: u32, count: u32, now_ns: u64) -> bool {
        let len = count as usize * self.frame_len;
        let Some(mut rest) = self.round.get_mut(..len) else {
            return self.send_composed(index, count, now_ns);
        };
        let slot = &mut self.slots[index];
        let (from, to) = (slot.sent, slot.sent + count);
        (slot.sent, slot.since_ns) = (to, now_ns);
        self.outstanding += u64::from(count);
        self.totals.sent += u64::from(count);
        let mut keys = self.mask_keys;
        for sequence in from..to {
            let (frame, next) = rest.split_at_mut(self.frame_len);
            rest = next;
            let key = masking_key(&mut keys);
            // The bytes before the key are the same in every message, and already there.
            let (head, body) = frame.split_at_mut(self.frame_head_len);
            *head.last_chunk_mut().expect("a head ends with the key") = key;
            payload::fill(body, payload::seed(self.setup.number, index, self.phase_number, sequence), key);
        }
        self.mask_keys = keys;
        let sent = self.send_now(index, &self.round[..len]);
        if sent == Ok(len) {
            return true;
        }
        let round = std::mem::take(&mut self.round);
        let kept = self.keep_rest(index, &round[..len], sent);
        self.round = round;
        kept
    }

    /// The same for messages that differ in more than their bytes, or await no reply.
    #[inline(never)]
    fn send_composed(&mut self, index: u32, count: u32, now_ns: u64) -> bool {
        let slot = &mut self.slots[index];
        let (from, to) = (slot.sent, slot.sent + count);
        (slot.sent, slot.since_ns) = (to, now_ns);
        match self.setup.messages.verify {
            Verify::None => slot.echoed = to,
            Verify::Echo | Verify::Any => self.outstanding += u64::from(count),
        }
        self.totals.sent += u64::from(count);
        let mut frames = std::mem::take(&mut self.composed);
        frames.clear();
        for sequence in from..to {
            let seed = payload::seed(self.setup.number, index, self.phase_number, sequence);
            let (key, messages) = (masking_key(&mut self.mask_keys), &self.setup.messages);
            let len = messages.len(seed, self.setup.payload_len);
            let header = Header { mask: Some(key), ..Header::server(messages.opcode(), len) };
            let at = frames.len();
            frames.resize(at + header.encoded_len() + len, 0);
            let head_len = header.write(&mut frames[at..]);
            messages.fill(&mut frames[at + head_len..], seed, key);
        }
        let sent = self.transmit(index, &frames);
        self.composed = frames;
        sent
    }

    /// Sends a control frame. False: the connection is lost.
    pub(super) fn send_control(&mut self, index: u32, opcode: Opcode, body: &[u8]) -> bool {
        let key = masking_key(&mut self.mask_keys);
        let header = Header { fin: true, opcode, mask: Some(key), len: body.len() as u64 };
        let mut frame = [0; MAX_HEADER_LEN + MAX_CONTROL_LEN];
        let head_len = header.write(&mut frame);
        let end = head_len + body.len();
        frame[head_len..end].copy_from_slice(body);
        mask::apply(&mut frame[head_len..end], key, 0);
        self.transmit(index, &frame[..end])
    }

    /// Starts the closing handshake of an open connection.
    pub(super) fn close(&mut self, index: u32, now_ns: u64) {
        if !self.send_control(index, Opcode::Close, &(CloseCode::Normal as u16).to_be_bytes()) {
            return;
        }
        self.now_closing(index, now_ns);
    }

    /// Marks an open connection as closing; the server has until the message timeout to close it.
    pub(super) fn now_closing(&mut self, index: u32, now_ns: u64) {
        self.leaves(index);
        let slot = &mut self.slots[index];
        (slot.state, slot.since_ns) = (State::Closing, now_ns);
        self.closing += 1;
        self.close_deadlines.push_back((now_ns, index));
    }

    /// Sends frames, and queues what the socket does not take. False: the connection is lost.
    fn transmit(&mut self, index: u32, frames: &[u8]) -> bool {
        if self.tls.is_some() { self.send_tls(index, frames) } else { self.send_or_keep(index, frames) }
    }

    /// The same with bytes as the socket is to have them.
    pub(super) fn send_or_keep(&mut self, index: u32, bytes: &[u8]) -> bool {
        match self.send_now(index, bytes) {
            Ok(sent) if sent == bytes.len() => true,
            sent => self.keep_rest(index, bytes, sent),
        }
    }

    /// Sends what the socket takes, and returns its length: 0 if output is queued already.
    #[inline]
    pub(super) fn send_now(&self, index: u32, bytes: &[u8]) -> Result<usize, Errno> {
        let slot = &self.slots[index];
        if slot.has(OUTBOX) {
            return Ok(0);
        }
        loop {
            match send(slot.socket(), bytes, SendFlags::NOSIGNAL) {
                Err(Errno::AGAIN) => return Ok(0),
                Err(Errno::INTR) => {}
                sent => return sent,
            }
        }
    }

    /// Queues the unsent part of `bytes`. False: the connection is lost.
    #[cold]
    fn keep_rest(&mut self, index: u32, bytes: &[u8], sent: Result<usize, Errno>) -> bool {
        match sent {
            Ok(sent) => self.keep(index, &bytes[sent..]),
            // The peer has answered our Close and disconnected: nothing more to send.
            Err(_) if self.slots[index].has(CLOSE_SEEN) => true,
            Err(error) => self.survives(index, error),
        }
    }

    /// send(2) has failed. False: the connection is lost. One that the peer has cut off is lost with the event that reports
    /// it: what arrived before is read first.
    #[cold]
    fn survives(&mut self, index: u32, error: Errno) -> bool {
        let event_follows = matches!(error, Errno::CONNRESET | Errno::PIPE);
        if !event_follows {
            self.lost_in(index, "send", error);
        }
        event_follows
    }

    /// Queues the end of a frame until the socket takes it. False: the connection is lost.
    fn keep(&mut self, index: u32, end: &[u8]) -> bool {
        let slot = &mut self.slots[index];
        let watched = slot.has(OUTBOX);
        slot.flags |= OUTBOX;
        let outbox = self.outboxes.entry(index).or_default();
        outbox.bytes.extend_from_slice(end);
        let round_len = self.setup.in_flight as usize * self.frame_len;
        // Records of TLS add less than 1/256.
        if outbox.bytes.len() > round_len + round_len / 256 + MAX_WAITING {
            let why = || "the server sends pings but does not read the pongs".to_owned();
            self.lost(index, super::class::Class::Other, why);
            return false;
        }
        if !watched {
            let socket = self.slots[index].socket();
            // Edge-triggered, but EPOLL_CTL_MOD reports current readiness, so no edge is missed.
            epoll::modify(&self.epoll, socket, EventData::new_u64(index.into()), READABLE | EventFlags::OUT)
                .expect("the socket is registered");
        }
        true
    }

    /// Counts a due message on a connection whose socket is full. False: the socket is not full.
    #[inline]
    pub(super) fn owe(&mut self, index: u32) -> bool {
        let full = self.slots[index].has(OUTBOX);
        if full {
            self.outboxes.entry(index).or_default().owed += 1;
        }
        full
    }

    /// Sends queued output. Returns the messages that fell due in the meantime once all is sent, and 0 while the socket is
    /// full. `None`: the connection is lost.
    pub(super) fn flush(&mut self, index: u32) -> Option<u32> {
        let Some(outbox) = self.outboxes.get_mut(&index) else { return Some(0) };
        while outbox.written < outbox.bytes.len() {
            match send(self.slots[index].socket(), &outbox.bytes[outbox.written..], SendFlags::NOSIGNAL) {
                Ok(sent) => outbox.written += sent,
                Err(Errno::AGAIN) => return Some(0),
                Err(Errno::INTR) => {}
                Err(error) => return self.survives(index, error).then_some(0),
            }
        }
        let owed = outbox.owed;
        self.outboxes.remove(&index);
        self.slots[index].flags &= !OUTBOX;
        Some(owed)
    }
}

/// The next masking key. Unpredictable keys protect proxies from scripts (RFC 6455, section 10.3); for a load client,
/// keys that differ between messages suffice.
#[inline]
fn masking_key(keys: &mut Xorshift) -> [u8; 4] {
    ((keys.next_u64() >> 32) as u32).to_ne_bytes()
}
