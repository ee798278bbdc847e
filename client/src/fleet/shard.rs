//! A shard: one thread, one epoll instance, one descriptor table, and the state of its connections.
//!
//! What is read and written passes through one buffer each; a connection owns none.

use super::class::Class;
use super::counters::{Counters, Totals};
use super::handshake::Handshake;
use super::laps::{Lapping, NEVER};
use super::messages::{Messages, Verify};
use super::outbox::Outbox;
use super::phase::{Command, Outcome, Phase, Report};
use super::proxy::Tunnel;
use super::random::generator;
use super::reconnect::Reconnect;
use super::results::{AddressCounts, shard_times_ns};
use super::routes::Routes;
use super::slots::{Slots, State, UNASKED};
use super::source::{class_of, cut_off};
use super::tls::Tls;
use common::frame::{Header, MAX_HEADER_LEN, Opcode};
use common::random::Xorshift;
use hdrhistogram::Histogram;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

/// Event data of the eventfd: above every slot index.
pub(super) const WAKE: u64 = u64::MAX;
/// Event data of the timer.
pub(super) const TIMER: u64 = u64::MAX - 1;
/// A shard's configuration and channels.
pub(super) struct Setup {
    pub number: u32,
    pub routes: Routes,
    /// Whether failures name the address they are of: the URL does not, or there are several.
    pub shows_address: bool,
    /// The tunnel to the server, if there is a proxy.
    pub tunnel: Option<Arc<Tunnel>>,
    pub handshake: Handshake,
    pub tls: Option<crate::tls::Client>,
    pub payload_len: usize,
    pub messages: Messages,
    /// Messages per round in closed loop.
    pub in_flight: u32,
    pub connect_timeout_ns: u64,
    pub message_timeout_ns: u64,
    /// A message sent later than this after it was due counts as late.
    pub late_ns: u64,
    pub reconnect: Option<Reconnect>,
    /// The monotonic clock at the start of the fleet; times are nanoseconds since.
    pub base_ns: u64,
    /// Opened before this thread unshared its descriptor table, so it has the same number in both tables.
    pub wake: Arc<OwnedFd>,
    pub commands: Receiver<Command>,
    pub reports: Sender<Report>,
    pub counters: Arc<Counters>,
    /// The counters of all shards, including this one.
    pub all_counters: Arc<[Arc<Counters>]>,
}

