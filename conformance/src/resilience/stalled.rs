//! Peers that are slow or stalled in every way, by the thousand, while others want to be served.

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
use crate::wait::{self, MAX_DELAY};
use crate::wire::Peer;
use kinds::{KINDS, Kind, Stalled};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The message that is begun, and how much of it is sent.
const MESSAGE_LEN: u64 = 1 << 20;
const BEGUN_LEN: usize = 512 << 10;

/// The messages of a peer that does not read.
const READER_LEN: usize = 64 << 10;

/// Between two looks at whether all of them are gone.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The sizes of a attack.
#[derive(Clone, Copy)]
struct Attack {
    /// Peers of each kind.
    each: usize,
    honest: usize,
    /// Messages a second of all honest clients together.
    rate: u32,
    /// For how long honest clients are watched, before and during.
    window: Duration,
    /// Time for a handshake, and for silence.
    timeout: Duration,
    /// Whether the server answers a message in fragments while it arrives.
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

    /// A server with so much budget, and the attack that it is to stand: of each kind as many as it holds, since where it
    /// needs a thread each, the machine may not have as many.
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
        // A twentieth is for what else the machine does meanwhile.
        self.each = self.each.min((limit - limit / 20 - self.honest) / KINDS.len());
        (server, self)
    }

    /// What the server's memory may be: what it was, the budget, and so much a connection.
    fn memory_bound(&self, server: &Server, before: u64) -> u64 {
        let budget = server.metrics().sum("ws_buffer_budget_bytes") as u64;
        before + budget + (self.each * KINDS.len()) as u64 * connection_bytes(server) + SLACK_BYTES
    }

    /// From when all are stalled until all are gone: the timeout, what a loop takes to look, and a server to give up telling
    /// a peer that does not read.
    fn limit(&self) -> Duration {
        self.timeout + self.timeout / 8 + Duration::from_secs(2) + MAX_DELAY
    }
}

/// Memory that a connection may cost beside what the budget bounds, by the stage: a stack, and a read buffer of 4 KiB;
/// a task, or an entry in a table, and the same buffer; nothing that is not charged, or free of charge up to 4 KiB.
fn connection_bytes(server: &Server) -> u64 {
    match &server.ready_line[..6] {
        "stage1" => (64 + 16 + 4) << 10,
        "stage2" | "stage3" => (4 + 4 + 4) << 10,
        _ => (4 + 1) << 10,
    }
}

/// Memory that no connection accounts for: the allocator's, and that of a scrape.
const SLACK_BYTES: u64 = 16 << 20;

/// Output that the kernel may hold for a connection whose peer takes none: 128 KiB, and what is on its way.
const UNSENT_BYTES: u64 = 512 << 10;

/// How much slower an honest client may be served while others are stalled, and while they come, when both the server and
/// those who send to it want all cores. (A loop that reads a lot of everybody in turn has it wait for seconds.)
const SLOWER: u32 = 5;

/// A p99 below this is a matter of what else runs on the machine; it counts as this much.
const LEAST_P99: Duration = Duration::from_millis(5);

