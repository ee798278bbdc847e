//! Failing peers and networks, and a drain under load.

mod busy;

use super::sized;
use crate::cases::noise;
use crate::descriptors::room;
use crate::frame::{BINARY, Frame};
use crate::link::{self, Faults, Link, with_link};
use crate::process;
use crate::server::{Binary, Server};
use crate::wait::{self, MAX_DELAY};
use crate::wire::Peer;
use busy::{BusyPeer, LONG_TIMEOUT};
use rustix::process::Signal;
use std::thread;
use std::time::{Duration, Instant};

/// Every peer resets at once: the gauges return to zero.
pub(crate) fn peers_that_vanish(binary: &Binary) {
    let count = room(sized(1_000, 9_000));
    let server = binary.serve_many(count * 6 / 5, &[]);
    let peers = Peer::connect_many(server.addr, count);
    server.metrics_agree(&[("ws_connections_active", count)]);
    peers.into_iter().for_each(Peer::reset);
    server.metrics_agree(&[
        ("ws_connections_active", 0),
        ("ws_connections_accepted_total", count),
        ("ws_connections_closed_total", count),
    ]);
}

/// SIGTERM under full load: before Close 1001 each peer receives the echoes of its first messages, without gaps. Their
/// total equals the number of messages that the server reports.
pub(crate) fn drain_under_load(binary: &Binary) {
    const THREADS: usize = 8;
    let count = room(sized(200, 2_000));
    let mut server = binary.serve_many(2 * count, &["--drain-timeout", "60s"]);
    let mut keeper = Peer::connect(server.addr);
    let mut peers: Vec<_> = (0..count).map(|number| BusyPeer::connect(&server, number)).collect();
    let echoes = thread::scope(|scope| {
        let crowds: Vec<_> = peers
            .chunks_mut(count / THREADS)
            .map(|crowd| scope.spawn(|| busy::echo_until_close(crowd)))
            .collect();
        let under_load = wait::within(LONG_TIMEOUT, || {
            let sent = server.metrics().sum("ws_messages_sent_total");
            if sent >= 10.0 * count as f64 { Ok(()) } else { Err(format!("{sent} messages")) }
        });
        server.signal(Signal::TERM);
        let echoes = crowds.into_iter().map(|crowd| crowd.join().expect("no panic")).sum::<usize>();
        // Check the result only now: the peers run until the server closes.
        under_load.map(|()| echoes)
    });
    let echoes = echoes.unwrap_or_else(|last| panic!("expected: ten echoes per peer; got: {last}"));
    // One open connection keeps the server running until it is scraped.
    keeper.expect_close_frame(&[1001]);
    let metrics =
        server.metrics_agree(&[("ws_messages_received_total", echoes), ("ws_messages_sent_total", echoes)]);
    let shutdown = metrics.closed_as("shutdown");
    assert_eq!(shutdown, count as f64 + 1.0, "connections closed as shutdown; got:\n{metrics}");
    keeper.send_frame(&Frame::close(1001, ""));
    keeper.expect_fin();
    drop(keeper);
    let status = server.exit();
    assert_eq!(status.code(), Some(0), "exit status; got: {status}");
    eprintln!("{echoes} echoes to {count} peers before Close 1001");
}

/// A server that listens on the link, with its admin address on the loopback.
fn serve_on_link(binary: &Binary, connections: usize, flags: &[&str]) -> Server {
    let mut server = binary.serve_many(connections, &[&["--addr", "0.0.0.0:0"], flags].concat());
    server.addr.set_ip(link::FAR.into());
    server
}

