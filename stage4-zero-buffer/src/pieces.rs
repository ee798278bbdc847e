//! Messages that arrive in pieces, and the state that a connection keeps meanwhile.

use crate::connection::{Busy, Context, Last};
use crate::echo::echo;
use crate::slot::Slot;
use common::echoed::Echoed;
use common::event_loop::{Next, Phase};
use common::frame::{CloseCode, Header, Opcode};
use common::metrics::Closed;
use common::partial::{End, HEADROOM};
use common::send_queue::close_frame;
use std::mem;
use std::ops::Range;

impl Slot {
    /// Handles what the hot path leaves. A message that fits the buffer is echoed as one frame if the rest of it has arrived:
    /// that is read now or, after a short read, in the next time slice. Returns whether there may be more.
    #[cold]
    pub fn rest(
        &mut self,
        context: &mut Context,
        mut done: Echoed,
        mut end: usize,
        is_inline: bool,
    ) -> Result<bool, Next> {
        while is_cut_short(context, done.consumed..end) {
            if is_inline {
                self.keep(context, done, end)?;
                return Ok(true);
            }
            // After an error the next call on the socket fails too.
            let Ok(len @ 1..) = self.recv(&mut context.buffer[end..]) else { break };
            end += len;
            echo(&mut done, &mut context.buffer[..end], context.max_message_len);
        }
        self.feed(context, done, end)?;
        Ok(end == context.buffer.len())
    }

    /// Sends the answers, and keeps the input after them for the next time slice.
    fn keep(&mut self, context: &mut Context, done: Echoed, end: usize) -> Result<(), Next> {
        self.enter(Phase::Busy);
        let unread = context.buffer[done.consumed..end].to_vec();
        context.busy(self.fd()).unread = unread;
        self.answer(context, done)
    }

    /// Counts the messages that have ended, and sends the answers.
    #[inline]
    pub fn answer(&mut self, context: &mut Context, done: Echoed) -> Result<(), Next> {
        let echoing = context.shard.metrics().echoed(done.count.messages, done.count.bytes);
        if self.reply(context, done.answers)? {
            echoing.written();
        }
        Ok(())
    }

    /// The slow path: echoes input piece by piece.
    #[cold]
    pub fn feed(&mut self, context: &mut Context, mut done: Echoed, end: usize) -> Result<(), Next> {
        self.enter(Phase::Busy);
        let Context { shard, buffer, busy, max_message_len, .. } = context;
        let busy = busy.entry(self.fd()).or_insert_with(|| Busy::new(shard.reservation()));
        if busy.last.is_some() {
            return Ok(());
        }
        let result = busy.partial.feed(&mut buffer[..end], &mut done, *max_message_len, echo);
        let echoing = shard.metrics().echoed(done.count.messages, done.count.bytes);
        if busy.output.is_empty() {
            self.reply(context, done.answers)?;
        } else {
            busy.output.push_frames(&buffer[done.answers]);
        }
        let busy = context.busy(self.fd());
        if let Err(end) = result {
            busy.last = Some(Last::Close(match end {
                End::Peer(body) => {
                    busy.output.push_frame(Opcode::Close, &body);
                    Closed::Normal
                }
                End::Violation(violation) => {
                    busy.output.push(&close_frame(violation.close_code()));
                    Closed::Protocol
                }
            }));
        }
        let flushed = self.flush(context);
        if matches!(flushed, Ok(true) | Err(Next::Linger(_))) {
            echoing.written();
        }
        flushed?;
        self.charge(context)
    }

    /// Sends unsent output, and copies kept input to the start of the buffer. Returns where in the buffer to read on; `None`: do
    /// not read before more output is sent.
    pub fn resume(&mut self, context: &mut Context) -> Result<Option<Range<usize>>, Next> {
        let is_sent = self.flush(context)?;
        let all = HEADROOM..context.buffer.len();
        let Some(busy) = context.busy.get_mut(&self.fd()) else { return Ok(is_sent.then_some(all)) };
        if is_sent {
            let unread = mem::take(&mut busy.unread);
            let end = HEADROOM + unread.len();
            if !unread.is_empty() {
                context.buffer[HEADROOM..end].copy_from_slice(&unread);
                self.flush(context)?;
            }
            return Ok(Some(end..all.end));
        }
        // A client that writes its whole message before it reads would block for ever: read on to the end of that message, and
        // not beyond.
        let left = busy.partial.left_of_message();
        let is_bounded = busy.output.unsent().len() < context.max_message_len + context.buffer.len();
        let reads_on = left > 0 && is_bounded && busy.last.is_none();
        Ok(reads_on.then(|| HEADROOM..all.end.min(HEADROOM.saturating_add(left))))
    }

    /// Charges what the connection keeps, and ends it if the budget has too little left.
    pub fn charge(&mut self, context: &mut Context) -> Result<(), Next> {
        let Some(busy) = context.busy.get_mut(&self.fd()) else { return Ok(()) };
        if busy.reservation.set(busy.output.held() + busy.unread.len()).is_ok() {
            return Ok(());
        }
        match self.close(context, CloseCode::TryAgainLater, Closed::Overload) {
            // The Close frame is queued behind output that the peer does not read.
            Next::Wait => Err(Next::Remove(Closed::Overload)),
            next => Err(next),
        }
    }
}

/// Whether this is the beginning of a data frame, valid so far, that fits the buffer.
fn is_cut_short(context: &Context, rest: Range<usize>) -> bool {
    let room = context.buffer.len() - rest.start;
    let Ok(Some((header, header_len))) = Header::parse(&context.buffer[rest.clone()]) else { return false };
    let most = context.max_message_len.min(room.saturating_sub(header_len)) as u64;
    !header.opcode.is_control() && ((rest.len() - header_len) as u64 + 1..=most).contains(&header.len)
}
