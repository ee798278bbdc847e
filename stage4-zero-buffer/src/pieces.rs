//! Messages that arrive in pieces, and what the connection keeps meanwhile.

use crate::connection::{Busy, Last, recv};
use crate::echo::Echoed;
use crate::partial::{End, HEADROOM};
use crate::server::Server;
use crate::slot::Phase;
use common::frame::{CloseCode, Header, Opcode};
use common::metrics::Closed;
use std::mem;
use std::ops::Range;
use std::os::fd::RawFd;

impl Server {
    /// What the hot path leaves. A message that fits the buffer is answered with one frame, if the rest of it is there: read now
    /// behind what came or, after a short read, in the next time slice. Returns whether there may be more.
    #[cold]
    pub fn rest(&mut self, fd: RawFd, mut done: Echoed, mut end: usize, is_short: bool) -> bool {
        while self.is_cut_short(done.consumed..end) {
            if is_short {
                self.keep(fd, done, end);
                return true;
            }
            let Some(slot) = self.slots.get_mut(fd) else { return false };
            // What is wrong, if anything, the next read or send says.
            let Ok(len @ 1..) = recv(slot.socket(), &mut self.buffer[end..]) else { break };
            end += len;
            done.echo(&mut self.buffer[..end], self.max_message_len);
        }
        self.feed(fd, done, end);
        end == self.buffer.len()
    }

    /// Whether this is the beginning of a data frame that nothing is wrong with so far, and that fits the buffer.
    fn is_cut_short(&self, rest: Range<usize>) -> bool {
        let room = self.buffer.len() - rest.start;
        let Ok(Some((header, header_len))) = Header::parse(&self.buffer[rest.clone()]) else { return false };
        let most = self.max_message_len.min(room.saturating_sub(header_len)) as u64;
        !header.opcode.is_control() && ((rest.len() - header_len) as u64 + 1..=most).contains(&header.len)
    }

    /// Sends the answers, and keeps what was read behind them for the next time slice.
    fn keep(&mut self, fd: RawFd, done: Echoed, end: usize) {
        self.enter(fd, Phase::Busy);
        let unread = self.buffer[done.consumed..end].to_vec();
        self.busy(fd).unread = unread;
        self.answer(fd, done);
    }

    /// Counts the messages that have ended, and sends the answers.
    #[inline]
    pub fn answer(&mut self, fd: RawFd, done: Echoed) {
        let echoing = self.shard.metrics().echoed(done.count.messages, done.count.bytes);
        if self.reply(fd, done.answers) {
            echoing.written();
        }
    }

    /// The slow path: answers what was read piece by piece.
    #[cold]
    pub fn feed(&mut self, fd: RawFd, mut done: Echoed, end: usize) {
        let busy = self.busy.entry(fd).or_insert_with(|| Busy::new(self.shard.hold()));
        if busy.last.is_some() {
            return;
        }
        let result = busy.partial.feed(&mut self.buffer[..end], &mut done, self.max_message_len);
        let echoing = self.shard.metrics().echoed(done.count.messages, done.count.bytes);
        if busy.output.is_empty() {
            self.reply(fd, done.answers);
        } else {
            busy.output.push_frames(&self.buffer[done.answers]);
        }
        self.enter(fd, Phase::Busy);
        if let Some(busy) = self.busy.get_mut(&fd)
            && let Err(end) = result
        {
            busy.last = Some(Last::Close(match end {
                End::Peer(body) => {
                    busy.output.push_frame(Opcode::Close, &body);
                    Closed::Normal
                }
                End::Violation(violation) => {
                    busy.output.push_close(violation.close_code());
                    Closed::Protocol
                }
            }));
        }
        if self.flush(fd) {
            echoing.written();
        }
        self.charge(fd);
    }

    /// Sends what waits, and puts what was kept unread at the start of the buffer. Returns where in the buffer to read on; `None`:
    /// nowhere, until more of the output is sent.
    pub fn resume(&mut self, fd: RawFd) -> Option<Range<usize>> {
        let is_sent = self.flush(fd);
        let all = HEADROOM..self.buffer.len();
        let Some(busy) = self.busy.get_mut(&fd) else { return is_sent.then_some(all) };
        if is_sent {
            let unread = mem::take(&mut busy.unread);
            if !unread.is_empty() {
                self.buffer[HEADROOM..HEADROOM + unread.len()].copy_from_slice(&unread);
                self.flush(fd);
            }
            return Some(HEADROOM + unread.len()..all.end);
        }
        // A client that writes its whole message before it reads anything would wait for ever for the end of its write: read on
        // to the end of that message, and not beyond.
        let left = busy.partial.left_of_message();
        let is_bounded = busy.output.unsent().len() < self.max_message_len + self.buffer.len();
        (left > 0 && is_bounded && busy.last.is_none())
            .then(|| HEADROOM..all.end.min(HEADROOM.saturating_add(left)))
    }

    /// Charges what the connection holds, and ends it where the budget has not so much left.
    pub fn charge(&mut self, fd: RawFd) {
        let Some(busy) = self.busy.get_mut(&fd) else { return };
        if busy.hold.set(busy.output.held() + busy.unread.len()).is_err() {
            self.close(fd, CloseCode::TryAgainLater, Closed::Overload);
            // A peer that reads nothing does not read this either.
            if self.phase(fd) == Some(Phase::Busy) {
                self.gone(fd, Closed::Overload);
            }
        }
    }

    /// Whether output waits.
    pub fn has_output(&self, fd: RawFd) -> bool {
        self.busy.get(&fd).is_some_and(|busy| !busy.output.is_empty())
    }
}