/// On a slow link with packet loss and reordering, every echo is correct, and no peer that answers Pings times out.
pub(crate) fn lossy_link(binary: &Binary) {
    const LENS: [usize; 8] = [0, 1, 125, 126, 4_096, 65_535, 65_536, 150_000];
    let faults = Faults { delay: Duration::from_millis(50), loss: 0.02, overtaking: 0.25 };
    let (count, rounds) = (sized(8, 40), sized(1, 5));
    let converse = |server: &Server| {
        let messages = LENS.map(|len| Frame::new(BINARY, noise(len, len as u64)));
        let segment = messages.each_ref();
        let mut peer = Peer::connect(server.addr);
        peer.timeout = LONG_TIMEOUT;
        for _ in 0..rounds {
            peer.send_frames(&segment);
            messages.iter().for_each(|message| peer.expect_echo_among_pings(message));
            // Stay silent for some Pings.
            let silent_until = Instant::now() + Duration::from_secs(1);
            while Instant::now() < silent_until {
                peer.answer_pings();
                thread::sleep(Duration::from_millis(20));
            }
        }
        peer.close_among_pings();
    };
    with_link(faults, |link: &Link| {
        let server = serve_on_link(binary, 2 * count, &["--ping-interval", "200ms", "--idle-timeout", "60s"]);
        thread::scope(|scope| (0..count).for_each(|_| drop(scope.spawn(|| converse(&server)))));
        let echoes = count * rounds * LENS.len();
        let metrics = server.metrics_agree(&[
            ("ws_connections_active", 0),
            ("ws_connections_accepted_total", count),
            ("ws_messages_received_total", echoes),
            ("ws_messages_sent_total", echoes),
        ]);
        let normal = metrics.closed_as("normal");
        assert_eq!(normal, count as f64, "connections closed as normal; got:\n{metrics}");
        let [delivered, dropped, reordered] = link.packets();
        let packets = format!("{delivered} packets delivered, {dropped} dropped, {reordered} reordered");
        assert!(dropped > 0 && reordered > 0, "{packets}");
        eprintln!("{echoes} echoes; {packets}");
    });
}

/// Peers whose network fails, without a FIN or a RST. The server closes them after `--idle-timeout`, whether they were
/// at a message boundary or in the middle of a frame. A peer that is not behind the link stays connected.
pub(crate) fn peers_behind_a_dead_link(binary: &Binary) {
    const LIMIT: Duration = Duration::from_secs(3);
    let count = room(sized(60, 1_000));
    with_link(Faults { delay: Duration::ZERO, loss: 0.0, overtaking: 0.0 }, |link: &Link| {
        let flags = ["--ping-interval", "500ms", "--idle-timeout", "3s"];
        let mut server = serve_on_link(binary, 2 * count, &flags);
        // A shard opens its last descriptors with its first connection.
        Peer::connect_many(server.addr, 20).into_iter().for_each(Peer::close_among_pings);
        server.metrics_agree(&[("ws_connections_active", 0)]);
        let held_before = process::descriptors(server.pid());
        let mut peers = Peer::connect_many(server.addr, count);
        server.addr.set_ip(link::NEAR.into());
        let mut alive = Peer::connect(server.addr);
        let metrics = server.metrics_agree(&[("ws_connections_active", count + 1)]);
        let idle_before = metrics.closed_as("idle");
        for (i, peer) in peers.iter_mut().enumerate() {
            peer.answer_pings();
            if i % 3 == 1 {
                peer.send(&Frame::text("Hello").masked()[..7]);
            }
        }
        link.set_dark(true);
        let start = Instant::now();
        // The server's Pings to these peers are no longer acknowledged.
        wait::until("only the silent peers are closed", || {
            alive.answer_pings();
            match server.metrics().sum("ws_connections_active") {
                1.0 => Ok(()),
                active => Err(format!("{active} active")),
            }
        });
        let took = start.elapsed();
        assert!(
            (LIMIT / 2..LIMIT * 2 + MAX_DELAY).contains(&took),
            "expected: closed after {LIMIT:?}; got: {took:?}"
        );
        let idle = server.metrics().closed_as("idle");
        assert_eq!(idle - idle_before, count as f64, "connections closed as idle");
        alive.send_frame(&Frame::text("still here"));
        alive.expect_echo_among_pings(&Frame::text("still here"));
        alive.close_among_pings();
        wait::until("their descriptors are closed", || match process::descriptors(server.pid()) {
            held if held <= held_before => Ok(()),
            held => Err(format!("{held} descriptors, {held_before} before")),
        });
        eprintln!(
            "{count} peers behind a dead link closed after {took:?}, their descriptors after {:?}",
            start.elapsed()
        );
    });
}
