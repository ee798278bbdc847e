//! Replies other than whole echoes of the usual form, and messages that are no replies.
//!
//! They may have any number of fragments (RFC 6455, section 5.4). Echoes are compared as they arrive; of all others only
//! the bytes are counted, so nothing is stored, whatever their length.

use super::advice::GREETED;
use super::messages::Verify;
use super::payload;
use super::phase::Phase;
use super::shard::Shard;
use super::slots::{FRAGMENTED, PUSHED, Slot, State};
use common::frame::{Header, Opcode};

pub(super) const MASKED: &str = "a frame from the server is masked";

/// What a message from the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The echo of a message.
    Echo,
    /// A reply of any content.
    Answer,
    /// No reply.
    Pushed,
    /// It arrived before the connection is used.
    Greeting,
}

impl Shard {
    /// Reads any frame, or the beginning of one; returns the bytes it consumed. `None`: nothing is left to read, or the
    /// connection is closing or lost.
    pub(super) fn read_other_frame(&mut self, index: u32, bytes: &[u8], now_ns: u64) -> Option<usize> {
        let (header, head_len) = match Header::parse(bytes) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => {
                self.keep_for_later(index, bytes);
                return None;
            }
            Err(violation) => {
                self.wrong(index, || format!("the server violated the protocol: {violation}"));
                return None;
            }
        };
        if header.opcode.is_control() {
            return self.read_control(index, header, head_len, bytes, now_ns);
        }
        if self.begins_push(&self.slots[index]) {
            self.slots[index].flags |= PUSHED;
        }
        if let Some(fault) = self.fault(index, &header) {
            self.wrong(index, || format!("{fault}: {header}"));
            return None;
        }
        let slot = &mut self.slots[index];
        if header.fin {
            slot.flags &= !FRAGMENTED
        } else {
            slot.flags |= FRAGMENTED
        }
        let due = (slot.verified, header.len as u32);
        self.read_payload(index, &bytes[head_len..], due, now_ns).map(|len| head_len + len)
    }

    /// Reads payload bytes of a message, of which `verified` bytes came before; `owed` bytes of the frame are left. Returns
    /// the bytes consumed if the frame is complete.
    pub(super) fn read_payload(
        &mut self,
        index: u32,
        bytes: &[u8],
        (verified, owed): (u32, u32),
        now_ns: u64,
    ) -> Option<usize> {
        let piece = &bytes[..bytes.len().min(owed as usize)];
        match self.kind(&self.slots[index]) {
            Kind::Echo => {
                let seed = self.due_seed(index);
                if !self.setup.messages.matches(piece, seed, verified as usize) {
                    self.wrong(index, || "an echo differs from its message".to_owned());
                    return None;
                }
            }
            Kind::Pushed => self.outcome.unsolicited.pushed_bytes += piece.len() as u64,
            Kind::Answer | Kind::Greeting => {}
        }
        let slot = &mut self.slots[index];
        slot.owed = owed - piece.len() as u32;
        let len = verified.saturating_add(piece.len() as u32);
        if slot.owed > 0 || slot.has(FRAGMENTED) {
            slot.verified = len;
            return (slot.owed == 0).then_some(piece.len());
        }
        slot.verified = 0;
        self.ended_message(index, len, now_ns).then_some(piece.len())
    }

    /// A message of `len` bytes is complete. False: the connection is lost.
    fn ended_message(&mut self, index: u32, len: u32, now_ns: u64) -> bool {
        match self.kind(&self.slots[index]) {
            Kind::Echo | Kind::Answer => {
                let before = self.outcome.echoes;
                let is_open = self.echoed(index, 1, now_ns);
                // Nothing if it is not recorded.
                self.outcome.bytes += (self.outcome.echoes - before) * u64::from(len);
                is_open
            }
            Kind::Pushed => {
                self.slots[index].flags &= !PUSHED;
                self.outcome.unsolicited.pushed += 1;
                self.totals.pushed += 1;
                true
            }
            Kind::Greeting => {
                self.outcome.unsolicited.greetings += 1;
                let slot = &mut self.slots[index];
                let count = slot.sent + 1;
                if count < self.setup.messages.greetings {
                    (slot.sent, slot.echoed) = (count, count);
                    return true;
                }
                (slot.sent, slot.echoed) = (0, 0);
                self.opened(index, now_ns)
            }
        }
    }

    /// What the current message is.
    fn kind(&self, slot: &Slot) -> Kind {
        match self.setup.messages.verify {
            _ if slot.state == State::Greeting => Kind::Greeting,
            _ if slot.has(PUSHED) => Kind::Pushed,
            Verify::Echo => Kind::Echo,
            Verify::Any | Verify::None => Kind::Answer,
        }
    }

    /// Whether a message that begins now is no reply, because none is awaited. Where echoes are verified, that is allowed
    /// only on connections held idle before their first message.
    fn begins_push(&self, slot: &Slot) -> bool {
        let is_unawaited = slot.sent == slot.echoed && slot.state != State::Greeting;
        let is_allowed = match self.setup.messages.verify {
            Verify::Echo => slot.sent == 0 && matches!(self.phase, Phase::Hold { .. }),
            Verify::Any | Verify::None => true,
        };
        is_unawaited && is_allowed && !slot.has(FRAGMENTED)
    }

    /// The payload's seed of the message whose echo is next.
    fn due_seed(&self, index: u32) -> u64 {
        payload::seed(self.setup.number, index, self.phase_number, self.slots[index].echoed)
    }

    /// Checks the header of a message's frame. An echo has the type and the length of what was sent.
    fn fault(&self, index: u32, header: &Header) -> Option<&'static str> {
        let (slot, kind) = (&self.slots[index], self.kind(&self.slots[index]));
        let fault = match (slot.has(FRAGMENTED), header.opcode) {
            _ if header.mask.is_some() => Some(MASKED),
            _ if kind == Kind::Echo && slot.sent == slot.echoed => {
                Some(if slot.sent == 0 { GREETED } else { "a message arrived that is no echo" })
            }
            (true, Opcode::Binary | Opcode::Text) => {
                Some("a message began before the last fragment of another")
            }
            (false, Opcode::Continuation) => {
                Some("a continuation frame arrived without a message to continue")
            }
            _ if header.len > u32::MAX.into() => Some("a frame is longer than 4 GiB"),
            _ => None,
        };
        if fault.is_some() || kind != Kind::Echo {
            return fault;
        }
        let messages = &self.setup.messages;
        let len = messages.len(self.due_seed(index), self.setup.payload_len) as u64;
        let due = len - u64::from(slot.verified);
        match header.opcode {
            Opcode::Text if !messages.text => Some("an echo is a text message instead of a binary one"),
            Opcode::Binary if messages.text => Some("an echo is a binary message instead of a text one"),
            _ if header.len > due => Some("an echo is longer than its message"),
            _ if header.fin && header.len < due => Some("an echo is shorter than its message"),
            _ => None,
        }
    }
}
