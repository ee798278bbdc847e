//! Receives responses to the upgrade, whole echoes and control frames.

use super::advice::NOT_GREETED;
use super::class::Class;
use super::handshake::Answer;
use super::payload;
use super::reply::MASKED;
use super::shard::Shard;
use super::slots::{CLOSE_SEEN, FRAGMENTED, INBOX, PUSHED, Slot, State, UNASKED};
use crate::words::quoted;
use common::frame::{Header, Opcode};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

impl Shard {
    /// Reads until the socket is exhausted. `hangup`: the peer has half-closed, so a short read does not mean that.
    #[inline]
    pub(super) fn readable(&mut self, index: u32, hangup: bool, buffer: &mut [u8]) {
        loop {
            let slot = &self.slots[index];
            match recv(slot.socket(), &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => return self.ended(index),
                Ok((len, _)) => {
                    let now_ns = self.now_ns();
                    if self.tls.is_some() {
                        self.received_tls(index, &mut buffer[..len], now_ns);
                    } else {
                        self.received(index, &buffer[..len], now_ns);
                    }
                    if (len < buffer.len() && !hangup) || self.slots[index].state == State::Free {
                        return;
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                // The server has answered our Close and reset the connection: count it as closed.
                Err(Errno::CONNRESET) if slot.has(CLOSE_SEEN) => return self.ended(index),
                Err(error) => {
                    if !self.refused_so_far(index) {
                        self.lost_in(index, "recv", error);
                    }
                    return;
                }
            }
        }
    }

    /// The peer has closed the connection.
    #[cold]
    pub(super) fn ended(&mut self, index: u32) {
        if self.refused_so_far(index) {
            return;
        }
        let slot = &self.slots[index];
        match slot.state {
            State::Closing if slot.has(CLOSE_SEEN) => {
                if !slot.has(UNASKED) {
                    self.outcome.closed += 1;
                    self.outcome.last_ns = self.now_ns();
                }
                // The peer closed first, so this end has no TIME_WAIT.
                self.remove(index);
            }
            State::Tunnelling => {
                self.lost(index, Class::Reset, || "it closed the connection during CONNECT".to_owned())
            }
            State::Greeting => self.lost(index, Class::Reset, || NOT_GREETED.to_owned()),
            state if state.is_opening() => {
                let tls = if state == State::Securing { "TLS " } else { "" };
                self.lost(index, Class::Reset, || {
                    format!("the server closed the connection during the {tls}handshake")
                });
            }
            _ => self.lost(index, Class::Reset, || {
                "the server closed the connection without a Close frame".to_owned()
            }),
        }
    }

    /// Handles received bytes, which may begin and end anywhere in a frame.
    // Without the attribute it is not inlined, since TLS calls it too.
    #[inline(always)]
    pub(super) fn received(&mut self, index: u32, bytes: &[u8], now_ns: u64) {
        let slot = &mut self.slots[index];
        if !slot.has(INBOX) {
            return self.read(index, bytes, now_ns);
        }
        slot.flags &= !INBOX;
        let mut begun = self.inboxes.remove(&index).expect("the flag says that there is one");
        begun.extend_from_slice(bytes);
        self.read(index, &begun, now_ns);
    }

    /// Continues where the previous bytes ended, or at the beginning of a head.
    #[inline]
    fn read(&mut self, index: u32, bytes: &[u8], now_ns: u64) {
        let mut rest = bytes;
        if self.slots[index].state < State::Greeting {
            match self.read_heads(index, bytes, now_ns) {
                Some(len) => rest = &bytes[len..],
                None => return,
            }
        }
        while !rest.is_empty() {
            let taken = match self.slots[index] {
                Slot { owed: 0, .. } => self.read_frame(index, rest, now_ns),
                Slot { verified, owed, .. } => self.read_payload(index, rest, (verified, owed), now_ns),
            };
            match taken {
                Some(len) => rest = &rest[len..],
                None => return,
            }
        }
    }

    /// Reads the responses before the first frame, and returns their length. `None`: nothing is left to read, or the
    /// connection is lost.
    #[cold]
    fn read_heads(&mut self, index: u32, bytes: &[u8], now_ns: u64) -> Option<usize> {
        let mut tunnel_len = 0;
        if self.slots[index].state == State::Tunnelling {
            tunnel_len = self.tunnel_answered(index, bytes)?;
            if tunnel_len == bytes.len() {
                return None;
            }
        }
        let bytes = &bytes[tunnel_len..];
        // Only the first failure is described, so only its body is awaited.
        let may_wait = self.outcome.failures.first.is_none();
        match self.setup.handshake.judge(bytes, may_wait) {
            Answer::Partial => self.keep_for_later(index, bytes),
            Answer::Refused(class, why) => self.lost(index, class, || why.clone()),
            Answer::Accepted(head_len) => {
                return self.accepted(index, now_ns).then_some(tunnel_len + head_len);
            }
        }
        None
    }

    /// The server has accepted the upgrade. False: the connection was lost at once.
    fn accepted(&mut self, index: u32, now_ns: u64) -> bool {
        if self.setup.messages.greetings == 0 {
            return self.opened(index, now_ns);
        }
        self.slots[index].state = State::Greeting;
        true
    }

    /// Keeps a partial head or control frame: of an HTTP response at most 8 KiB and what was read with their end, otherwise
    /// at most 131 bytes.
    #[cold]
    pub(super) fn keep_for_later(&mut self, index: u32, begun: &[u8]) {
        self.slots[index].flags |= INBOX;
        self.inboxes.insert(index, begun.to_vec());
    }

    /// Reads a frame, the beginning of one, or a run of whole replies; returns the bytes it consumed. `None`: nothing is
    /// left to read, or the connection is closing or lost.
    #[inline]
    fn read_frame(&mut self, index: u32, bytes: &[u8], now_ns: u64) -> Option<usize> {
        match self.whole_replies(index, bytes) {
            0 => self.read_other_frame(index, bytes, now_ns),
            count => self.echoed(index, count, now_ns).then_some(count as usize * self.reply_len),
        }
    }

    /// The number of leading replies that match and are a single frame each. That is the common case: the head is known.
    #[inline]
    fn whole_replies(&self, index: u32, bytes: &[u8]) -> u32 {
        let slot = &self.slots[index];
        if slot.has(FRAGMENTED) {
            return 0;
        }
        let (mut sequence, mut rest) = (slot.echoed, bytes);
        while sequence != slot.sent
            && let Some((reply, after)) = rest.split_at_checked(self.reply_len)
        {
            let (head, payload) = reply.split_at(self.echo_head.len());
            let seed = payload::seed(self.setup.number, index, self.phase_number, sequence);
            // The head of a short frame by itself: its two bytes are one comparison, which is less than a memcmp call.
            let is_due = head.first_chunk::<2>() == self.echo_head.first_chunk()
                && (head.len() == 2 || head[2..] == self.echo_head[2..]);
            if !is_due || !payload::matches(payload, seed, 0) {
                break;
            }
            (sequence, rest) = (sequence + 1, after);
        }
        sequence - slot.echoed
    }

    /// Answers a control frame, and returns its length.
    #[cold]
    pub(super) fn read_control(
        &mut self,
        index: u32,
        header: Header,
        head_len: usize,
        bytes: &[u8],
        now_ns: u64,
    ) -> Option<usize> {
        let len = head_len + header.len as usize;
        let Some(body) = bytes.get(head_len..len) else {
            self.keep_for_later(index, bytes);
            return None;
        };
        if header.mask.is_some() {
            self.wrong(index, || MASKED.to_owned());
            return None;
        }
        match header.opcode {
            Opcode::Ping => {
                self.outcome.pings += 1;
                self.send_control(index, Opcode::Pong, body).then_some(len)
            }
            Opcode::Close => {
                self.close_received(index, body, now_ns);
                None
            }
            _ => Some(len),
        }
    }

    /// The server's Close frame: the answer to ours, or an unsolicited one, which is a failure.
    fn close_received(&mut self, index: u32, body: &[u8], now_ns: u64) {
        let slot = &mut self.slots[index];
        slot.flags |= CLOSE_SEEN;
        if slot.state == State::Closing {
            return;
        }
        let code = body.first_chunk().map(|&code| u16::from_be_bytes(code));
        let reason = body.get(2..).filter(|reason| !reason.is_empty());
        let said = || reason.map_or(String::new(), |reason| format!(", reason {}", quoted(reason)));
        let why = || match code {
            Some(code) => format!("the server closed a connection with code {code}{}", said()),
            None => "the server closed a connection without a code".to_owned(),
        };
        if slot.state == State::Greeting {
            return self.lost(index, Class::Closed, why);
        }
        if !self.returns(index, Class::Closed, &why) {
            self.failed(self.slots[index].address, Class::Closed, why);
        }
        // No echo will follow.
        let slot = &mut self.slots[index];
        slot.flags = slot.flags & !(FRAGMENTED | PUSHED) | UNASKED;
        slot.verified = 0;
        self.outstanding -= u64::from(slot.sent - slot.echoed);
        slot.sent = slot.echoed;
        let code = &body[..body.len().min(2)];
        if self.send_control(index, Opcode::Close, code) {
            self.now_closing(index, now_ns);
        }
    }

    /// Drops a connection whose server sent wrong data: what follows cannot be trusted either.
    #[cold]
    pub(super) fn wrong(&mut self, index: u32, why: impl Fn() -> String) {
        self.lost(index, Class::WrongEcho, why);
    }
}
