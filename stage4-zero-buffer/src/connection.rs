//! One connection: from its request to its end. An event comes in, [`Next`] goes out.

use crate::Flags;
use crate::echo::echo;
use crate::slot::Slot;
use common::budget::Reservation;
use common::echoed::Echoed;
use common::event_loop::{Handshake, Next, Phase, Timeouts, trim};
use common::frame::{CloseCode, MAX_HEADER_LEN};
use common::metrics::Closed;
use common::partial::{HEADROOM, Partial};
use common::send_queue::{EMPTY_PING, SendQueue, close_frame};
use common::{Answer, Shard, set_close_policy};
use rustix::io::Errno;
use rustix::net::Shutdown;
use std::collections::HashMap;
use std::ops::Range;
use std::os::fd::{OwnedFd, RawFd};
use std::time::Instant;

/// What the loop's table holds for a descriptor.
pub type Entry = Slot;

/// The read quantum: how many bytes of a connection are read before other connections are served.
pub type Quantum = usize;
/// For an event, handled inline: any message of everyday size.
pub const INLINE: Quantum = 4096;
/// For a time slice from the run queue: a message of 256 KiB with its header. With 64 KiB, echoes of 1 MiB are 0.8 to 0.9 times as
/// fast, because there are four times as many calls; with 1 MiB, 0.6 times, because that exceeds the processor's cache.
pub const SLICE: Quantum = MAX_HEADER_LEN + 256 * 1024;

/// What the connections of a shard share: the one buffer, and the state of those that are not idle.
pub struct Context {
    pub shard: Shard<Flags>,
    pub timeouts: Timeouts,
    pub buffer: Box<[u8]>,
    pub max_message_len: usize,
    pub handshakes: HashMap<RawFd, Handshake>,
    pub busy: HashMap<RawFd, Box<Busy>>,
}

impl Context {
    pub fn new(shard: Shard<Flags>) -> Context {
        Context {
            timeouts: Timeouts::new(&shard.config, Instant::now()),
            buffer: vec![0; HEADROOM + SLICE].into_boxed_slice(),
            max_message_len: shard.config.max_message_size,
            handshakes: HashMap::new(),
            busy: HashMap::new(),
            shard,
        }
    }

    /// Frees memory that only a peak needed.
    pub fn trim(&mut self) {
        trim(&mut self.busy);
        trim(&mut self.handshakes);
    }

    pub fn busy(&mut self, fd: RawFd) -> &mut Busy {
        self.busy.entry(fd).or_insert_with(|| Busy::new(self.shard.reservation()))
    }
}

/// What a connection keeps in the middle of a message or of its output.
pub struct Busy {
    /// Its share of `--buffer-budget`.
    pub reservation: Reservation,
    pub partial: Partial,
    pub output: SendQueue,
    /// The beginning of a frame whose rest has probably arrived by the next time slice, and is read behind it.
    pub unread: Vec<u8>,
    /// Set with the last output: nothing more is read, and the connection ends when that is sent.
    pub last: Option<Last>,
}

impl Busy {
    /// Boxed, because a hash table reserves up to twice the entries it has.
    pub fn new(reservation: Reservation) -> Box<Busy> {
        let (partial, output) = (Partial::default(), SendQueue::default());
        Box::new(Busy { reservation, partial, output, unread: Vec::new(), last: None })
    }
}

/// The last output.
#[derive(Clone, Copy)]
pub enum Last {
    /// A plain HTTP response.
    Response,
    /// A Close frame, and the reason to count.
    Close(Closed),
}

/// A connection was accepted.
pub fn open(socket: OwnedFd, context: &mut Context) -> Entry {
    let slot = Slot::new(socket, context.timeouts.now());
    context.handshakes.insert(slot.fd(), Handshake::begin());
    slot
}

