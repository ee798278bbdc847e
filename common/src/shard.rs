//! A shard: a thread with its own listener, connections and descriptor table.

pub mod budget;
pub mod cores;
pub mod limits;
pub(crate) mod listen;
pub mod table;
pub mod threads;

use crate::budget::Reservation;
use crate::config::{Config, LINGER, MAX_HEAD_LEN, MetricsOn};
use crate::http::{self, Method, Page, Request, Status};
use crate::metrics::{Closed, Metrics, Rejected, ShardMetrics};
use crate::origin;
use crate::shutdown::Shutdown;
use crate::subprotocol;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// How long a shard does not call accept(2) after it failed for want of descriptors or memory.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long to wait for the request of a rejected connection.
const REJECT_TIMEOUT: Duration = Duration::from_millis(100);

/// Connections accepted before those that are open are served again.
pub const ACCEPT_BATCH: usize = 64;

/// Whether yielding the core pays ([`Shard::yield_core`]). With many shards per core it does not: with 54 on two cores, 150,000
/// connections were set up in 4.6 s instead of 4.2 s.
pub(crate) fn is_crowded(shards: usize, cores: usize) -> bool {
    (cores + 1..=4 * cores).contains(&shards)
}

/// Where plain text is answered.
const TEXT: &str = "text/plain; charset=utf-8";
/// What Prometheus expects of its text format.
pub(crate) const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a stage's `serve` gets: what the shard has for itself, and the little that shards share.
pub struct Shard<F> {
    /// Non-blocking; what it accepts has `TCP_NODELAY`.
    pub listener: TcpListener,
    /// The flags of every stage.
    pub config: Arc<Config>,
    /// The flags of this stage.
    pub flags: Arc<F>,
    /// Readable once the drain has begun.
    pub shutdown: Shutdown,
    pub(crate) index: usize,
    /// Whether [`Shard::yield_core`] yields.
    pub(crate) crowded: bool,
    /// Why a connection over [`Metrics::limit`] is refused.
    pub(crate) limited_by: Rejected,
    pub(crate) all: Arc<Metrics>,
}

/// What accept(2) gave.
pub enum Accepted<S> {
    /// A connection.
    Connection(S),
    /// No connection waits.
    Nobody,
    /// No descriptors or memory left: to be tried again after [`ACCEPT_PAUSE`].
    Exhausted,
}

/// What to do with the bytes that a new connection has sent.
pub enum Answer {
    /// Read on: the request has not all arrived.
    Partial,
    /// Send this; behind `head_len` bytes of the request come frames. The connection now counts as open until
    /// [`Shard::closed`] is called.
    Upgrade {
        /// The response's bytes.
        response: Vec<u8>,
        /// Bytes of the request.
        head_len: usize,
    },
    /// Send this and close.
    Close(Vec<u8>),
}

impl<F> Shard<F> {
    /// The shard's own counters.
    #[inline]
    pub fn metrics(&self) -> &ShardMetrics {
        &self.all.shards[self.index]
    }

    /// Lets other shards, and their peers on this machine, use the core; to be called before a wait for events.
    ///
    /// With a few more shards than cores, a shard that sleeps after each event is woken for the next one by the very call that
    /// causes it, on the core of its peer: two context switches per event. One that stays runnable finds many events when it
    /// runs again: with three shards on two cores, 198,000 echoes/s instead of 184,000, and 180,000 with two (medians of
    /// five rounds).
    #[inline]
    pub fn yield_core(&self) {
        if self.crowded {
            rustix::thread::sched_yield();
        }
    }

