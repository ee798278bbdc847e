//! One connection: from its request to its last octet.

use crate::echo::Echoed;
use crate::output::Output;
use crate::partial::{HEADROOM, Partial};
use crate::server::Server;
use crate::slot::{Phase, Slot};
use common::budget::Hold;
use common::frame::{CloseCode, Opcode};
use common::heartbeat::Beat;
use common::metrics::Closed;
use common::{Answer, leave};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::time::Instant;

/// What is read as soon as it has come: any message of everyday size.
const SHORT_READ_LEN: usize = 4096;

/// A connection whose request has not all arrived.
pub struct Handshake {
    since: Instant,
    head: Vec<u8>,
}

/// A connection in the middle of something.
pub struct Busy {
    /// What it holds, of `--buffer-budget`.
    pub hold: Hold,
    pub partial: Partial,
    pub output: Output,
    /// What was read of a frame that is likely to be whole at the next time slice, which reads the rest behind it.
    pub unread: Vec<u8>,
    /// Set with the last octet of the output: nothing more is read, and the connection ends when that is sent.
    pub last: Option<Last>,
}

impl Busy {
    /// In a box, since a table keeps room for twice as many.
    pub fn new(hold: Hold) -> Box<Busy> {
        let (partial, output) = (Partial::default(), Output::default());
        Box::new(Busy { hold, partial, output, unread: Vec::new(), last: None })
    }
}

/// What ends with the last octet.
#[derive(Clone, Copy)]
pub enum Last {
    /// Plain HTTP.
    Response,
    /// A WebSocket connection.
    Close(Closed),
}

impl Server {
    /// A connection was accepted.
    pub fn open(&mut self, fd: RawFd, socket: OwnedFd) {
        self.slots.insert(fd, Slot::new(socket, self.ticks.now()));
        self.handshakes.insert(fd, Handshake { since: Instant::now(), head: Vec::new() });
    }

    /// The socket is readable, or writable where output waits. `eof`: the peer has half-closed, so a short
    /// read does not yet mean that nothing is left to be read (epoll(7), question 9, and `EPOLLRDHUP`).
    #[inline]
    pub fn ready(&mut self, fd: RawFd, eof: bool) {
        let Some(slot) = self.slots.get_mut(fd) else { return };
        // Those in line will find there what has come, but for the end, after which no event comes.
        if slot.waits() && !eof {
            return;
        }
        if slot.is_prompt() {
            if !self.read(fd, SHORT_READ_LEN, eof) {
                return;
            }
            self.expect_long(fd, true);
        }
        self.get_in_line(fd, eof);
    }

    /// Sends what waits, and reads once, up to `most` bytes. Returns whether there may be more.
    // Left to itself the compiler calls it, which costs an echo 30 instructions.
    #[inline(always)]
    pub fn read(&mut self, fd: RawFd, most: usize, eof: bool) -> bool {
        let mut room = HEADROOM..self.buffer.len().min(HEADROOM + most);
        let phase = self.phase(fd);
        if phase == Some(Phase::Busy) {
            let Some(behind) = self.resume(fd) else { return false };
            room = behind;
        }
        let Some(slot) = self.slots.get_mut(fd) else { return false };
        match recv(slot.socket(), &mut self.buffer[room.clone()]) {
            Ok(0) => {
                self.gone(fd, Closed::Eof);
                false
            }
            Ok(len) => {
                let is_short = most == SHORT_READ_LEN;
                if !is_short && phase == Some(Phase::Open) {
                    slot.expect_long(len >= SHORT_READ_LEN);
                }
                let has_more = self.input(fd, room.start + len, is_short);
                has_more || room.len() == len || eof
            }
            Err(Errno::AGAIN) => room.start > HEADROOM && self.input(fd, room.start, false),
            Err(_) => {
                self.gone(fd, Closed::Reset);
                false
            }
        }
    }

    /// Takes what was read, up to `end` of the buffer; `is_short`: the read was. Returns whether there is more to be done.
    #[inline]
    fn input(&mut self, fd: RawFd, end: usize, is_short: bool) -> bool {
        let Some(slot) = self.slots.get_mut(fd) else { return false };
        match slot.phase() {
            Phase::Open => {
                slot.heard(self.ticks.now());
                return self.echo(fd, end, is_short);
            }
            Phase::Busy => {
                slot.heard(self.ticks.now());
                self.feed(fd, Echoed::from(HEADROOM), end);
            }
            Phase::Handshake => self.handshake(fd, end),
            Phase::Lingering => {}
        }
        false
    }