impl Slot {
    /// Sends unsent output, and reads once, up to the quantum. `eof`: the peer has half-closed.
    // Without the attribute it is not inlined, which costs 30 instructions per echo.
    #[inline(always)]
    pub fn read(&mut self, context: &mut Context, quantum: Quantum, eof: bool) -> Next {
        match self.receive(context, quantum, eof) {
            Ok(false) => Next::Wait,
            Ok(true) => {
                if quantum == INLINE {
                    self.marks.expect_long(true);
                }
                Next::Requeue
            }
            Err(next) => next,
        }
    }

    /// Returns whether there may be more.
    #[inline(always)]
    fn receive(&mut self, context: &mut Context, quantum: Quantum, eof: bool) -> Result<bool, Next> {
        let mut room = HEADROOM..context.buffer.len().min(HEADROOM + quantum);
        let state = self.phase();
        if state == Phase::Busy {
            let Some(behind) = self.resume(context)? else { return Ok(false) };
            room = behind;
        }
        match self.recv(&mut context.buffer[room.clone()]) {
            Ok(0) => Err(Next::Remove(Closed::Eof)),
            Ok(len) => {
                let is_inline = quantum == INLINE;
                if !is_inline && state == Phase::Idle {
                    self.marks.expect_long(len >= INLINE);
                }
                let has_more = self.input(context, room.start + len, is_inline)?;
                Ok(has_more || room.len() == len || eof)
            }
            Err(Errno::AGAIN) => Ok(room.start > HEADROOM && self.input(context, room.start, false)?),
            Err(_) => Err(Next::Remove(Closed::Reset)),
        }
    }

    /// Handles input, up to `end` of the buffer. Returns whether there may be more.
    #[inline]
    fn input(&mut self, context: &mut Context, end: usize, is_inline: bool) -> Result<bool, Next> {
        if self.phase() == Phase::Idle {
            self.marks.seen(context.timeouts.now());
            return self.echo(context, end, is_inline);
        }
        self.input_when_not_idle(context, end)
    }

    #[cold]
    fn input_when_not_idle(&mut self, context: &mut Context, end: usize) -> Result<bool, Next> {
        match self.phase() {
            Phase::Handshake => return self.handshake(context, end),
            Phase::Idle | Phase::Lingering => {}
            Phase::Busy => {
                self.marks.seen(context.timeouts.now());
                self.feed(context, Echoed::from(HEADROOM), end)?;
            }
        }
        Ok(false)
    }

    /// Answers a request once it is complete.
    fn handshake(&mut self, context: &mut Context, end: usize) -> Result<bool, Next> {
        let fd = self.fd();
        let handshake = context.handshakes.get_mut(&fd).expect("there is one in this state");
        handshake.head.extend_from_slice(&context.buffer[HEADROOM..end]);
        match context.shard.answer(&handshake.head, handshake.accepted_at) {
            Answer::Partial => Ok(false),
            Answer::Close(response) => {
                context.handshakes.remove(&fd);
                self.end(context, &response, Last::Response)?;
                Ok(false)
            }
            Answer::Upgrade { response, head_len } => {
                // Input after the request is frames.
                let end = HEADROOM + handshake.head.len() - head_len;
                context.buffer[HEADROOM..end].copy_from_slice(&handshake.head[head_len..]);
                context.handshakes.remove(&fd);
                self.enter(Phase::Idle);
                self.send_unsolicited(context, &response)?;
                self.input(context, end, false)
            }
        }
    }

    /// The hot path: echoes the input of an idle connection.
    #[inline]
    fn echo(&mut self, context: &mut Context, end: usize, is_inline: bool) -> Result<bool, Next> {
        let mut done = Echoed::from(HEADROOM);
        echo(&mut done, &mut context.buffer[..end], context.max_message_len);
        if done.consumed < end {
            return self.rest(context, done, end, is_inline);
        }
        self.answer(context, done)?;
        Ok(false)
    }

