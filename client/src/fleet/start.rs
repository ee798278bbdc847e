//! Starts shards, sends them commands, and ends them.

use super::connect::CONNECT_WINDOW;
use super::counters::Counters;
use super::handshake::Handshake;
use super::phase::Command;
use super::proxy::Tunnel;
use super::random::random;
use super::reconnect::Reconnect;
use super::results::{AddressCounts, Reconnects, Unsolicited};
use super::routes::Routes;
use super::shard::{Setup, Shard};
use super::{Fleet, FleetConfig, Host, clock};
use anyhow::{Context, Result, bail, ensure};
use common::cores;
use common::limits::raise_nofile;
use common::table::unshare_table;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::thread::gettid;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Descriptors of a shard's table that are reserved: standard streams, eventfd, epoll instance, timer, and the most
/// handshakes in progress. At most a quarter of a small table.
const RESERVED: u64 = 2 * CONNECT_WINDOW as u64 + 64;

/// Shards have no deep calls.
const STACK_LEN: usize = 256 * 1024;

/// The controlling thread's end of a shard.
pub(super) struct Handle {
    commands: Sender<Command>,
    wake: Arc<OwnedFd>,
    pub(super) counters: Arc<Counters>,
    pub(super) thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// Sends the shard a command and wakes it.
    pub(super) fn send(&self, command: Command) {
        // `run_adapting` finds out if the shard has died.
        let _ = self.commands.send(command);
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

/// The most connections per shard: the limit on descriptors, raised to its hard limit, minus a reserve.
///
/// # Errors
/// If the limit cannot be read (getrlimit(2)).
pub fn connections_per_shard() -> io::Result<u64> {
    // Slot indices have 32 bits.
    let limit = raise_nofile()?;
    Ok((limit - RESERVED.min(limit / 4)).clamp(1, u64::from(u32::MAX) / 2))
}

/// Number of shards: one per core, or more if descriptors require it, but none without a connection.
fn count_shards(config: &FleetConfig) -> Result<usize> {
    let most = connections_per_shard().context("cannot read or raise the limit on open files")?;
    let needed = config.connections.div_ceil(most).max(1) as usize;
    match config.shards {
        Some(0) => bail!("there must be at least one shard"),
        Some(shards) if shards < needed => bail!(
            "{} connections need at least {needed} shards, as each can have {most} under the limit on open files: \
             omit --shards, or raise `ulimit -Hn`",
            config.connections
        ),
        Some(shards) => Ok(shards),
        None => {
            let at_once = thread::available_parallelism().map_or(1, NonZero::get);
            let shards = at_once.min(config.connections.max(1) as usize).max(needed);
            // The same number of connections on each core.
            Ok(if config.pin { shards.next_multiple_of(cores::available()?.len()) } else { shards })
        }
    }
}

/// Fails for a source address that no address of the server can use.
fn check_sources(config: &FleetConfig) -> Result<()> {
    let addrs = config.endpoint.addrs();
    let is_unusable = |source: &&SocketAddr| addrs.iter().all(|addr| addr.is_ipv4() != source.is_ipv4());
    if let Some(source) = config.source_ips.iter().find(is_unusable) {
        let (own, other) = if source.is_ipv4() { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
        let (source, server) = (source.ip(), config.endpoint.first_hop());
        bail!(
            "the source address {source} is {own}, and {server} has {other} addresses only: give one of those"
        );
    }
    Ok(())
}

impl Fleet {
    /// Starts the shards, without connections.
    ///
    /// Call this and all methods that run a phase from a thread with the process's original descriptor table, which is
    /// every thread that no shard spawned.
    ///
    /// # Errors
    /// If the shards cannot hold the connections, or the kernel refuses a thread, eventfd, epoll instance or descriptor
    /// table.
    pub fn start(config: FleetConfig) -> Result<Fleet> {
        check_sources(&config)?;
        let url = &config.endpoint.url;
        ensure!(url.is_tls == config.tls.is_some(), "{url} needs TLS, or must not have it");
        let count = count_shards(&config)?;
        let cores = if config.pin { cores::available()? } else { Vec::new() };
        let base_ns = clock::now_ns();
        let (reporting, reports) = mpsc::channel();
        let wakes = eventfds(count).context("cannot open an eventfd for each shard")?;
        let mut fleet = Fleet {
            shards: Vec::with_capacity(count),
            reports,
            laps: None,
            reconnects: Reconnects::default(),
            unsolicited: Unsolicited::default(),
            addresses: vec![AddressCounts::default(); config.endpoint.addrs().len()],
            base_ns,
            config,
        };
        let config = &fleet.config;
        let window = (CONNECT_WINDOW / count as u32).max(4);
        let servers = config.endpoint.addrs();
        let authority = &config.endpoint.url.authority;
        let tunnel = config.endpoint.proxy.as_ref().map(|proxy| Arc::new(Tunnel::new(proxy, authority)));
        let routes = Routes::for_shards(servers, &config.source_ips, config.connections, count);
        let counters: Arc<[Arc<Counters>]> = (0..count).map(|_| Arc::default()).collect();
        let mut started: Vec<Receiver<io::Result<()>>> = Vec::with_capacity(count);
        for (number, (wake, routes)) in wakes.into_iter().zip(routes).enumerate() {
            let (commands, orders) = mpsc::channel();
            let setup = Setup {
                number: number as u32,
                routes,
                shows_address: servers.len() > 1 || matches!(config.endpoint.first_hop().host, Host::Name(_)),
                tunnel: tunnel.clone(),
                tls: config.tls.clone(),
                handshake: Handshake::new(&config.endpoint.url, &config.request_fields, nonce()),
                payload_len: config.payload_len,
                messages: config.messages.clone(),
                in_flight: config.in_flight,
                connect_timeout_ns: nanos(config.connect_timeout),
                message_timeout_ns: nanos(config.message_timeout),
                late_ns: nanos(config.late_after),
                reconnect: config.reconnect.then(|| Reconnect::new(window)),
                base_ns,
                wake: wake.clone(),
                commands: orders,
                reports: reporting.clone(),
                counters: counters[number].clone(),
                all_counters: counters.clone(),
            };
            let counters = counters[number].clone();
            let core = cores.get(number % cores.len().max(1)).copied();
            let (thread, ready) = spawn(setup, core).context("cannot start a thread for each shard")?;
            fleet.shards.push(Handle { commands, wake, counters, thread: Some(thread) });
            started.push(ready);
        }
        await_all(started)?;
        Ok(fleet)
    }

    /// The number of shards.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.shards.iter().for_each(|shard| shard.send(Command::Quit));
        // All shards quit concurrently. The eventfds must stay open until the last one has read its own.
        for thread in self.shards.iter_mut().filter_map(|shard| shard.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// One to wake each shard.
fn eventfds(count: usize) -> io::Result<Vec<Arc<OwnedFd>>> {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    (0..count).map(|_| Ok(Arc::new(eventfd(0, flags)?))).collect()
}

/// Waits until all shards are set up.
fn await_all(started: Vec<Receiver<io::Result<()>>>) -> Result<()> {
    for ready in started {
        let result = ready.recv().context("a shard died as it started")?;
        result.context("cannot create a shard's descriptor table or epoll instance")?;
    }
    Ok(())
}

/// Starts a shard's thread, pinned to `core` if given. The receiver yields whether its setup succeeded.
fn spawn(setup: Setup, core: Option<usize>) -> io::Result<(JoinHandle<()>, Receiver<io::Result<()>>)> {
    let (ready, started) = mpsc::channel();
    let builder = thread::Builder::new().name(format!("shard-{}", setup.number)).stack_size(STACK_LEN);
    let thread = builder.spawn(move || {
        setup.counters.thread_id.store(gettid().as_raw_pid() as u32, Relaxed);
        let shard = own_table(setup.wake.as_fd())
            .and_then(|()| core.map_or(Ok(()), cores::stay_on))
            .and_then(|()| Shard::new(setup));
        match shard {
            Ok(shard) => {
                let _ = ready.send(Ok(()));
                shard.run();
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        }
    })?;
    Ok((thread, started))
}

/// Unshares this thread's descriptor table, and closes everything in it but the standard streams and `wake`.
fn own_table(wake: BorrowedFd<'_>) -> io::Result<()> {
    unshare_table(wake)?;
    let wake = wake.as_raw_fd() as libc::c_uint;
    if wake > 3 {
        // Sockets of other threads would stay open as long as this table holds a copy. Kernels before 5.9 do not have
        // the call: there they do.
        // SAFETY: closes descriptors in a table that this thread alone owns, of which it uses only `wake`.
        unsafe { libc::syscall(libc::SYS_close_range, 3 as libc::c_uint, wake - 1, 0) };
    }
    Ok(())
}

/// The 16-byte nonce of the handshake's key (RFC 6455, section 4.1).
fn nonce() -> [u8; 16] {
    ((u128::from(random()) << 64) | u128::from(random())).to_ne_bytes()
}

fn nanos(time: Duration) -> u64 {
    time.as_nanos().try_into().unwrap_or(u64::MAX)
}
