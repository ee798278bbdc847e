//! Connection attempts, handshakes, deadlines, and when to stop trying.

use super::failures::{Class, NO_CLOSE};
use super::handshake::Answer;
use super::pace::Pace;
use super::phase::Phase;
use super::reconnect::notice_silence;
use super::shard::{READABLE, Shard};
use super::slots::{CLOSE_SEEN, State, UNASKED};
use super::source::class_of;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SendFlags, send, sockopt};
use std::io;
use std::time::Duration;

/// Handshakes in progress, over all shards. A listener's queue is limited by its backlog, and by `somaxconn` to as few
/// as 128; beyond that the kernel drops SYNs, which the client retransmits after a second. A server with one listener
/// per core can queue more than this, but is not faster with more.
pub(super) const CONNECT_WINDOW: u32 = 256;

/// This many consecutive failures end the attempts …
const STREAK: u64 = 128;
/// … if they are immediate and permanent, or if nothing else happened for this long.
const STREAK_NS: u64 = 1_000_000_000;

impl Shard {
    pub(super) fn step_connect(
        &mut self,
        now_ns: u64,
        attempts: u64,
        pace: Option<Pace>,
        window: u32,
    ) -> u64 {
        if self.hopeless(now_ns) {
            self.outcome.stalled = self.next < attempts;
            self.finish();
            return 0;
        }
        // Bounded, because an attempt that fails at once does not fill the window.
        for _ in 0..window {
            if self.next == attempts || self.connecting() >= window.into() {
                break;
            }
            match pace.map(|pace| pace.due_ns(self.next)) {
                Some(due_ns) if due_ns > now_ns => return due_ns,
                _ => self.attempt(),
            }
            self.next += 1;
        }
        if self.next == attempts && self.connecting() == 0 {
            self.finish();
            return 0;
        }
        let blocked = self.next == attempts || self.connecting() >= window.into();
        if blocked { u64::MAX } else { now_ns }
    }

    /// Whether all attempts fail, and will go on failing.
    pub(super) fn hopeless(&self, now_ns: u64) -> bool {
        let failures = &self.outcome.failures;
        let lasting = failures.refused + failures.ports_exhausted + failures.descriptors + failures.tls;
        self.streak >= STREAK
            && (lasting >= STREAK || now_ns.saturating_sub(self.outcome.last_ns) >= STREAK_NS)
    }

    /// Starts a connection. Over loopback it is established when connect(2) returns, so the request is sent without
    /// waiting for writability; elsewhere that is one wasted call.
    ///
    /// # Errors
    /// The call that failed, and its error.
    pub(super) fn begin(&mut self) -> Result<u32, (&'static str, Errno)> {
        let began_ns = self.now_ns();
        let n = self.attempts;
        self.attempts += 1;
        let socket = self.setup.routes.connect(n)?;
        if self.reconnect.is_some() {
            let timeout = Duration::from_nanos(self.setup.message_timeout_ns);
            notice_silence(&socket, timeout).map_err(|error| ("setsockopt", error))?;
        }
        // Over TLS nothing, which succeeds too once the connection is established.
        let first: &[u8] = if self.tls.is_some() { &[] } else { &self.setup.handshake.request };
        let is_connected = match send(&socket, first, SendFlags::NOSIGNAL) {
            Ok(sent) if sent == first.len() => true,
            Err(Errno::AGAIN) => false,
            Ok(_) => return Err(("send", Errno::NOBUFS)),
            Err(error) => return Err(("connect", error)),
        };
        let index = self.slots.insert(socket, began_ns);
        self.totals.connecting += 1;
        self.connect_deadlines.push_back((began_ns, index));
        let slot = &mut self.slots[index];
        slot.address = self.setup.routes.of(n);
        let mut flags = READABLE | EventFlags::OUT;
        if is_connected && self.tls.is_none() {
            (slot.state, flags) = (State::Upgrading, READABLE);
        }
        if let Err(error) = epoll::add(&self.epoll, slot.socket(), EventData::new_u64(index.into()), flags) {
            self.cut(index);
            return Err(("epoll_ctl", error));
        }
        if is_connected {
            self.connected(index);
        }
        Ok(index)
    }

    /// Makes an attempt on behalf of the phase.
    pub(super) fn attempt(&mut self) {
        if let Err((call, error)) = self.begin() {
            self.attempt_failed(call, error);
        }
    }

    #[cold]
    fn attempt_failed(&mut self, call: &'static str, error: Errno) {
        self.streak += 1;
        let address = self.setup.routes.of(self.attempts - 1);
        self.failed(address, class_of(call, error), || format!("{call}: {}", io::Error::from(error)));
    }

