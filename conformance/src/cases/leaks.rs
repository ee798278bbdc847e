//! Leaks: after connections close, descriptors, threads, gauges and memory return to where they were.

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

fn connections_per_round() -> usize {
    if full_size() { 5000 } else { 200 }
}

/// Resources in which a leaked connection shows, and their counts.
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

/// Opens `count` connections, echoes once on each, and ends half with a reset and half with the closing handshake.
fn round(server: &Server, count: usize) {
    let mut peers = Peer::connect_many(server.addr, count);
    let message = Frame::text("one round");
    peers.iter_mut().for_each(|peer| peer.send_frame(&message));
    peers.iter_mut().for_each(|peer| peer.expect_echo(&message));
    let kept = peers.split_off(count / 2);
    peers.into_iter().for_each(Peer::reset);
    kept.into_iter().for_each(Peer::close);
}

/// After twenty rounds, gauges, descriptors and threads are where they were after the first round.
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

/// Connections that end early: silent, with part of a request, invalid, plain HTTP, or closed right after the request.
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

/// Memory of a peak of long messages returns to the kernel, although the last few messages, which are highest in the
/// heap, are still unfinished.
pub(crate) fn memory_after_a_peak(binary: &Binary) {
    /// Below malloc's threshold for mmap(2), so that messages come from a heap.
    const LEN: usize = 30_000;
    const PEAK: usize = 1_600;
    const LAST: usize = 16;
    let Some(all) = room_for_at_least(PEAK + LAST, 900) else { return };
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
    let first = begin(all - LAST);
    let last = begin(LAST);
    let needed = ((all - LAST) * LEN) as u64;
    let streams = Peer::connect(server.addr).streams_echoes();
    if streams {
        has_grown(server.pid(), before, ..=needed / 20);
    } else {
        has_grown(server.pid(), before, needed..);
    }
    finish(first);
    // The C library caches stacks of threads that have ended: 10 MB in stage 1.
    has_grown(server.pid(), before, ..=(needed / 4).max(12 << 20));
    finish(last);
}

/// The server disables malloc's thread caches, unless the environment sets GLIBC_TUNABLES.
pub(crate) fn allocator_caches(binary: &Binary) {
    const TUNABLES: &str = "GLIBC_TUNABLES";
    let expected = cfg!(target_env = "gnu").then_some("glibc.malloc.tcache_count=0");
    assert_eq!(variable(binary.serve(&[]).pid(), TUNABLES).as_deref(), expected);
    let other = "glibc.malloc.tcache_count=3";
    let server = binary.serve_with(Setup { env: &[(TUNABLES, other)], ..Setup::default() });
    assert_eq!(variable(server.pid(), TUNABLES).as_deref(), Some(other));
}

/// The usage once it no longer changes: threads may still be exiting.
pub(crate) fn settled(server: &Server) -> Usage {
    let mut last = usage(server);
    wait::until("the usage is stable", || {
        let now = usage(server);
        let same = now == last;
        last = now;
        if same { Ok(()) } else { Err(format!("{last:?}")) }
    });
    last
}

/// Waits until nothing exceeds `before`. It may fall below: a scrape may have been open at the time.
#[track_caller]
pub(crate) fn returns_to(server: &Server, before: &Usage) {
    wait::until(&format!("no more than {before:?}"), || {
        let now = usage(server);
        let back = now.iter().zip(before).all(|((_, now), (_, before))| now <= before);
        if back { Ok(()) } else { Err(format!("{now:?}")) }
    });
}
