//! Thousands of slow and stalled peers: honest clients are still served, memory is bounded, and the stalled peers time
//! out.

mod kinds;

use super::crowd::{Crowd, Ends};
use super::honest::Honest;
use super::kernel::unsent_bytes;
use super::scrape::scraper;
use super::sized;
use crate::cases::budget::FREE_LEN;
use crate::descriptors::room;
use crate::frame::{BINARY, Frame};
use crate::process::{descriptors, resident_bytes};
use crate::server::{Binary, Server};
use crate::wait;
use crate::wire::Peer;
use kinds::{BEGUN_LEN, KINDS, Kind, MESSAGE_LEN, READER_LEN, Stalled};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The size of an attack.
#[derive(Clone, Copy)]
struct Attack {
    /// Peers of each kind.
    each: usize,
    honest: usize,
    /// Messages per second of all honest clients together.
    rate: u32,
    /// The interval over which latencies are measured.
    window: Duration,
    /// `--handshake-timeout` and `--idle-timeout`.
    timeout: Duration,
    /// Whether the server echoes a message in fragments while it arrives.
    streams: bool,
}

impl Attack {
    fn new() -> Attack {
        Attack {
            each: room(sized(200, 5_000)),
            honest: room(sized(50, 1_000)),
            rate: sized(1_000, 5_000) as u32,
            window: Duration::from_secs(sized(1, 10) as u64),
            timeout: Duration::from_secs(sized(6, 60) as u64),
            streams: false,
        }
    }

    /// Starts a server with this `--buffer-budget` in bytes, and reduces the attack to the number of connections that
    /// the server supports: with a thread per connection, that may be fewer.
    fn serve(mut self, binary: &Binary, budget: usize) -> (Server, Attack) {
        let timeout = format!("{}s", self.timeout.as_secs());
        let max = (self.each * KINDS.len() + self.honest) * 11 / 10;
        let [max, budget] = [max, budget].map(|number| number.to_string());
        let server = binary.serve(
            &[
                &["--handshake-timeout", &timeout, "--idle-timeout", &timeout][..],
                &["--max-connections", &max, "--buffer-budget", &budget],
            ]
            .concat(),
        );
        self.streams = Peer::connect(server.addr).streams_echoes();
        server.metrics_agree(&[("ws_connections_active", 0)]);
        let limit = server.metrics().sum("ws_connections_limit") as usize;
        // Leave a twentieth for other processes of the machine.
        self.each = self.each.min((limit - limit / 20 - self.honest) / KINDS.len());
        (server, self)
    }

    /// The bound on the server's resident memory, in bytes: the initial memory, the budget, and a cost per connection.
    fn memory_bound(&self, server: &Server, before: u64) -> u64 {
        let budget = server.metrics().sum("ws_buffer_budget_bytes") as u64;
        before + budget + (self.each * KINDS.len()) as u64 * connection_bytes(server) + SLACK_BYTES
    }
}

/// Memory per connection that is not charged to the budget, in bytes, by stage. Stage 1: a stack and a read buffer of 4
/// KiB. Stages 2 and 3: a task or a table entry, and the same buffer. All: the first 4 KiB of buffered data
/// ([`FREE_LEN`]).
fn connection_bytes(server: &Server) -> u64 {
    match &server.ready_line[..6] {
        "stage1" => (64 + 16 + 4) << 10,
        "stage2" | "stage3" => (4 + 4 + 4) << 10,
        _ => (4 + 1) << 10,
    }
}

/// Memory that does not belong to a connection: the allocator's overhead, and scrapes.
const SLACK_BYTES: u64 = 16 << 20;

/// The most output that the kernel may queue for a connection whose peer does not read: 128 KiB, and data in flight.
const UNSENT_BYTES: u64 = 512 << 10;

/// The factor by which the p99 of honest clients may grow during the attack, and at its start, when the server and the
/// stalled peers compete for all cores. An event loop without a read quantum would delay honest clients by seconds.
const SLOWER: u32 = 5;

/// The least p99 to compare with: below it, other processes of the machine dominate.
const LEAST_P99: Duration = Duration::from_millis(5);

