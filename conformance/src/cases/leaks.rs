//! Connections come and go, and leave nothing.

use super::noise;
use crate::descriptors::{room, room_for_at_least};
use crate::frame::{BINARY, Frame};
use crate::http::Request;
use crate::process::{self, has_grown, resident_bytes, variable};
use crate::server::{Binary, Server, Setup, get};
use crate::wait;
use crate::wire::Peer;
use std::env;

const ROUNDS: usize = 20;

/// Whether `CONFORMANCE_FULL` is set.
pub(crate) fn full_size() -> bool {
    env::var_os("CONFORMANCE_FULL").is_some()
}

/// Connections a round: few, to be quick, or the full number.
fn connections_per_round() -> usize {
    if full_size() { 5000 } else { 200 }
}

/// What a connection that was not let go would show in.
pub(crate) type Usage = [(&'static str, usize); 6];

fn usage(server: &Server) -> Usage {
    let metrics = server.metrics();
    let gauge = |name| (name, metrics.sum(name) as usize);
    [
        gauge("ws_connections_active"),
        gauge("ws_tasks"),
        gauge("process_open_fds"),
        gauge("process_threads"),
        ("threads in /proc", process::threads(server.pid())),
        ("descriptors in /proc", process::descriptors(server.pid())),
    ]
}

/// Opens many connections, uses each, and closes them: half with the closing handshake, half with a RST.
fn round(server: &Server, count: usize) {
    let mut peers = Peer::connect_many(server.addr, count);
    let message = Frame::text("here and gone");
    peers.iter_mut().for_each(|peer| peer.send_frame(&message));
    peers.iter_mut().for_each(|peer| peer.expect_echo(&message));
    let kept = peers.split_off(count / 2);
    peers.into_iter().for_each(Peer::reset);
    kept.into_iter().for_each(Peer::close);
}

/// Twenty rounds: then all gauges, descriptors and threads are where they were after a first one.
pub(crate) fn connections(binary: &Binary) {
    let count = room(connections_per_round());
    let server = binary.serve_many(count * 6 / 5, &[]);
    round(&server, count);
    server.metrics_agree(&[("ws_connections_active", 0), ("ws_connections_closed_total", count)]);
    let before = settled(&server);
    (0..ROUNDS).for_each(|_| round(&server, count));
    let total = (ROUNDS + 1) * count;
    server.metrics_agree(&[
        ("ws_connections_active", 0),
        ("ws_connections_accepted_total", total),
        ("ws_connections_closed_total", total),
        ("ws_messages_sent_total", total),
    ]);
    returns_to(&server, &before);
}

/// Connections that never became any: refused, plain, and cut off.
pub(crate) fn refused_connections(binary: &Binary) {
    let server = binary.serve(&["--max-connections", "10", "--shards", "2"]);
    let before = settled(&server);
    let request = Request::handshake("/echo").bytes();
    for i in 0..500 {
        let mut peer = Peer::open(server.addr);
        match i % 5 {
            0 => {}
            1 => peer.send(&request[..50]),
            2 => peer.send(b"nonsense\r\n\r\n"),
            3 => assert_eq!(get(server.addr, "/health").status, 200),
            _ => peer.send(&request),
        }
        if i % 2 == 0 {
            peer.reset();
        }
    }
    returns_to(&server, &before);
    Peer::connect(server.addr).close();
}

/// What a storm of long messages needed goes back to the kernel, though a few that came last, and lie highest in the heaps,
/// are still on their way.
pub(crate) fn memory_after_a_peak(binary: &Binary) {
    /// Short enough to lie in a heap.
    const LEN: usize = 30_000;
    const STORM: usize = 1_600;
    const LAST: usize = 16;
    let Some(all) = room_for_at_least(STORM + LAST, 900) else { return };
    let server = binary.serve_many(all * 6 / 5, &[]);
    let message = Frame::new(BINARY, noise(LEN, 11));
    let bytes = message.masked();
    let (most, end) = bytes.split_at(bytes.len() - 1);
    let begin = |count| {
        let mut peers = Peer::connect_many(server.addr, count);
        peers.iter_mut().for_each(|peer| peer.send(most));
        peers
    };
    let finish = |mut peers: Vec<Peer>| {
        peers.iter_mut().for_each(|peer| peer.send(end));
        peers.iter_mut().for_each(|peer| peer.expect_echo(&message));
        peers.into_iter().for_each(Peer::close);
    };
    let before = resident_bytes(server.pid());
    let storm = begin(all - LAST);
    let last = begin(LAST);
    let needed = ((all - LAST) * LEN) as u64;
    let streams = Peer::connect(server.addr).streams_echoes();
    if streams {
        has_grown(server.pid(), before, ..=needed / 20);
    } else {
        has_grown(server.pid(), before, needed..);
    }
    finish(storm);
    // The C library keeps the stacks of threads that have ended, however many there were: 10 MB of stage 1's.
    has_grown(server.pid(), before, ..=(needed / 4).max(12 << 20));
    finish(last);
}

/// The C library is told to cache nothing of what is freed, but by whoever tells it something else.
pub(crate) fn caches(binary: &Binary) {
    const TUNABLES: &str = "GLIBC_TUNABLES";
    let expected = cfg!(target_env = "gnu").then_some("glibc.malloc.tcache_count=0");
    assert_eq!(variable(binary.serve(&[]).pid(), TUNABLES).as_deref(), expected);
    let other = "glibc.malloc.tcache_count=3";
    let server = binary.serve_with(Setup { env: &[(TUNABLES, other)], ..Setup::default() });
    assert_eq!(variable(server.pid(), TUNABLES).as_deref(), Some(other));
}

/// What is held once it no longer changes: threads may still be on their way out.
pub(crate) fn settled(server: &Server) -> Usage {
    let mut last = usage(server);
    wait::until("what is held stays the same", || {
        let now = usage(server);
        let same = now == last;
        last = now;
        if same { Ok(()) } else { Err(format!("{last:?}")) }
    });
    last
}

/// Waits until no more is held than before. Less may be: another scrape may have been on its way out then.
#[track_caller]
pub(crate) fn returns_to(server: &Server, before: &Usage) {
    wait::until(&format!("no more than {before:?}"), || {
        let now = usage(server);
        let back = now.iter().zip(before).all(|((_, now), (_, before))| now <= before);
        if back { Ok(()) } else { Err(format!("{now:?}")) }
    });
}