    /// Takes a connection from the backlog, if one waits, and passes it to `register`, non-blocking. Where that fails (epoll_ctl(2),
    /// `ENOMEM` and `ENOSPC`), memory is exhausted.
    pub fn accept<S>(&self, register: impl FnOnce(TcpStream) -> io::Result<S>) -> Accepted<S> {
        for _ in 0..ACCEPT_BATCH {
            if self.shutdown.begun() {
                return Accepted::Nobody;
            }
            match rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => {
                    return register(socket.into())
                        .map_or_else(|error| self.cannot_watch(&error), Accepted::Connection);
                }
                Err(Errno::AGAIN) => return Accepted::Nobody,
                Err(error) if self.accept_must_pause(error) => return Accepted::Exhausted,
                Err(_) => {}
            }
        }
        // An error that comes every time is not one connection's, whatever the manual says.
        Accepted::Exhausted
    }

    /// Takes no more connections: those in the backlog are reset, new ones refused (`inet_shutdown` in Linux's
    /// net/ipv4/af_inet.c undoes listen(2)).
    pub fn stop_listening(&self) {
        if let Err(error) = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Read) {
            tracing::warn!("cannot stop listening: {error}");
        }
    }

    /// Counts an error of accept(2). True: the next call would fail in the same way, so wait for [`ACCEPT_PAUSE`]. False: it
    /// was an error of one connection, pending on the new socket (accept(2), "Error handling").
    pub fn accept_must_pause(&self, error: Errno) -> bool {
        match error {
            Errno::INTR => return false,
            Errno::CONNABORTED
            | Errno::PERM
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NONET
            | Errno::OPNOTSUPP
            | Errno::TIMEDOUT => {
                self.metrics().rejected(Rejected::Aborted);
                warn_once_a_second(|| tracing::warn!("a connection was not to be accepted: {error}"));
                return false;
            }
            Errno::NOBUFS | Errno::NOMEM => self.has_no_room(Rejected::Memory),
            _ => self.has_no_room(Rejected::Descriptors),
        }
        warn_once_a_second(|| tracing::warn!("cannot accept: {error}; trying again every {ACCEPT_PAUSE:?}"));
        true
    }

    fn cannot_watch<S>(&self, error: &io::Error) -> Accepted<S> {
        self.has_no_room(Rejected::Memory);
        warn_once_a_second(|| tracing::warn!("cannot watch a connection: {error}"));
        Accepted::Exhausted
    }

    /// Answers the request at the start of `bytes`, on a connection accepted at `accepted_at`.
    pub fn answer(&self, bytes: &[u8], accepted_at: Instant) -> Answer {
        match http::parse(bytes) {
            Request::Partial => Answer::Partial,
            Request::Upgrade { origin, .. } if !origin::is_allowed(origin, &self.config.allow_origin) => {
                self.metrics().rejected(Rejected::Origin);
                Answer::Close(refusal(Status::Forbidden, Method::Get))
            }
            Request::Upgrade { accept_key, head_len, subprotocols, .. } => match self.admit() {
                Ok(()) => {
                    self.metrics().opened(accepted_at.elapsed());
                    let selected = subprotocol::select(subprotocols.into_iter(), &self.config.subprotocol);
                    Answer::Upgrade { response: http::switching_protocols(&accept_key, selected), head_len }
                }
                Err(Some(reason)) => Answer::Close(self.refuse(reason)),
                Err(None) => {
                    Answer::Close(http::response(Status::Unavailable, TEXT, b"draining\n", Method::Get))
                }
            },
            Request::Page(page, method) => Answer::Close(self.page(page, method)),
            Request::Refused(status, method) => {
                if !matches!(status, Status::NotFound | Status::MethodNotAllowed) {
                    self.metrics().rejected(Rejected::BadHandshake);
                }
                Answer::Close(refusal(status, method))
            }
        }
    }

    /// Answers a connection that cannot be served, on the accepting thread: plain HTTP as ever, and else 503.
    ///
    /// # Errors
    /// Where the peer has disconnected, or its request does not arrive within 100 ms.
    pub fn reject(&self, mut stream: &TcpStream, reason: Rejected) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(REJECT_TIMEOUT))?;
        let mut head = [0; MAX_HEAD_LEN];
        let len = loop {
            match stream.read(&mut head) {
                // With a timeout set it is not restarted (signal(7)).
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        let response = match http::parse(&head[..len]) {
            Request::Page(page, method) => self.page(page, method),
            _ => self.refuse(reason),
        };
        stream.write_all(&response)
    }

    fn page(&self, page: Page, method: Method) -> Vec<u8> {
        match page {
            Page::Health => {
                let (status, body) = health(&self.shutdown);
                http::response(status, TEXT, body, method)
            }
            Page::Ready => {
                let (status, body) = self.all.readiness(&self.shutdown).answer();
                http::response(status, TEXT, body, method)
            }
            Page::Metrics if self.config.metrics_on == MetricsOn::Admin => refusal(Status::NotFound, method),
            Page::Metrics => http::response(Status::Ok, PROMETHEUS, &self.all.render(&self.shutdown), method),
        }
    }

    /// Counts a rejected connection, and returns its 503.
    fn refuse(&self, reason: Rejected) -> Vec<u8> {
        self.has_no_room(reason);
        warn_once_a_second(|| {
            tracing::warn!("refusing connections ({reason:?}): {} are open", self.all.active());
        });
        http::response(Status::Unavailable, TEXT, b"full\n", Method::Get)
    }

    /// Counts a connection that there is no room for.
    fn has_no_room(&self, reason: Rejected) {
        self.metrics().rejected(reason);
        self.all.pressure.rejected(reason, Instant::now());
    }

    /// Admission. `Err(None)`: the server drains.
    fn admit(&self) -> Result<(), Option<Rejected>> {
        if self.shutdown.begun() {
            return Err(None);
        }
        if self.metrics().active() >= self.all.shard_capacity as u64 {
            return Err(Some(Rejected::Descriptors));
        }
        if self.all.admitted.fetch_add(1, Relaxed) >= self.all.limit {
            self.all.admitted.fetch_sub(1, Relaxed);
            return Err(Some(self.limited_by));
        }
        Ok(())
    }

    /// A connection's part of `--buffer-budget`.
    pub fn reservation(&self) -> Reservation {
        self.all.budget.reservation()
    }

    /// How long a lingering close waits for the peer to close too: [`LINGER`], or as long as a drain may take.
    pub fn linger_timeout(&self) -> Duration {
        if self.shutdown.begun() { self.config.drain_timeout } else { LINGER }
    }

    /// Counts the end of a connection that [`Answer::Upgrade`] opened.
    pub fn closed(&self, reason: Closed) {
        self.metrics().closed(reason);
        self.all.admitted.fetch_sub(1, Relaxed);
    }
}