    /// connect(2) has completed or failed.
    pub(super) fn connect_done(&mut self, index: u32) {
        match sockopt::socket_error(self.slots[index].socket()) {
            Ok(Ok(())) if self.tls.is_some() => self.begin_tls(index),
            Ok(Ok(())) => self.begin_upgrade(index),
            Ok(Err(error)) | Err(error) => self.lost_in(index, "connect", error),
        }
    }

    /// Sends the request of the opening handshake.
    fn begin_upgrade(&mut self, index: u32) {
        let slot = &mut self.slots[index];
        match send(slot.socket(), &self.setup.handshake.request, SendFlags::NOSIGNAL) {
            Ok(sent) if sent == self.setup.handshake.request.len() => slot.state = State::Upgrading,
            Err(Errno::AGAIN) => {}
            // The send buffer of a new socket holds any request.
            Ok(_) => self.lost_in(index, "send", Errno::NOBUFS),
            Err(error) => self.lost_in(index, "connect", error),
        }
    }

    /// The server has accepted the upgrade. False: the connection was lost at once.
    pub(super) fn opened(&mut self, index: u32, now_ns: u64) -> bool {
        let slot = &mut self.slots[index];
        slot.state = State::Open;
        self.addresses[usize::from(slot.address)].opened += 1;
        self.totals.connecting -= 1;
        self.joins(index);
        self.streak = 0;
        let began_ns = self.slots[index].since_ns;
        let handshake_ns = now_ns - began_ns;
        self.setup.counters.handshakes.record(handshake_ns);
        if self.reconnect.as_mut().is_some_and(|reconnect| reconnect.succeeded(index, now_ns)) {
            return self.resume(index, now_ns);
        }
        if self.phase == Phase::Rest {
            // The phase of this attempt was stopped.
            return true;
        }
        self.outcome.opened += 1;
        self.outcome.last_ns = now_ns;
        self.times.saturating_record(handshake_ns);
        if let Some(tls) = &mut self.tls {
            tls.opened(index, began_ns, now_ns);
        }
        match self.phase {
            Phase::Churn { .. } => self.send_message(index, now_ns),
            _ => true,
        }
    }

    /// Times out handshakes and closing handshakes.
    pub(super) fn expire(&mut self, now_ns: u64) {
        while let Some(&(began_ns, index)) = self.connect_deadlines.front() {
            if self.is_waiting(index, began_ns, State::is_opening) {
                if now_ns.saturating_sub(began_ns) < self.setup.connect_timeout_ns {
                    break;
                }
                if !self.refused_so_far(index) {
                    let tls = if self.slots[index].state == State::Securing { "TLS " } else { "" };
                    self.lost(index, Class::Timeout, || format!("no response to the {tls}handshake in time"));
                }
            }
            self.connect_deadlines.pop_front();
        }
        while let Some(&(began_ns, index)) = self.close_deadlines.front() {
            if self.is_waiting(index, began_ns, |state| state == State::Closing) {
                if now_ns.saturating_sub(began_ns) < self.setup.message_timeout_ns {
                    break;
                }
                self.close_expired(index);
            }
            self.close_deadlines.pop_front();
        }
    }

    /// Fails a handshake by its response, if that has arrived as far as the end of its head, because no more will. False: it
    /// has not.
    #[cold]
    pub(super) fn refused_so_far(&mut self, index: u32) -> bool {
        if self.slots[index].state != State::Upgrading {
            return false;
        }
        let Some(begun) = self.inboxes.get(&index) else { return false };
        let Answer::Refused(class, why) = self.setup.handshake.judge(begun, false) else { return false };
        self.lost(index, class, || why.clone());
        true
    }

    /// Whether the connection with this start is still in one of the states: another may have the slot by now.
    fn is_waiting(&self, index: u32, since_ns: u64, is_of: impl Fn(State) -> bool) -> bool {
        (index as usize) < self.slots.len()
            && self.slots[index].since_ns == since_ns
            && is_of(self.slots[index].state)
    }

    /// Resets a connection that the server has not closed in time. It is a failure only without a Close frame.
    fn close_expired(&mut self, index: u32) {
        let slot = &self.slots[index];
        if !slot.has(UNASKED) {
            self.outcome.forced += 1;
        }
        if !slot.has(CLOSE_SEEN) {
            self.failed(slot.address, Class::Timeout, || NO_CLOSE.to_owned());
        }
        self.cut(index);
    }
}
