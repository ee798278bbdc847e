//! Peers, networks and servers that fail.

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
use busy::BusyPeer;
use rustix::process::Signal;
use std::thread;
use std::time::{Duration, Instant};

/// How long to wait where much is under way, or where TCP sends again what was lost more than once.
const LONG: Duration = Duration::from_secs(60);

/// Every peer is gone at once, without a word: the gauges are back at zero.
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

/// SIGTERM in full echo: the echoes that each of many peers gets before Close 1001 are those of the first messages
/// that it sent, and over all peers they are as many as the server says it received.
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
        let in_full_echo = wait::within(LONG, || {
            let sent = server.metrics().sum("ws_messages_sent_total");
            if sent >= 10.0 * count as f64 { Ok(()) } else { Err(format!("{sent} messages")) }
        });
        server.signal(Signal::TERM);
        let echoes = crowds.into_iter().map(|crowd| crowd.join().expect("no panic")).sum::<usize>();
        // Not before: the peers go on until the server sends them away.
        in_full_echo.map(|()| echoes)
    });
    let echoes = echoes.unwrap_or_else(|instead| panic!("expected: full echo; got: {instead}"));
    // One peer keeps the server from ending before it has told its figures.
    keeper.expect_close_frame(&[1001]);
    let metrics =
        server.metrics_agree(&[("ws_messages_received_total", echoes), ("ws_messages_sent_total", echoes)]);
    let sent_away = metrics.sum_where("ws_connections_closed_total", "reason", "shutdown");
    assert_eq!(sent_away, count as f64 + 1.0, "closed for the reason shutdown; got:\n{metrics}");
    keeper.send_frame(&Frame::close(1001, ""));
    keeper.expect_fin();
    drop(keeper);
    let status = server.exit();
    assert_eq!(status.code(), Some(0), "exit status; got: {status}");
    eprintln!("{echoes} echoes to {count} peers before Close 1001");
}

/// A server that listens on the link, and tells its figures beside it.
fn serve_on_link(binary: &Binary, connections: usize, flags: &[&str]) -> Server {
    let mut server = binary.serve_many(connections, &[&["--addr", "0.0.0.0:0"], flags].concat());
    server.addr.set_ip(link::FAR.into());
    server
}

/// On a slow link that loses packets and has them overtake one another every echo is right, and nobody who answers
/// Pings is given up.
pub(crate) fn lossy_link(binary: &Binary) {
    const LENS: [usize; 8] = [0, 1, 125, 126, 4_096, 65_535, 65_536, 150_000];
    let faults = Faults { delay: Duration::from_millis(50), loss: 0.02, overtaking: 0.25 };
    let (count, turns) = (sized(8, 40), sized(1, 5));
    let converse = |server: &Server| {
        let messages = LENS.map(|len| Frame::new(BINARY, noise(len, len as u64)));
        let segment = messages.each_ref();
        let mut peer = Peer::connect(server.addr);
        peer.timeout = LONG;
        for _ in 0..turns {
            peer.send_frames(&segment);
            messages.iter().for_each(|message| peer.expect_echo_among_pings(message));
            // Time for some Pings.
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
        let echoes = count * turns * LENS.len();
        let metrics = server.metrics_agree(&[
            ("ws_connections_active", 0),
            ("ws_connections_accepted_total", count),
            ("ws_messages_received_total", echoes),
            ("ws_messages_sent_total", echoes),
        ]);
        let normal = metrics.sum_where("ws_connections_closed_total", "reason", "normal");
        assert_eq!(normal, count as f64, "closed for the reason normal; got:\n{metrics}");
        let [passed, lost, overtook] = link.packets();
        assert!(lost > 0 && overtook > 0, "{passed} packets passed, {lost} were lost, {overtook} overtook");
        eprintln!("{echoes} echoes; {passed} packets passed, {lost} were lost, {overtook} overtook others");
    });
}

/// Peers whose network is gone, which nothing tells the server of: no FIN, no RST. They are closed for being silent
/// when they have been so for long enough, whatever they were in the middle of; a peer elsewhere stays.
pub(crate) fn peers_behind_a_dead_link(binary: &Binary) {
    const LIMIT: Duration = Duration::from_secs(3);
    let count = room(sized(60, 1_000));
    with_link(Faults { delay: Duration::ZERO, loss: 0.0, overtaking: 0.0 }, |link: &Link| {
        let flags = ["--ping-interval", "500ms", "--idle-timeout", "3s"];
        let mut server = serve_on_link(binary, 2 * count, &flags);
        // Its shards have all their descriptors only once they have served somebody.
        Peer::connect_many(server.addr, 20).into_iter().for_each(Peer::close_among_pings);
        server.metrics_agree(&[("ws_connections_active", 0)]);
        let held_before = process::descriptors(server.pid());
        let mut peers = Peer::connect_many(server.addr, count);
        server.addr.set_ip(link::NEAR.into());
        let mut alive = Peer::connect(server.addr);
        let metrics = server.metrics_agree(&[("ws_connections_active", count + 1)]);
        let idle_before = metrics.sum_where("ws_connections_closed_total", "reason", "idle");
        for (i, peer) in peers.iter_mut().enumerate() {
            peer.answer_pings();
            if i % 3 == 1 {
                peer.send(&Frame::text("Hello").masked()[..7]);
            }
        }
        link.set_dark(true);
        let start = Instant::now();
        // What the server sends to these is not acknowledged any more, however much it is.
        wait::until("the silent are closed, and nobody else", || {
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
        let idle = server.metrics().sum_where("ws_connections_closed_total", "reason", "idle");
        assert_eq!(idle - idle_before, count as f64, "closed for the reason idle");
        alive.send_frame(&Frame::text("still here"));
        alive.expect_echo_among_pings(&Frame::text("still here"));
        alive.close_among_pings();
        wait::until("their descriptors are free", || match process::descriptors(server.pid()) {
            held if held <= held_before => Ok(()),
            held => Err(format!("{held} descriptors, {held_before} before")),
        });
        eprintln!(
            "{count} peers behind a dead link closed after {took:?}, all free after {:?}",
            start.elapsed()
        );
    });
}