#[cfg(feature = "fuzzing")]
impl<F> Shard<F> {
    /// The only shard of a server with the default flags but for `--buffer-budget`, on a free port of loopback.
    ///
    /// # Errors
    /// The kernel's, where it has no eventfd or no port.
    pub fn alone(flags: F, budget: Option<usize>) -> std::io::Result<Shard<F>> {
        use crate::budget::Budget;
        use crate::readiness::Pressure;

        let limit = usize::MAX;
        Ok(Shard {
            listener: TcpListener::bind("127.0.0.1:0")?,
            config: Arc::new(Config::of(&[])),
            flags: Arc::new(flags),
            shutdown: Shutdown::new()?,
            index: 0,
            crowded: false,
            limited_by: Rejected::Full,
            all: Arc::new(Metrics {
                stage: "alone",
                limit,
                shard_capacity: limit,
                pressure: Pressure::new(Instant::now()),
                budget: Budget::new(budget),
                kernel: crate::kernel::KernelShare::at_start(),
                admitted: Default::default(),
                shards: vec![ShardMetrics::default()],
            }),
        })
    }

    /// What is left of `--buffer-budget`, in bytes.
    pub fn budget_left(&self) -> usize {
        let budget = &self.all.budget;
        budget.limit.checked_sub(budget.held()).expect("never more held than the budget allows")
    }

    /// Connections that were closed because it was spent.
    pub fn overloads(&self) -> u64 {
        self.metrics().closed[Closed::Overload as usize].load(Relaxed)
    }
}

/// A response whose body is its status.
fn refusal(status: Status, method: Method) -> Vec<u8> {
    http::response(status, TEXT, format!("{}\n", status.line()).as_bytes(), method)
}

/// The response of `/health`.
pub(crate) fn health(shutdown: &Shutdown) -> (Status, &'static [u8]) {
    if shutdown.begun() { (Status::Unavailable, b"draining\n") } else { (Status::Ok, b"ok\n") }
}

/// Logs at most once per second, for the whole process, what may happen on every connection.
pub(crate) fn warn_once_a_second(log: impl FnOnce()) {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    static NEXT_MS: AtomicU64 = AtomicU64::new(0);
    let now = START.elapsed().as_millis() as u64;
    let next = NEXT_MS.load(Relaxed);
    if now >= next && NEXT_MS.compare_exchange(next, now + 1000, Relaxed, Relaxed).is_ok() {
        log();
    }
}
