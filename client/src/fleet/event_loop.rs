//! The event loop of a shard.
//!
//! Sockets are registered once, edge-triggered, so epoll_wait(2) does not check exhausted sockets again. A receive that
//! fills less than the buffer has exhausted the socket (epoll(7)), unless the peer has half-closed.

use super::phase::{Command, Phase};
use super::shard::{Shard, TIMER, WAKE};
use super::slots::State;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdTimerFlags, timerfd_settime};
use std::sync::mpsc::TryRecvError;

/// Most events per epoll_wait(2).
const EVENTS: usize = 256;
/// Least and greatest length of the read buffer: a few messages, or a part of one.
const READ_LEN: (usize, usize) = (16 * 1024, 64 * 1024);
/// The longest epoll_wait(2) in a phase: the resolution of timeouts.
const NAP_NS: u64 = 100_000_000;

/// The peer has half-closed, or the connection has failed: recv(2) returns which.
const HANGUP: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);

impl Shard {
    /// Runs until [`Command::Quit`], or until the fleet is dropped.
    pub(super) fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS);
        let mut buffer =
            vec![0; (4 * self.setup.in_flight as usize * self.frame_len).clamp(READ_LEN.0, READ_LEN.1)];
        loop {
            let timeout = self.step().map(|next_ns| self.sleep_until(next_ns));
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => unreachable!("epoll_wait: {error}"),
            }
            let mut woken = false;
            for event in &events {
                let (flags, data) = (event.flags, event.data.u64());
                match data {
                    WAKE => woken = true,
                    TIMER => {}
                    index => self.ready(index as u32, flags, &mut buffer),
                }
            }
            // After the other events: a new phase may move connections to other slots.
            if woken && self.commanded().is_none() {
                return self.cut_all_off();
            }
            self.publish();
        }
    }

    /// Executes the received commands. `None`: quit.
    fn commanded(&mut self) -> Option<()> {
        let mut count = [0; 8];
        // Only resets the eventfd; the channel has the number of commands.
        let _ = rustix::io::read(&*self.setup.wake, &mut count);
        loop {
            match self.setup.commands.try_recv() {
                Ok(Command::Start(phase, laps_from_ns)) => self.start(phase, laps_from_ns),
                Ok(Command::Pace(pace)) => self.set_pace(pace),
                Ok(Command::EndBy(end_ns)) => self.end_by(end_ns),
                Ok(Command::Stop) => self.stop(),
                Ok(Command::Quit) | Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => return Some(()),
            }
        }
    }

    /// The timeout for a sleep until `next_ns`: zero if that has passed, otherwise [`NAP_NS`], which the timer cuts short.
    fn sleep_until(&mut self, next_ns: u64) -> Timespec {
        let sleep_ns = next_ns.saturating_sub(self.now_ns());
        if sleep_ns == 0 {
            return Timespec::default();
        }
        if sleep_ns < NAP_NS && next_ns != self.timer_ns {
            self.timer_ns = next_ns;
            let it_value = Timespec { tv_sec: 0, tv_nsec: sleep_ns as i64 };
            let once = Itimerspec { it_interval: Timespec::default(), it_value };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once).expect("a valid time");
        }
        Timespec { tv_sec: 0, tv_nsec: NAP_NS as i64 }
    }

    /// Does what is due now, and returns when something will be due next. `None`: only after an event.
    fn step(&mut self) -> Option<u64> {
        let now_ns = self.now_ns();
        if now_ns >= self.lap_ns {
            self.lap(now_ns);
        }
        self.expire(now_ns);
        let restore_ns = self.restore(now_ns);
        let next_ns = match self.phase {
            Phase::Rest if self.closing + self.pending() == 0 => return None,
            Phase::Rest => u64::MAX,
            Phase::Connect { attempts, pace, window } => self.step_connect(now_ns, attempts, pace, window),
            Phase::Once { active, window } => self.step_once(now_ns, active, window),
            Phase::Closed { active, span } => self.step_closed(now_ns, active, span),
            Phase::Open { span, .. } => self.step_open(now_ns, span),
            Phase::Hold { end_ns } => self.step_hold(now_ns, end_ns),
            Phase::Churn { pace, window, end_ns } => self.step_churn(now_ns, pace, window, end_ns),
            Phase::Close { window } => self.step_close(now_ns, window),
        };
        Some(next_ns.min(restore_ns).min(self.lap_ns))
    }

    /// Handles the events of one connection.
    #[inline]
    fn ready(&mut self, index: u32, flags: EventFlags, buffer: &mut [u8]) {
        match self.slots[index].state {
            // Removed by an earlier event of the same batch.
            State::Free => {}
            State::Connecting => self.connect_done(index),
            _ => {
                if flags.contains(EventFlags::OUT) && !self.writable(index) {
                    return;
                }
                if flags.intersects(EventFlags::IN | HANGUP) {
                    self.readable(index, flags.intersects(HANGUP), buffer);
                }
            }
        }
    }
}