    /// Sends answers from the buffer, and queues what the socket does not take. Returns whether it took all.
    #[inline]
    pub fn reply(&mut self, context: &mut Context, answers: Range<usize>) -> Result<bool, Next> {
        let Context { shard, buffer, busy, .. } = context;
        let answers = &buffer[answers];
        let sent = self.send(answers)?;
        if sent == answers.len() {
            return Ok(true);
        }
        self.enter(Phase::Busy);
        let busy = busy.entry(self.fd()).or_insert_with(|| Busy::new(shard.reservation()));
        busy.output.push(&answers[sent..]);
        self.charge(context)?;
        Ok(false)
    }

    /// Sends unsent output. Returns whether all is sent.
    pub fn flush(&mut self, context: &mut Context) -> Result<bool, Next> {
        let Some(busy) = context.busy.get_mut(&self.fd()) else { return Ok(false) };
        while !busy.output.unsent().is_empty() {
            match self.send(busy.output.unsent())? {
                0 => return Ok(false),
                sent => {
                    busy.output.sent(sent);
                    self.marks.seen(context.timeouts.now());
                }
            }
        }
        if busy.last.is_some() {
            return Err(Next::Linger(Closed::Normal));
        }
        if busy.partial.is_at_boundary() && busy.unread.is_empty() {
            self.enter(Phase::Idle);
            context.busy.remove(&self.fd());
        }
        Ok(true)
    }

    /// Sends an unsolicited frame, or the answer to a handshake, at a message boundary.
    fn send_unsolicited(&mut self, context: &mut Context, bytes: &[u8]) -> Result<(), Next> {
        let sent = self.send(bytes)?;
        if sent < bytes.len() {
            self.enter(Phase::Busy);
            context.busy(self.fd()).output.push(&bytes[sent..]);
        }
        Ok(())
    }

    /// Sends the last output, after the output that is queued already.
    fn end(&mut self, context: &mut Context, bytes: &[u8], last: Last) -> Result<bool, Next> {
        self.enter(Phase::Busy);
        let busy = context.busy(self.fd());
        if busy.last.is_none() {
            busy.output.push(bytes);
            busy.last = Some(last);
        }
        self.flush(context)
    }

    /// Sends an open connection a Close frame, with which it ends.
    pub fn close(&mut self, context: &mut Context, code: CloseCode, reason: Closed) -> Next {
        if !self.phase().is_open() {
            return Next::Wait;
        }
        self.end(context, &close_frame(code), Last::Close(reason)).err().unwrap_or(Next::Wait)
    }

    /// Sends an open connection a Ping, unless output is unsent.
    pub fn ping(&mut self, context: &mut Context) -> Next {
        if context.busy.get(&self.fd()).is_some_and(|busy| !busy.output.is_empty()) {
            return Next::Wait;
        }
        self.send_unsolicited(context, &EMPTY_PING).err().unwrap_or(Next::Wait)
    }

    /// Lingering close: half-closes the socket, and discards input until the peer closes too. A close(2) with input unread
    /// sends a reset, which may overtake output that was sent before it (RFC 9293, section 3.6.1).
    pub fn linger(&mut self, context: &mut Context, reason: Closed) {
        self.release(context, reason);
        self.enter(Phase::Lingering);
        self.marks.seen(context.timeouts.now());
        // Fails if the peer has reset the connection, which the next read returns too.
        let _ = rustix::net::shutdown(self.socket(), Shutdown::Write);
    }

    /// Counts the end of an open connection; the reason of our Close frame takes precedence. Frees what the context keeps for it.
    pub fn release(&self, context: &mut Context, reason: Closed) {
        context.handshakes.remove(&self.fd());
        let reason = match context.busy.remove(&self.fd()).and_then(|busy| busy.last) {
            Some(Last::Close(reason)) => reason,
            None if self.phase().is_open() => reason,
            _ => return,
        };
        context.shard.closed(reason);
        set_close_policy(self.socket(), reason);
    }
}