/// A shard's state.
pub(super) struct Shard {
    pub(super) setup: Setup,
    pub(super) epoll: OwnedFd,
    /// Wakes the shard with microsecond precision; epoll_wait(2) has milliseconds.
    pub(super) timer: OwnedFd,
    /// Expiry of the timer as last set.
    pub(super) timer_ns: u64,
    pub(super) slots: Slots,
    /// What `wss://` connections have in addition; `None` for `ws://`.
    pub(super) tls: Option<Box<Tls>>,
    /// Partial heads and control frames; few connections have one at a time.
    pub(super) inboxes: HashMap<u32, Vec<u8>>,
    /// Unsent output; few connections have any at a time.
    pub(super) outboxes: HashMap<u32, Outbox>,
    /// The write buffer: the frames of a round. Only keys and payloads change. Empty if the frames differ in more: then
    /// they are composed in the other buffer.
    pub(super) round: Vec<u8>,
    pub(super) composed: Vec<u8>,
    /// Length of one of these frames, at most, and of its header including the key.
    pub(super) frame_len: usize,
    pub(super) frame_head_len: usize,
    /// The frame header of every unfragmented echo.
    pub(super) echo_head: Vec<u8>,
    /// The length of such an echo with its header; `usize::MAX` if replies have no common form.
    pub(super) reply_len: usize,
    /// The generator of masking keys.
    pub(super) mask_keys: Xorshift,
    pub(super) totals: Totals,
    pub(super) outcome: Outcome,
    /// Times of the phase: see [`Outcome::times`].
    pub(super) times: Histogram<u32>,
    /// When the current second ends, if the phase is counted by the second; and what it started from.
    pub(super) lap_ns: u64,
    pub(super) lapping: Lapping,
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
    /// Counts per address since the last phase.
    pub(super) addresses: Vec<AddressCounts>,
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
        let (are_alike, verify) = (setup.messages.are_alike(), setup.messages.verify);
        let is_usual = are_alike && verify == Verify::Echo;
        // TLS encrypts a copy in any case.
        let has_template = are_alike && verify != Verify::None && setup.tls.is_none();
        Ok(Shard {
            epoll,
            timer,
            timer_ns: 0,
            slots: Slots::new(),
            tls: setup.tls.take().map(|client| Box::new(Tls::new(client))),
            inboxes: HashMap::new(),
            outboxes: HashMap::new(),
            round: if has_template { frame.repeat(setup.in_flight as usize) } else { Vec::new() },
            composed: Vec::new(),
            frame_len: frame.len(),
            frame_head_len,
            reply_len: if is_usual { echo_head.len() + setup.payload_len } else { usize::MAX },
            echo_head,
            mask_keys: generator(),
            totals: Totals::default(),
            outcome: Outcome::new(0),
            times: shard_times_ns(),
            lap_ns: NEVER,
            lapping: Lapping::default(),
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
            addresses: vec![AddressCounts::default(); setup.routes.len()],
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

    /// Sends a report. Fails if the fleet has been dropped; the next command is then to quit.
    pub(super) fn report(&self, report: Report) {
        let _ = self.setup.reports.send(report);
    }

    /// Lost connections not yet replaced.
    pub(super) fn pending(&self) -> u64 {
        self.reconnect.as_ref().map_or(0, Reconnect::pending)
    }

    /// Handshakes in progress on behalf of the phase.
    pub(super) fn connecting(&self) -> u64 {
        self.totals.connecting - self.reconnect.as_ref().map_or(0, Reconnect::trying)
    }

    /// Counts a connection that has opened.
    pub(super) fn joins(&mut self, index: u32) {
        self.totals.live += 1;
        self.taking_part += u32::from(index < self.active);
    }

    /// Counts a connection that is no longer open.
    pub(super) fn leaves(&mut self, index: u32) {
        self.totals.live -= 1;
        self.taking_part -= u32::from(index < self.active);
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
            State::Connecting | State::Tunnelling | State::Securing | State::Upgrading | State::Greeting => {
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
        if let Some(tls) = &mut self.tls {
            tls.remove(index);
        }
        self.slots.remove(index)
    }

    /// Schedules the replacement of a lost connection or failed attempt. False: it is not replaced, because the phase
    /// closes connections or the server sent wrong data.
    #[cold]
    pub(super) fn returns(&mut self, index: u32, class: Class, why: &dyn Fn() -> String) -> bool {
        let now_ns = self.now_ns();
        let closing = matches!(self.phase, Phase::Close { .. });
        let Some(reconnect) = &mut self.reconnect else { return false };
        let slot = &self.slots[index];
        if slot.has(UNASKED) {
            // Already counted.
            return true;
        }
        if reconnect.trial_failed(index, now_ns) {
            return true;
        }
        if slot.state != State::Open || closing || class == Class::WrongEcho {
            return false;
        }
        reconnect.lost(now_ns, class, why);
        true
    }

    /// Counts a failure on the address of this number.
    #[cold]
    pub(super) fn failed(&mut self, address: u16, class: Class, why: impl FnOnce() -> String) {
        self.addresses[usize::from(address)].failed += 1;
        self.totals.failures[class as usize] += 1;
        self.totals.unpublished_failures = true;
        self.outcome.failures.add(class, 1);
        let (routes, shows_address) = (&self.setup.routes, self.setup.shows_address);
        self.outcome.failures.first.get_or_insert_with(|| match shows_address {
            true => format!("{}: {}", routes.address(address), why()),
            false => why(),
        });
    }

    /// Removes a lost connection or failed attempt: counts a failure, unless it will be replaced.
    #[cold]
    pub(super) fn lost(&mut self, index: u32, class: Class, why: impl Fn() -> String) {
        match self.setup.tunnel.clone().filter(|_| self.slots[index].state < State::Securing) {
            Some(tunnel) => self.lost_as(index, tunnel.class(class), &|| tunnel.describe(&why())),
            None => self.lost_as(index, class, &why),
        }
    }

    fn lost_as(&mut self, index: u32, class: Class, why: &dyn Fn() -> String) {
        if !self.returns(index, class, why) {
            if self.slots[index].state.is_opening() {
                self.streak += 1;
            }
            self.failed(self.slots[index].address, class, why);
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

/// The bytes of a frame header.
fn head(header: Header) -> Vec<u8> {
    let mut bytes = [0; MAX_HEADER_LEN];
    let len = header.write(&mut bytes);
    bytes[..len].to_vec()
}
