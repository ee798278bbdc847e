//! What a shard receives: the answer to the upgrade, echoes, control frames.

use super::failures::Class;
use super::handshake::Answer;
use super::payload;
use super::shard::Shard;
use super::slots::{CLOSE_SEEN, INBOX, State, UNASKED};
use common::frame::{Header, Opcode};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

/// What has arrived of something that has not arrived whole.
#[derive(Debug)]
pub(super) enum Inbox {
    /// Octets of a head: an HTTP response, a frame header, a control frame. At most 8 KiB.
    Head(Vec<u8>),
    /// An echo whose header and first `verified` octets of payload were as they should be.
    Echo { verified: usize },
}

impl Shard {
    /// Reads what there is. `hangup`: the peer has ended its side, so a short read does not mean that that was all.
    #[inline]
    pub(super) fn readable(&mut self, index: u32, hangup: bool, buffer: &mut [u8]) {
        loop {
            let slot = &self.slots[index];
            match recv(slot.socket(), &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => return self.ended(index),
                Ok((len, _)) => {
                    let now_ns = self.now_ns();
                    self.received(index, &buffer[..len], now_ns);
                    if (len < buffer.len() && !hangup) || self.slots[index].state == State::Free {
                        return;
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                // The server has answered our Close and cut the connection off: closed is closed.
                Err(Errno::CONNRESET) if slot.has(CLOSE_SEEN) => return self.ended(index),
                Err(error) => return self.lost_in(index, "recv", error),
            }
        }
    }

    /// The peer has closed the connection.
    #[cold]
    fn ended(&mut self, index: u32) {
        let slot = &self.slots[index];
        match slot.state {
            State::Closing if slot.has(CLOSE_SEEN) => {
                if !slot.has(UNASKED) {
                    self.outcome.closed += 1;
                    self.outcome.last_ns = self.now_ns();
                }
                // An ordinary close: the peer closed first, so nothing stays in TIME_WAIT here.
                self.remove(index);
            }
            State::Connecting | State::Upgrading => {
                self.lost(index, Class::Reset, || "the server hung up during the handshake".to_owned());
            }
            _ => self.lost(index, Class::Reset, || "the server hung up without a Close frame".to_owned()),
        }
    }

    #[inline]
    fn received(&mut self, index: u32, bytes: &[u8], now_ns: u64) {
        let slot = &mut self.slots[index];
        if !slot.has(INBOX) {
            return self.read(index, bytes, now_ns);
        }
        slot.flags &= !INBOX;
        match self.inboxes.remove(&index) {
            Some(Inbox::Head(mut head)) => {
                head.extend_from_slice(bytes);
                self.read(index, &head, now_ns);
            }
            Some(Inbox::Echo { verified }) => {
                if let Some(len) = self.read_echo(index, bytes, verified, now_ns) {
                    self.read(index, &bytes[len..], now_ns);
                }
            }
            None => unreachable!("the flag says that there is one"),
        }
    }

    /// Reads what begins at the beginning of something.
    #[inline]
    fn read(&mut self, index: u32, bytes: &[u8], now_ns: u64) {
        let mut rest = bytes;
        if self.slots[index].state == State::Upgrading {
            match self.setup.handshake.judge(bytes) {
                Answer::Partial => return self.keep_for_later(index, Inbox::Head(bytes.to_vec())),
                Answer::Refused(class, why) => return self.lost(index, class, || why.clone()),
                Answer::Accepted(head_len) => {
                    rest = &bytes[head_len..];
                    if !self.opened(index, now_ns) {
                        return;
                    }
                }
            }
        }
        while !rest.is_empty() {
            match self.read_frame(index, rest, now_ns) {
                Some(len) => rest = &rest[len..],
                None => return,
            }
        }
    }

    fn keep_for_later(&mut self, index: u32, inbox: Inbox) {
        self.slots[index].flags |= INBOX;
        self.inboxes.insert(index, inbox);
    }

    /// Reads one frame, and returns the octets it took. `None`: that was all there is, or all that is wanted.
    #[inline]
    fn read_frame(&mut self, index: u32, bytes: &[u8], now_ns: u64) -> Option<usize> {
        let slot = &self.slots[index];
        if bytes.starts_with(&self.echo_head) && slot.sent != slot.echoed {
            let head_len = self.echo_head.len();
            return self.read_echo(index, &bytes[head_len..], 0, now_ns).map(|len| head_len + len);
        }
        self.read_other_frame(index, bytes, now_ns)
    }

    /// The same, where it is no echo that is due, or its head is not all there.
    #[cold]
    fn read_other_frame(&mut self, index: u32, bytes: &[u8], now_ns: u64) -> Option<usize> {
        let (header, head_len) = match Header::parse(bytes) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => {
                self.keep_for_later(index, Inbox::Head(bytes.to_vec()));
                return None;
            }
            Err(violation) => {
                self.wrong(index, || format!("the server broke the protocol: {violation}"));
                return None;
            }
        };
        if header.opcode.is_control() {
            return self.read_control(index, header, head_len, bytes, now_ns);
        }
        let slot = &self.slots[index];
        let unasked = slot.sent == slot.echoed;
        self.wrong(index, || match unasked {
            true => "a message came that answers none".to_owned(),
            false => format!("a message came that is no echo of what was sent: {header:?}"),
        });
        None
    }

    /// Compares what has come of an echo's payload, from octet `verified` on, and returns the octets it took if
    /// that was the last of it.
    #[inline]
    fn read_echo(&mut self, index: u32, bytes: &[u8], verified: usize, now_ns: u64) -> Option<usize> {
        let piece = &bytes[..bytes.len().min(self.setup.payload_len - verified)];
        let sequence = self.slots[index].echoed;
        let seed = payload::seed(self.setup.number, index, self.phase_number, sequence);
        if !payload::matches(piece, seed, verified) {
            self.wrong(index, || "an echo is not what was sent".to_owned());
            return None;
        }
        if verified + piece.len() < self.setup.payload_len {
            self.keep_for_later(index, Inbox::Echo { verified: verified + piece.len() });
            return None;
        }
        self.echoed(index, now_ns).then_some(piece.len())
    }

    /// Answers a control frame, and returns the octets it took.
    #[cold]
    fn read_control(
        &mut self,
        index: u32,
        header: Header,
        head_len: usize,
        bytes: &[u8],
        now_ns: u64,
    ) -> Option<usize> {
        let len = head_len + header.len as usize;
        let Some(body) = bytes.get(head_len..len) else {
            self.keep_for_later(index, Inbox::Head(bytes.to_vec()));
            return None;
        };
        if header.mask.is_some() {
            self.wrong(index, || "a frame from the server is masked".to_owned());
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

    /// The server's Close frame: the answer to ours, or unasked, which is a failure.
    fn close_received(&mut self, index: u32, body: &[u8], now_ns: u64) {
        let slot = &mut self.slots[index];
        slot.flags |= CLOSE_SEEN;
        if slot.state == State::Closing {
            return;
        }
        let code = body.first_chunk().map(|&code| u16::from_be_bytes(code));
        let why = || match code {
            Some(code) => format!("the server closed a connection, code {code}"),
            None => "the server closed a connection".to_owned(),
        };
        if !self.returns(index, Class::Closed, &why) {
            self.failed(Class::Closed, why);
        }
        // Its echo will not come any more.
        let slot = &mut self.slots[index];
        slot.flags |= UNASKED;
        self.outstanding -= u64::from(slot.sent - slot.echoed);
        slot.sent = slot.echoed;
        let code = &body[..body.len().min(2)];
        if self.send_control(index, Opcode::Close, code) {
            self.now_closing(index, now_ns);
        }
    }

    /// A connection that has said something wrong is not to be trusted with the rest.
    #[cold]
    fn wrong(&mut self, index: u32, why: impl Fn() -> String) {
        self.lost(index, Class::WrongEcho, why);
    }
}
