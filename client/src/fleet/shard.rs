//! A shard: one thread, one epoll instance, one descriptor table, and the event loop for its connections.
//!
//! Sockets are registered once, edge-triggered, so epoll_wait(2) does not check exhausted sockets again. A receive that
//! fills less than the buffer has exhausted the socket (epoll(7)), unless the peer has half-closed. All input passes
//! through one buffer and all output through another; a connection owns none.

use super::counters::{Counters, Totals};
use super::failures::Class;
use super::handshake::Handshake;
use super::phase::{Command, Outcome, Phase};
use super::reconnect::Reconnect;
use super::results::shard_times_ns;
use super::send::Outbox;
use super::slots::{Slots, State};
use super::source::{Sources, class_of, cut_off};
use common::frame::{Header, MAX_HEADER_LEN, Opcode};
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};

/// Event data of the eventfd: above every slot index.
const WAKE: u64 = u64::MAX;
/// Event data of the timer.
const TIMER: u64 = u64::MAX - 1;
/// Most events per epoll_wait(2).
const EVENTS: usize = 256;
/// Least and greatest length of the read buffer: a few messages, or a part of one.
const READ_LEN: (usize, usize) = (16 * 1024, 64 * 1024);
/// The longest epoll_wait(2) in a phase: the resolution of timeouts.
const NAP_NS: u64 = 100_000_000;

/// A shard's configuration and channels.
pub(super) struct Setup {
    pub number: u32,
    pub server: SocketAddr,
    pub sources: Sources,
    pub handshake: Handshake,
    pub payload_len: usize,
    /// Messages per round in closed loop.
    pub in_flight: u32,
    pub connect_timeout_ns: u64,
    pub message_timeout_ns: u64,
    pub reconnect: Option<Reconnect>,
    /// The monotonic clock at the start of the fleet; times are nanoseconds since.
    pub base_ns: u64,
    /// Opened before this thread unshared its descriptor table, so it has the same number in both tables.
    pub wake: Arc<OwnedFd>,
    pub commands: Receiver<Command>,
    pub outcomes: Sender<Outcome>,
    pub counters: Arc<Counters>,
    /// The counters of all shards, including this one.
    pub all_counters: Arc<[Arc<Counters>]>,
}

/// A shard's state.
pub(super) struct Shard {
    pub(super) setup: Setup,
    pub(super) epoll: OwnedFd,
    /// Wakes the shard with microsecond precision; epoll_wait(2) has milliseconds.
    timer: OwnedFd,
    /// Expiry of the timer as last set.
    timer_ns: u64,
    pub(super) slots: Slots,
    /// Partial heads and control frames; few connections have one at a time.
    pub(super) inboxes: HashMap<u32, Vec<u8>>,
    /// Unsent output; few connections have any at a time.
    pub(super) outboxes: HashMap<u32, Outbox>,
    /// The write buffer: the frames of a round. Only keys and payloads change.
    pub(super) round: Vec<u8>,
    /// Length of one of these frames, and of its header including the key.
    pub(super) frame_len: usize,
    pub(super) frame_head_len: usize,
    /// The frame header of every unfragmented echo.
    pub(super) echo_head: Vec<u8>,
    /// State of the masking keys (xorshift64).
    pub(super) mask_state: u64,
    pub(super) totals: Totals,
    pub(super) outcome: Outcome,
    /// Times of the phase: see [`Outcome::times`].
    pub(super) times: Histogram<u32>,
    pub(super) phase: Phase,
    /// Slots below `active` take part in the phase; `taking_part` of them are open.
    pub(super) active: u32,
    pub(super) taking_part: u32,
    /// Number of the phase, for those that send messages: part of the payload's seed.
    pub(super) phase_number: u32,
    /// The next attempt, message or slot of the phase.
    pub(super) next: u64,
    /// Connections that churn has closed, and the attempts to replace them.
    pub(super) replaceable: u64,
    pub(super) replaced: u64,
    /// The slot after the one that churn closed last.
    pub(super) churn_next: u32,
    /// Connection attempts since the start of the fleet.
    pub(super) attempts: u64,
    /// Failed attempts since the last success.
    pub(super) streak: u64,
    /// The lost connections to replace, if the fleet reconnects.
    pub(super) reconnect: Option<Reconnect>,
    /// Messages sent and not yet echoed.
    pub(super) outstanding: u64,
    /// Closing handshakes in progress.
    pub(super) closing: u64,
    /// Connection attempts in progress, the earliest first: start and slot.
    pub(super) connect_deadlines: VecDeque<(u64, u32)>,
    /// Closing handshakes in progress, likewise.
    pub(super) close_deadlines: VecDeque<(u64, u32)>,
}