    /// Answers a request, once it has all arrived.
    fn handshake(&mut self, fd: RawFd, end: usize) {
        let handshake = self.handshakes.get_mut(&fd).expect("kept as long as the phase");
        handshake.head.extend_from_slice(&self.buffer[HEADROOM..end]);
        match self.shard.answer(&handshake.head, handshake.since) {
            Answer::Partial => {}
            Answer::Close(response) => {
                self.handshakes.remove(&fd);
                self.end(fd, &response, Last::Response);
            }
            Answer::Upgrade { response, head_len } => {
                // What came behind the request are frames.
                let end = HEADROOM + handshake.head.len() - head_len;
                self.buffer[HEADROOM..end].copy_from_slice(&handshake.head[head_len..]);
                self.handshakes.remove(&fd);
                self.enter(fd, Phase::Open);
                self.send(fd, &response);
                self.input(fd, end, false);
            }
        }
    }

    /// The hot path: answers what was read, on a connection at a message boundary.
    #[inline]
    fn echo(&mut self, fd: RawFd, end: usize, is_short: bool) -> bool {
        let mut done = Echoed::from(HEADROOM);
        done.echo(&mut self.buffer[..end], self.max_message_len);
        if done.consumed < end {
            return self.rest(fd, done, end, is_short);
        }
        self.answer(fd, done);
        false
    }

    /// Sends answers that are in the buffer. Returns whether the socket takes all of them; the rest waits.
    #[inline]
    pub fn reply(&mut self, fd: RawFd, answers: Range<usize>) -> bool {
        let Some(slot) = self.slots.get_mut(fd) else { return false };
        let answers = &self.buffer[answers];
        match send(slot.socket(), answers) {
            Ok(sent) if sent == answers.len() => return true,
            Ok(sent) => {
                slot.enter(Phase::Busy);
                let busy = self.busy.entry(fd).or_insert_with(|| Busy::new(self.shard.hold()));
                busy.output.push(&answers[sent..]);
                self.charge(fd);
            }
            Err(_) => self.gone(fd, Closed::Reset),
        }
        false
    }

    /// Sends what waits. Returns whether all is sent, and there is a connection to read from.
    pub fn flush(&mut self, fd: RawFd) -> bool {
        let now = self.ticks.now();
        let (Some(slot), Some(busy)) = (self.slots.get_mut(fd), self.busy.get_mut(&fd)) else { return false };
        while !busy.output.unsent().is_empty() {
            match send(slot.socket(), busy.output.unsent()) {
                Ok(0) => return false,
                Ok(sent) => {
                    busy.output.sent(sent);
                    slot.heard(now);
                }
                Err(_) => {
                    self.gone(fd, Closed::Reset);
                    return false;
                }
            }
        }
        match busy.last {
            Some(last) => self.finish(fd, last),
            None if busy.partial.is_at_boundary() && busy.unread.is_empty() => {
                slot.enter(Phase::Open);
                self.busy.remove(&fd);
            }
            None => {}
        }
        true
    }

    /// Sends an unsolicited frame, or the answer to a handshake, at a message boundary.
    fn send(&mut self, fd: RawFd, octets: &[u8]) {
        let Some(slot) = self.slots.get_mut(fd) else { return };
        match send(slot.socket(), octets) {
            Ok(sent) if sent == octets.len() => {}
            Ok(sent) => {
                slot.enter(Phase::Busy);
                self.busy(fd).output.push(&octets[sent..]);
            }
            Err(_) => self.gone(fd, Closed::Reset),
        }
    }

    /// Sends the last octets, behind what waits already.
    fn end(&mut self, fd: RawFd, octets: &[u8], last: Last) {
        self.enter(fd, Phase::Busy);
        let busy = self.busy(fd);
        if busy.last.is_none() {
            busy.output.push(octets);
            busy.last = Some(last);
        }
        self.flush(fd);
    }

