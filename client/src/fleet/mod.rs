//! A fleet: many WebSocket connections to one server, over a few threads.
//!
//! A *shard* is a thread with an epoll instance, a descriptor table and connections of its own, so that a fleet
//! holds a million connections where a process may have 20,000 descriptors. The controlling thread, the one that
//! holds the [`Fleet`], has the shards go through *phases* (connect, send, hold, close), one at a time, and gets a
//! result of each. Between phases the shards keep the connections alive.
//!
//! A phase never fails as a whole because connections do: what fails is counted by class in its result, and when
//! nothing is left to do, or to hope for, the phase ends early and says why. `Err` is for a fleet that cannot go on.

mod clock;
mod close;
mod conduct;
mod connect;
mod control;
mod counters;
mod echo;
mod event_loop;
mod failures;
mod handshake;
mod idle;
mod outbox;
mod pace;
mod payload;
mod phase;
mod random;
mod receive;
mod reconnect;
mod restore;
mod results;
mod send;
mod shard;
mod slots;
mod source;
mod split;
mod start;
#[cfg(test)]
mod tests;
mod times;
mod transition;
mod url;

pub use counters::Watch;
pub use failures::{Class, Failures};
pub use results::{
    ChurnPhase, ClosePhase, ConnectPhase, EchoPhase, HoldPhase, Progress, Reconnects, histogram_ns,
};
pub use source::local_ports;
pub use start::connections_per_shard;
pub use times::Times;
pub use url::{Url, UrlError};

use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// What a fleet is to be.
#[derive(Clone, Debug)]
pub struct FleetConfig {
    /// The server.
    pub url: Url,
    /// The most connections that this fleet will be asked to hold: decides how many shards there must be.
    pub connections: u64,
    /// Threads, instead of one per core, or as many as the limit on descriptors makes necessary if that is more.
    pub shards: Option<usize>,
    /// Whether each shard stays on one core. To a server on this machine that does the same, connections then stay on it.
    pub pin: bool,
    /// Local addresses to connect from, in turn, of the server's family. None: all of 127.0.0.0/8 to a server there, else the kernel's
    /// choice.
    pub source_ips: Vec<IpAddr>,
    /// Bytes of payload in each message.
    pub payload_len: usize,
    /// Messages that each active connection has in flight in closed loop: see [`Fleet::closed_loop`].
    pub in_flight: u32,
    /// How long a handshake may take, from connect(2) to the answer.
    pub connect_timeout: Duration,
    /// How long to wait for an echo, or for the answer to a Close.
    pub message_timeout: Duration,
    /// Whether a connection that is lost is replaced, again and again until one stands: see [`Fleet::reconnects`].
    pub reconnect: bool,
    /// Where set, by a signal handler say, the phase under way ends with what it has so far, and so does each
    /// after it at once.
    pub stop: &'static AtomicBool,
}

impl FleetConfig {
    /// The usual fleet of up to `connections` to `url`, with a payload of 32 bytes and ten seconds' patience.
    pub fn new(url: Url, connections: u64) -> FleetConfig {
        static NEVER: AtomicBool = AtomicBool::new(false);
        FleetConfig {
            url,
            connections,
            shards: None,
            pin: false,
            source_ips: Vec::new(),
            payload_len: 32,
            in_flight: 1,
            connect_timeout: Duration::from_secs(10),
            message_timeout: Duration::from_secs(10),
            reconnect: false,
            stop: &NEVER,
        }
    }
}

/// Called about ten times per second while a phase runs: first with what there was before it, and last when it is over.
pub type OnTick<'a> = &'a mut dyn FnMut(&Progress);

/// Many connections to one server. Dropping it cuts off those that are still open.
pub struct Fleet {
    config: FleetConfig,
    shards: Vec<start::Handle>,
    outcomes: Receiver<phase::Outcome>,
    reconnects: Reconnects,
    /// The start of the fleet, as the monotonic clock had it.
    base_ns: u64,
}