/// Stalled peers of all kinds at once: the latency of honest clients and the memory are bounded, and after the timeout
/// exactly the stalled peers are closed.
pub(crate) fn peers(binary: &Binary) {
    let attack = Attack::new();
    let (server, attack) = attack.serve(binary, attack.each * (BEGUN_LEN + 4 * READER_LEN));
    let Attack { each, honest: honest_count, window, .. } = attack;
    let scrapes = scraper(server.admin, |_| {});
    let honest = Honest::start(server.addr, honest_count, attack.rate);
    server.metrics_agree(&[("ws_connections_active", honest_count)]);
    let before = honest.latencies(window);
    let (rss_before, fds_before) = (resident_bytes(server.pid()), descriptors(server.pid()));

    let start = Instant::now();
    let stalled = KINDS.map(|kind| Stalled::start(kind, server.addr, each, attack.streams));
    stalled.iter().for_each(Stalled::establish);
    let (onset, onset_time) = (honest.latencies_since(start), start.elapsed());
    let during = honest.latencies(window);
    let rss_during = resident_bytes(server.pid());
    let unsent = unsent_bytes(server.addr).into_iter().max().expect("a socket");
    // Until here no stalled peer may have been closed.
    server.metrics_agree(&[
        ("ws_connections_active", honest_count + 3 * each),
        ("ws_connections_rejected_total", 0),
    ]);

    let ends = Stalled::await_ends(stalled, &server, honest_count, attack.timeout);
    let closed_time = start.elapsed();
    is_over(&server, attack, fds_before);
    let after = honest.latencies(window);
    let rss_after = resident_bytes(server.pid());
    let (scrapes, _) = (scrapes.stop(), honest.stop());
    println!(
        "stalled::peers on {}: 4 x {each} stalled, {honest_count} honest; latency before {before}; at the start, {onset_time:.1?}, \
         {onset}; during {during}; after {after}; RSS {} MB, {} MB, {} MB; at most {unsent} bytes unsent in the kernel; \
         all closed after {closed_time:.1?}; slowest of {} scrapes {:.1?}",
        &server.ready_line[..6],
        rss_before >> 20,
        rss_during >> 20,
        rss_after >> 20,
        scrapes.count,
        scrapes.slowest,
    );
    ends_are_right(&ends);
    let bound = attack.memory_bound(&server, rss_before);
    assert!(rss_during <= bound, "expected: at most {bound} bytes of memory; got: {rss_during}");
    assert!(
        unsent <= UNSENT_BYTES,
        "expected: at most {UNSENT_BYTES} bytes unsent per socket; got: {unsent}"
    );
    // Stages 1 and 2 leave fairness to the schedulers of threads and tasks.
    if server.ready_line.starts_with("stage3") || server.ready_line.starts_with("stage4") {
        let before = before.p99().max(LEAST_P99);
        for (latencies, when) in [(onset, "at the start of the attack"), (during, "with all stalled")] {
            let p99 = latencies.p99();
            assert!(
                p99 <= before * SLOWER,
                "expected: a p99 of at most {SLOWER} times {before:?} {when}; got: {p99:?}"
            );
        }
    }
}