    /// Tells an open connection that it ends.
    pub fn close(&mut self, fd: RawFd, code: CloseCode, reason: Closed) {
        if matches!(self.phase(fd), Some(Phase::Open | Phase::Busy)) {
            let mut frame = Output::default();
            frame.push_close(code);
            self.end(fd, frame.unsent(), Last::Close(reason));
        }
    }

    /// Does what is due on a quiet connection.
    pub fn beat(&mut self, fd: RawFd, beat: Beat) {
        match beat {
            Beat::Dead => {
                // A loop that was held up is not a peer that is gone: what came meanwhile is still to be read.
                self.turn(fd, false);
                if self.slots.get_mut(fd).is_none_or(|slot| slot.quiet_ticks(self.ticks.now()) == 0) {
                    return;
                }
                self.close(fd, CloseCode::GoingAway, Closed::Idle);
                // A peer that reads nothing does not read this either.
                if self.phase(fd) == Some(Phase::Busy) {
                    self.gone(fd, Closed::Idle);
                }
            }
            // That output waits is known already.
            Beat::Ping if self.has_output(fd) => {}
            Beat::Ping => {
                let mut frame = Output::default();
                frame.push_frame(Opcode::Ping, &[]);
                self.send(fd, frame.unsent());
            }
        }
    }

    /// The last octet is sent. TCP is closed only when the peer has read it: a close(2) with input unread sends a
    /// reset, which may overtake what was sent before it (RFC 9293, section 3.6.1).
    fn finish(&mut self, fd: RawFd, last: Last) {
        if let Last::Close(reason) = last {
            self.closed(fd, reason);
        }
        self.busy.remove(&fd);
        self.enter(fd, Phase::Lingering);
        if let Some(slot) = self.slots.get_mut(fd) {
            slot.heard(self.ticks.now());
            // It fails where the peer has reset the connection, which the next read tells.
            let _ = rustix::net::shutdown(slot.socket(), Shutdown::Write);
        }
    }

    /// A WebSocket connection ends.
    fn closed(&mut self, fd: RawFd, reason: Closed) {
        self.shard.closed(reason);
        if let Some(slot) = self.slots.get_mut(fd) {
            leave(slot.socket(), reason);
        }
    }

    /// The connection is gone, in whichever phase it was.
    pub fn gone(&mut self, fd: RawFd, reason: Closed) {
        let busy = self.busy.remove(&fd);
        self.handshakes.remove(&fd);
        self.untaken.remove(&fd);
        match (self.phase(fd), busy.and_then(|busy| busy.last)) {
            (Some(Phase::Busy), Some(Last::Response)) => {}
            (Some(Phase::Busy), Some(Last::Close(reason))) => self.closed(fd, reason),
            (Some(Phase::Open | Phase::Busy), _) => self.closed(fd, reason),
            _ => {}
        }
        self.slots.remove(fd);
    }

    pub fn busy(&mut self, fd: RawFd) -> &mut Busy {
        self.busy.entry(fd).or_insert_with(|| Busy::new(self.shard.hold()))
    }

    #[inline]
    pub fn phase(&mut self, fd: RawFd) -> Option<Phase> {
        self.slots.get_mut(fd).map(|slot| slot.phase())
    }

    fn expect_long(&mut self, fd: RawFd, long: bool) {
        if let Some(slot) = self.slots.get_mut(fd) {
            slot.expect_long(long);
        }
    }

    pub fn enter(&mut self, fd: RawFd, phase: Phase) {
        if let Some(slot) = self.slots.get_mut(fd) {
            slot.enter(phase);
        }
    }
}

/// Receives what there is.
#[inline]
pub fn recv(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    rustix::io::retry_on_intr(|| rustix::net::recv(socket, &mut *buffer, RecvFlags::empty()))
        .map(|(len, _)| len)
}

/// Sends what the socket takes, which may be nothing.
#[inline]
fn send(socket: BorrowedFd<'_>, octets: &[u8]) -> Result<usize, Errno> {
    if octets.is_empty() {
        return Ok(0);
    }
    match rustix::io::retry_on_intr(|| rustix::net::send(socket, octets, SendFlags::NOSIGNAL)) {
        Err(Errno::AGAIN) => Ok(0),
        result => result,
    }
}