impl Shard {
    /// Creates a shard with its epoll instance. Call it in the thread that will run it.
    pub(super) fn new(mut setup: Setup) -> io::Result<Shard> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &*setup.wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        // Edge-triggered, so it is never read: setting it again arms the next edge.
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN | EventFlags::ET)?;
        let due = Header::server(Opcode::Binary, setup.payload_len);
        let masked = Header { mask: Some([0; 4]), ..due };
        let (echo_head, mut frame) = (head(due), head(masked));
        let frame_head_len = frame.len();
        frame.resize(frame_head_len + setup.payload_len, 0);
        Ok(Shard {
            epoll,
            timer,
            timer_ns: 0,
            slots: Slots::new(),
            inboxes: HashMap::new(),
            outboxes: HashMap::new(),
            round: frame.repeat(setup.in_flight as usize),
            frame_len: frame.len(),
            frame_head_len,
            echo_head,
            mask_state: super::source::random() | 1,
            totals: Totals::default(),
            outcome: Outcome::new(0),
            times: shard_times_ns(),
            phase: Phase::Rest,
            active: 0,
            taking_part: 0,
            phase_number: 0,
            next: 0,
            replaceable: 0,
            replaced: 0,
            churn_next: 0,
            attempts: 0,
            streak: 0,
            reconnect: setup.reconnect.take(),
            outstanding: 0,
            closing: 0,
            connect_deadlines: VecDeque::new(),
            close_deadlines: VecDeque::new(),
            setup,
        })
    }

    /// Nanoseconds since the start of the fleet.
    #[inline]
    pub(super) fn now_ns(&self) -> u64 {
        super::clock::now_ns() - self.setup.base_ns
    }

    /// Runs until [`Command::Quit`], or until the fleet is dropped.
    pub(super) fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS);
        let mut buffer = vec![0; (4 * self.round.len()).clamp(READ_LEN.0, READ_LEN.1)];
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
        // Only resets the eventfd; the number of commands is up to the channel.
        let _ = rustix::io::read(&*self.setup.wake, &mut count);
        loop {
            match self.setup.commands.try_recv() {
                Ok(Command::Start(phase)) => self.start(phase),
                Ok(Command::Pace(pace)) => self.set_pace(pace),
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
        self.expire(now_ns);
        let restore_ns = self.restore(now_ns);
        let next_ns = match self.phase {
            Phase::Rest if self.closing + self.pending() == 0 => return None,
            Phase::Rest => u64::MAX,
            Phase::Connect { attempts, pace, window } => self.step_connect(now_ns, attempts, pace, window),
            Phase::Once { active, window } => self.step_once(now_ns, active, window),
            Phase::Closed { active, span } => self.step_closed(now_ns, active, span),
            Phase::Open { pace, span, .. } => self.step_open(now_ns, pace, span),
            Phase::Hold { end_ns } => self.step_hold(now_ns, end_ns),
            Phase::Churn { pace, window, end_ns } => self.step_churn(now_ns, pace, window, end_ns),
            Phase::Close { window } => self.step_close(now_ns, window),
        };
        Some(next_ns.min(restore_ns))
    }

    /// Handles the events of one connection.
    #[inline]
    fn ready(&mut self, index: u32, flags: EventFlags, buffer: &mut [u8]) {
        match self.slots[index].state {
            // Removed by an earlier event of the same batch.
            State::Free => {}
            State::Connecting => self.connect_done(index),
            _ => {
                if flags.contains(EventFlags::OUT) && !self.flush(index) {
                    return;
                }
                if flags.intersects(EventFlags::IN | HANGUP) {
                    self.readable(index, flags.intersects(HANGUP), buffer);
                }
            }
        }
    }

    /// Resets and removes a connection.
    pub(super) fn cut(&mut self, index: u32) {
        if let Some(socket) = self.remove(index) {
            cut_off(socket);
        }
    }

    /// Removes a connection from the table and from all counts; returns its socket.
    pub(super) fn remove(&mut self, index: u32) -> Option<OwnedFd> {
        let slot = &self.slots[index];
        match slot.state {
            State::Free => return None,
            State::Connecting | State::Upgrading => {
                self.totals.connecting -= 1;
                if let Some(reconnect) = &mut self.reconnect {
                    reconnect.requeue(index);
                }
            }
            State::Open => self.leaves(index),
            State::Closing => self.closing -= 1,
        }
        let slot = &self.slots[index];
        self.outstanding -= u64::from(slot.sent - slot.echoed);
        if slot.flags != 0 {
            self.inboxes.remove(&index);
            self.outboxes.remove(&index);
        }
        self.slots.remove(index)
    }

    /// Counts a failure.
    #[cold]
    pub(super) fn failed(&mut self, class: Class, why: impl FnOnce() -> String) {
        self.totals.failures[class as usize] += 1;
        self.totals.unpublished_failures = true;
        self.outcome.failures.add(class, 1);
        self.outcome.failures.first.get_or_insert_with(why);
    }

    /// Removes a lost connection or failed attempt: counts a failure, unless it will be replaced.
    #[cold]
    pub(super) fn lost(&mut self, index: u32, class: Class, why: impl Fn() -> String) {
        if !self.returns(index, class, &why) {
            if matches!(self.slots[index].state, State::Connecting | State::Upgrading) {
                self.streak += 1;
            }
            self.failed(class, why);
        }
        self.cut(index);
    }

    /// The same after a failed system call.
    #[cold]
    pub(super) fn lost_in(&mut self, index: u32, call: &'static str, error: Errno) {
        self.lost(index, class_of(call, error), || format!("{call}: {}", io::Error::from(error)));
    }
}

/// The registered events; [`EventFlags::OUT`] is added once output is queued.
pub(super) const READABLE: EventFlags = EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::ET);

/// The peer has half-closed, or the connection has failed: recv(2) tells which.
const HANGUP: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);

/// The bytes of a frame header.
fn head(header: Header) -> Vec<u8> {
    let mut bytes = [0; MAX_HEADER_LEN];
    let len = header.write(&mut bytes);
    bytes[..len].to_vec()
}
