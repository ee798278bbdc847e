//! Connection attempts, handshakes, deadlines, and when to stop trying.

use super::advice::{NO_CLOSE, NO_GREETING};
use super::class::Class;
use super::handshake::Answer;
use super::pace::Pace;
use super::phase::Phase;
use super::reconnect::notice_silence;
use super::shard::{READABLE, Shard};
use super::slots::{CLOSE_SEEN, Slot, State, UNASKED};
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

    /// Starts a connection. Over loopback it is established when connect(2) returns, so the first request is sent without
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
        let index = self.slots.insert(socket, began_ns);
        self.totals.connecting += 1;
        self.slots[index].address = self.setup.routes.of(n);
        let registered = self.begin_tunnel(index).and_then(|sent| {
            let flags = if sent { READABLE } else { READABLE | EventFlags::OUT };
            let (socket, data) = (self.slots[index].socket(), EventData::new_u64(index.into()));
            epoll::add(&self.epoll, socket, data, flags).map_err(|error| ("epoll_ctl", error))
        });
        if let Err(failed) = registered {
            self.cut(index);
            return Err(failed);
        }
        self.connect_deadlines.push_back((began_ns, index));
        Ok(index)
    }

    /// Sends the upgrade request. False: the socket is not connected yet.
    ///
    /// # Errors
    /// The call that failed, and its error.
    pub(super) fn begin_upgrade(&mut self, index: u32) -> Result<bool, (&'static str, Errno)> {
        send_request(&mut self.slots[index], &self.setup.handshake.request, State::Upgrading)
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
        let why = || format!("{call}: {}", io::Error::from(error));
        match self.setup.tunnel.clone().filter(|_| ["connect", "send"].contains(&call)) {
            Some(tunnel) => self.failed(address, tunnel.class(Class::of(error)), || tunnel.describe(&why())),
            None => self.failed(address, class_of(call, error), why),
        }
    }

    /// connect(2) has completed or failed.
    pub(super) fn connect_done(&mut self, index: u32) {
        let begun = match sockopt::socket_error(self.slots[index].socket()) {
            Ok(Ok(())) if self.tls.is_some() && self.setup.tunnel.is_none() => return self.begin_tls(index),
            Ok(Ok(())) => self.begin_tunnel(index),
            Ok(Err(error)) | Err(error) => Err(("connect", error)),
        };
        if let Err((call, error)) = begun {
            self.lost_in(index, call, error);
        }
    }

    /// The server has accepted the upgrade, and sent its greetings if any are expected. False: the connection was lost at once.
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
                    let why = match self.slots[index].state {
                        State::Greeting => NO_GREETING,
                        State::Tunnelling => "no answer to CONNECT in time",
                        State::Securing => "no response to the TLS handshake in time",
                        _ => "no response to the handshake in time",
                    };
                    self.lost(index, Class::Timeout, || why.to_owned());
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
        let Some(begun) = self.inboxes.get(&index) else { return false };
        let verdict = match (self.slots[index].state, &self.setup.tunnel) {
            (State::Tunnelling, Some(tunnel)) => tunnel.judge(begun, false),
            (State::Upgrading, _) => self.setup.handshake.judge(begun, false),
            _ => return false,
        };
        let Answer::Refused(class, why) = verdict else { return false };
        self.lost(index, class, || why.clone());
        true
    }

    /// Whether the connection with this start is still in such a state: another may have the slot by now.
    fn is_waiting(&self, index: u32, since_ns: u64, is_such: fn(State) -> bool) -> bool {
        (index as usize) < self.slots.len()
            && self.slots[index].since_ns == since_ns
            && is_such(self.slots[index].state)
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

/// Sends a request, after which the slot is in state `then`. False: the socket is not connected yet.
///
/// # Errors
/// The call that failed, and its error.
pub(super) fn send_request(
    slot: &mut Slot,
    request: &[u8],
    then: State,
) -> Result<bool, (&'static str, Errno)> {
    match send(slot.socket(), request, SendFlags::NOSIGNAL) {
        Ok(sent) if sent == request.len() => {
            slot.state = then;
            Ok(true)
        }
        Err(Errno::AGAIN) => Ok(false),
        // The send buffer of a new socket holds any request.
        Ok(_) => Err(("send", Errno::NOBUFS)),
        Err(error) => Err(("connect", error)),
    }
}
