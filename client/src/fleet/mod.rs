//! A fleet: many WebSocket connections to one server, over a few threads.
//!
//! A *shard* is a thread with its own epoll instance, descriptor table and connections: a fleet holds a million
//! connections under a limit of 20,000 descriptors. The controlling thread, which owns the [`Fleet`], runs *phases*
//! (connect, send, hold, close) on all shards, one at a time, and gets a result from each. Between phases the shards keep
//! the connections alive.
//!
//! Failed connections do not fail a phase: its result counts them by class. A phase that cannot make progress any more
//! ends early and gives the reason. `Err` means that the fleet itself is unusable.

mod advice;
mod authority;
mod class;
mod clock;
mod close;
mod conduct;
mod connect;
mod control;
mod counters;
mod echo;
mod endpoint;
mod event_loop;
mod failures;
mod handshake;
mod idle;
mod lap;
mod laps;
mod messages;
mod open_loop;
mod outbox;
mod pace;
mod payload;
mod phase;
mod proxy;
mod random;
mod rate;
mod receive;
mod reconnect;
mod refusal;
mod reply;
mod request;
mod restore;
mod results;
mod routes;
mod secure;
mod send;
mod shard;
mod slots;
mod source;
mod split;
mod start;
#[cfg(test)]
mod tests;
mod times;
mod tls;
mod transition;
mod tunnel;
mod url;

pub use authority::{Authority, AuthorityError, Host};
pub use class::Class;
pub use counters::Watch;
pub use endpoint::{Endpoint, ResolveError};
pub use failures::Failures;
pub use messages::{Messages, Verify};
pub use proxy::{Proxy, ProxyError};
pub use rate::{Ramp, Rate};
pub use request::{Field, FieldError, RequestFields};
pub use results::{
    AddressCounts, ChurnPhase, ClosePhase, ConnectPhase, EchoPhase, HoldPhase, Progress, Reconnects, Second,
    TlsTimes, Unsolicited, histogram_ns,
};
pub use source::local_ports;
pub use start::connections_per_shard;
pub use times::Times;
pub use url::{Url, UrlError};

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// Configuration of a fleet.
#[derive(Clone, Debug)]
pub struct FleetConfig {
    /// The server. Connections use its addresses round-robin.
    pub endpoint: Endpoint,
    /// Header fields to add to the request of the opening handshake.
    pub request_fields: RequestFields,
    /// For `wss://`, what to trust; otherwise `None`.
    pub tls: Option<crate::tls::Client>,
    /// The most connections this fleet will hold: determines the least number of shards.
    pub connections: u64,
    /// Number of shards. `None`: one per core, or more if the limit on descriptors requires it.
    pub shards: Option<usize>,
    /// Whether to pin each shard to a core. With a local server that does the same, a connection stays on one core.
    pub pin: bool,
    /// Source addresses with port 0, used round-robin, each to the server's addresses of its family. To the others, and if
    /// empty: many of 127.0.0.0/8 to a server there, otherwise the kernel's choice.
    pub source_ips: Vec<SocketAddr>,
    /// Payload of each message, in bytes; of the longest if lengths vary.
    pub payload_len: usize,
    /// The kind of messages, and what counts as a reply.
    pub messages: Messages,
    /// Messages that each active connection has in flight in closed loop: see [`Fleet::closed_loop`].
    pub in_flight: u32,
    /// Timeout of the handshake, from connect(2) to the response.
    pub connect_timeout: Duration,
    /// Timeout of an echo, and of the answer to a Close frame.
    pub message_timeout: Duration,
    /// A message sent later than this after it was due counts as late (open loop).
    pub late_after: Duration,
    /// Whether phases that connect, echo or churn are also counted by the second.
    pub by_second: bool,
    /// Whether to replace lost connections, retrying until one is open: see [`Fleet::reconnects`].
    pub reconnect: bool,
    /// Once set (by a signal handler, for example), the current phase ends with its results so far, and later ones end
    /// at once.
    pub stop: &'static AtomicBool,
}

impl FleetConfig {
    /// A fleet of up to `connections` to `endpoint`, with 32 bytes of payload and timeouts of ten seconds.
    pub fn new(endpoint: Endpoint, connections: u64) -> FleetConfig {
        static NEVER: AtomicBool = AtomicBool::new(false);
        FleetConfig {
            endpoint,
            request_fields: RequestFields::default(),
            tls: None,
            connections,
            shards: None,
            pin: false,
            source_ips: Vec::new(),
            payload_len: 32,
            messages: Messages::default(),
            in_flight: 1,
            connect_timeout: Duration::from_secs(10),
            message_timeout: Duration::from_secs(10),
            late_after: Duration::from_millis(1),
            by_second: false,
            reconnect: false,
            stop: &NEVER,
        }
    }
}

/// Called about ten times per second while a phase runs: first with the counts before it, last with those at its end.
pub type OnTick<'a> = &'a mut dyn FnMut(&Progress);

/// Many connections to one server. Dropping it resets those that are still open.
pub struct Fleet {
    config: FleetConfig,
    shards: Vec<start::Handle>,
    reports: Receiver<phase::Report>,
    /// The seconds of the current phase, if they are counted.
    laps: Option<laps::Laps>,
    reconnects: Reconnects,
    unsolicited: Unsolicited,
    /// Counts per address of the server, in their order.
    addresses: Vec<AddressCounts>,
    /// The monotonic clock at the start of the fleet.
    base_ns: u64,
}