/// Peers stalled in every way, all at once: honest clients hardly notice, memory is bounded, and after their time the
/// stalled ones are gone, and nobody else.
pub(crate) fn peers(binary: &Binary) {
    let attack = Attack::new();
    let (server, attack) = attack.serve(binary, attack.each * (BEGUN_LEN + 4 * READER_LEN));
    let Attack { each, honest: honest_count, window, .. } = attack;
    let scrapes = scraper(server.admin, |_| {});
    let honest = Honest::start(server.addr, honest_count, attack.rate);
    server.metrics_agree(&[("ws_connections_active", honest_count)]);
    let quiet = honest.latencies(window);
    let (rss_before, fds_before) = (resident_bytes(server.pid()), descriptors(server.pid()));

    let start = Instant::now();
    let stalled = KINDS.map(|kind| Stalled::start(kind, server.addr, attack));
    stalled.iter().for_each(Stalled::establish);
    let (onset, onset_time) = (honest.latencies_since(start), start.elapsed());
    let during = honest.latencies(window);
    let rss_during = resident_bytes(server.pid());
    let unsent = unsent_bytes(server.addr).into_iter().max().expect("a socket");
    // All were stalled until here, or this was no attack.
    server.metrics_agree(&[
        ("ws_connections_active", honest_count + 3 * each),
        ("ws_connections_rejected_total", 0),
    ]);

    let ends = Stalled::await_ends(stalled, &server, attack);
    let gone_time = start.elapsed();
    is_over(&server, attack, fds_before);
    let after = honest.latencies(window);
    let rss_after = resident_bytes(server.pid());
    let (scrapes, _) = (scrapes.stop(), honest.stop());
    println!(
        "stalled::peers on {}: 4 x {each} stalled, {honest_count} honest; latency quiet {quiet}; onset of {onset_time:.1?} \
         {onset}; during {during}; after {after}; RSS {} MB, {} MB, {} MB; at most {unsent} bytes unsent in the kernel; \
         all gone after {gone_time:.1?}; slowest of {} scrapes {:.1?}",
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
    assert!(unsent <= UNSENT_BYTES, "expected: at most {UNSENT_BYTES} bytes unsent a socket; got: {unsent}");
    // A thread or a task each is what stages 1 and 2 are about.
    if server.ready_line.starts_with("stage3") || server.ready_line.starts_with("stage4") {
        let quiet = quiet.p99().max(LEAST_P99);
        for (latencies, when) in [(onset, "while they come"), (during, "with all stalled")] {
            let p99 = latencies.p99();
            assert!(
                p99 <= quiet * SLOWER,
                "expected: a p99 of at most {SLOWER} times {quiet:?} {when}; got: {p99:?}"
            );
        }
    }
}

/// With a small budget, those who make the server hold much are closed with 1013 instead of being waited for. The budget
/// is never exceeded, and small messages pass all the while.
pub(crate) fn small_budget(binary: &Binary) {
    let budget = sized(8 << 20, 64 << 20);
    let (server, attack) = Attack::new().serve(binary, budget);
    let scrapes = scraper(server.admin, move |metrics| {
        let [held, limit] =
            ["ws_buffered_bytes", "ws_buffer_budget_bytes"].map(|name| metrics.sum(name) as usize);
        assert!(
            limit == budget && held <= budget,
            "expected: at most {budget} bytes held; got: {held} of {limit}"
        );
    });
    let honest = Honest::start(server.addr, attack.honest, attack.rate);
    server.metrics_agree(&[("ws_connections_active", attack.honest)]);
    let rss_before = resident_bytes(server.pid());
    let start = Instant::now();
    let stalled = [Kind::Message, Kind::Reader].map(|kind| Stalled::start(kind, server.addr, attack));
    stalled.iter().for_each(Stalled::establish);
    let rss_during = resident_bytes(server.pid());
    let [messages, _] = Stalled::await_ends(stalled, &server, attack);
    let metrics = server.metrics_agree(&[("ws_connections_active", attack.honest), ("ws_buffered_bytes", 0)]);
    let latencies = honest.latencies_since(start);
    let (scrapes, _) = (scrapes.stop(), honest.stop());
    let closed = |reason| metrics.sum_where("ws_connections_closed_total", "reason", reason) as usize;
    let (overload, idle) = (closed("overload"), closed("idle"));
    let told = messages.closes.get(&1013).copied().unwrap_or(0);
    println!(
        "stalled::small_budget on {}: {} MB of budget, 2 x {} offenders, {overload} closed as overload, {idle} as idle; \
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
    let kept = attack.each - told;
    // A server that answers in pieces holds nothing of the messages.
    let room = if attack.streams { attack.each } else { budget / (BEGUN_LEN - FREE_LEN) };
    assert!(
        overload >= told && kept <= room && (told == 0 || !attack.streams),
        "expected: 1013 for all but {room} messages; got: {:?}",
        messages.closes
    );
    let bound = attack.memory_bound(&server, rss_before);
    assert!(rss_during <= bound, "expected: at most {bound} bytes of memory; got: {rss_during}");
}

/// Peers that stop in the middle of a message, and have read what it was answered so far. A server that answers in pieces
/// keeps where they stand, and nothing of what they have sent; what others gather, the budget bounds (`peers`).
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
        "stalled::messages on {}: {} begun, {} KB above idle",
        &server.ready_line[..6],
        attack.each,
        grown >> 10
    );
    let bound = attack.each as u64 * STATE_BYTES + (512 << 10);
    assert!(grown <= bound, "expected: at most {bound} bytes above idle; got: {grown}");
}

/// The stalled ones are counted under their reasons, and nothing of them is left; the honest ones are all there.
fn is_over(server: &Server, attack: Attack, fds_before: usize) {
    let metrics = server.metrics_agree(&[("ws_connections_active", attack.honest)]);
    let idle = metrics.sum_where("ws_connections_closed_total", "reason", "idle");
    let late = metrics.sum_where("ws_connections_rejected_total", "reason", "handshake_timeout");
    let expected = ((3 * attack.each) as f64, attack.each as f64);
    assert_eq!((idle, late), expected, "closed as idle, and handshakes that were late; got:\n{metrics}");
    wait::until("no descriptor is left over", || match descriptors(server.pid()) {
        left if left > fds_before => Err(format!("{left}, {fds_before} before")),
        _ => Ok(()),
    });
    wait::until("the kernel holds no output for those that are gone", || {
        match unsent_bytes(server.addr).iter().sum() {
            0..UNSENT_BYTES => Ok(()),
            left => Err(format!("{left} bytes")),
        }
    });
}

/// Whoever could hear it was told to go (1001).
fn ends_are_right([handshake, header, message, _]: &[Ends; 4]) {
    for (ends, code) in [(handshake, 0), (header, 1001), (message, 1001)] {
        let expected = BTreeMap::from([(code, ends.count)]);
        assert_eq!(ends.closes, expected, "codes of the Close frames that stalled peers hear (0: none)");
    }
}