/// With a small budget, peers for which the server buffers much are closed with 1013 before they time out. The budget
/// is never exceeded, and small messages are echoed throughout.
pub(crate) fn small_budget(binary: &Binary) {
    let budget = sized(8 << 20, 64 << 20);
    let (server, attack) = Attack::new().serve(binary, budget);
    let scrapes = scraper(server.admin, move |metrics| {
        let [held, limit] =
            ["ws_buffered_bytes", "ws_buffer_budget_bytes"].map(|name| metrics.sum(name) as usize);
        assert!(
            limit == budget && held <= budget,
            "expected: at most {budget} bytes buffered; got: {held} of {limit}"
        );
    });
    let honest = Honest::start(server.addr, attack.honest, attack.rate);
    server.metrics_agree(&[("ws_connections_active", attack.honest)]);
    let rss_before = resident_bytes(server.pid());
    let start = Instant::now();
    let stalled = [Kind::Message, Kind::Reader]
        .map(|kind| Stalled::start(kind, server.addr, attack.each, attack.streams));
    stalled.iter().for_each(Stalled::establish);
    let rss_during = resident_bytes(server.pid());
    let [messages, _] = Stalled::await_ends(stalled, &server, attack.honest, attack.timeout);
    let metrics = server.metrics_agree(&[("ws_connections_active", attack.honest), ("ws_buffered_bytes", 0)]);
    let latencies = honest.latencies_since(start);
    let (scrapes, _) = (scrapes.stop(), honest.stop());
    let closed = |reason| metrics.closed_as(reason) as usize;
    let (overload, idle) = (closed("overload"), closed("idle"));
    let sent_1013 = messages.closes.get(&1013).copied().unwrap_or(0);
    println!(
        "stalled::small_budget on {}: {} MB of budget, 2 x {} stalled, {overload} closed as overload, {idle} as idle; \
         latency {latencies}; RSS {} MB, {} MB; slowest of {} scrapes {:.1?}",
        &server.ready_line[..6],
        budget >> 20,
        attack.each,
        rss_before >> 20,
        rss_during >> 20,
        scrapes.count,
        scrapes.slowest,
    );
    assert_eq!(overload + idle, 2 * attack.each, "closed as overload or as idle; got:\n{metrics}");
    let kept = attack.each - sent_1013;
    // A server that streams echoes buffers nothing of these messages.
    let room = if attack.streams { attack.each } else { budget / (BEGUN_LEN - FREE_LEN) };
    assert!(
        overload >= sent_1013 && kept <= room && (sent_1013 == 0 || !attack.streams),
        "expected: 1013 for all but {room} messages; got: {:?}",
        messages.closes
    );
    let bound = attack.memory_bound(&server, rss_before);
    assert!(rss_during <= bound, "expected: at most {bound} bytes of memory; got: {rss_during}");
}

/// Peers that stop in the middle of a message, and have read the echo so far. A server that streams echoes keeps a
/// parser state, and none of the payload. The budget bounds what other servers buffer (`peers`).
pub(crate) fn messages(binary: &Binary) {
    const STATE_BYTES: u64 = 200;
    let (server, attack) = Attack::new().serve(binary, sized(8 << 20, 64 << 20));
    if !attack.streams {
        return;
    }
    let mut crowd = Crowd::connect_lean(server.addr, attack.each).upgraded();
    crowd.echo(&Frame::text("warm"));
    let idle = resident_bytes(server.pid());
    crowd.send_in_echoed_pieces(&Frame::new(BINARY, []).declaring(MESSAGE_LEN), &vec![0; BEGUN_LEN]);
    let grown = resident_bytes(server.pid()).saturating_sub(idle);
    println!(
        "stalled::messages on {}: {} unfinished messages, {} KB above idle",
        &server.ready_line[..6],
        attack.each,
        grown >> 10
    );
    let bound = attack.each as u64 * STATE_BYTES + (512 << 10);
    assert!(grown <= bound, "expected: at most {bound} bytes above idle; got: {grown}");
}

/// The stalled peers are counted by their reasons and leave nothing behind. All honest clients are connected.
fn is_over(server: &Server, attack: Attack, fds_before: usize) {
    let metrics = server.metrics_agree(&[("ws_connections_active", attack.honest)]);
    let idle = metrics.closed_as("idle");
    let late = metrics.rejected_as("handshake_timeout");
    let expected = ((3 * attack.each) as f64, attack.each as f64);
    assert_eq!((idle, late), expected, "closed as idle, and handshakes timed out; got:\n{metrics}");
    wait::until("their descriptors are closed", || match descriptors(server.pid()) {
        left if left > fds_before => Err(format!("{left}, {fds_before} before")),
        _ => Ok(()),
    });
    wait::until("the kernel queues no output for closed connections", || {
        match unsent_bytes(server.addr).iter().sum() {
            0..UNSENT_BYTES => Ok(()),
            left => Err(format!("{left} bytes")),
        }
    });
}

/// Peers that read received Close 1001, unless they never finished the handshake.
fn ends_are_right([handshake, header, message, _]: &[Ends; 4]) {
    for (ends, code) in [(handshake, 0), (header, 1001), (message, 1001)] {
        let expected = BTreeMap::from([(code, ends.count)]);
        assert_eq!(ends.closes, expected, "codes of the Close frames received by stalled peers (0: none)");
    }
}
