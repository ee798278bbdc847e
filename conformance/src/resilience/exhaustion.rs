//! Exhausted resources and failing system calls: the server counts and logs them, serves open connections, and recovers
//! once the cause is removed.

use super::sized;
use crate::cgroup::Group;
use crate::frame::{BINARY, Frame};
use crate::http::Request;
use crate::inject::{Injection, Target};
use crate::process::{does_not_spin, shard_thread};
use crate::server::{Binary, Server, Setup, get};
use crate::wait;
use crate::wire::Peer;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use std::time::Instant;

/// Connections that are open before, and must be served throughout.
const HONEST: usize = 10;

/// A server with one shard, and the id of the shard's thread.
fn serve(binary: &Binary) -> (Server, u32) {
    let server = binary.serve(&["--shards", "1"]);
    let shard = shard_thread(server.pid());
    (server, shard)
}

fn echo(peers: &mut [Peer]) {
    peers.iter_mut().for_each(|peer| peer.round_trip(&Frame::text("as if nothing were")));
}

/// Sends a handshake without waiting for the response.
fn request_upgrade(server: &Server) -> Peer {
    let mut peer = Peer::open(server.addr);
    peer.send(&Request::handshake("/echo").bytes());
    peer
}

/// Connections rejected for this reason so far.
fn rejected(server: &Server, reason: &str) -> f64 {
    server.metrics().rejected_as(reason)
}

#[track_caller]
fn await_rejected(server: &Server, reason: &str, before: f64) {
    wait::until(&format!("connections are rejected: {reason}"), || match rejected(server, reason) {
        count if count > before => Ok(()),
        count => Err(format!("still {count}")),
    });
}

/// Expects at most one warning per second in its log.
#[track_caller]
fn logs_once_a_second(server: &Server, since: Instant) {
    let [_, log] = server.output();
    let (lines, most) = (log.matches(" WARN ").count(), since.elapsed().as_secs() as usize + 2);
    assert!((1..=most).contains(&lines), "expected: 1 to {most} warnings; got {lines}");
}

/// Every accept(2) fails: for lack of a resource, or with an error that normally concerns one connection only.
pub(crate) fn accept_fails(binary: &Binary) {
    let start = Instant::now();
    let (server, shard) = serve(binary);
    let mut peers = Peer::connect_many(server.addr, HONEST);
    for (error, reason) in [
        ("EMFILE", Some("descriptors")),
        ("ENFILE", Some("descriptors")),
        ("ENOBUFS", Some("memory")),
        ("ENOMEM", Some("memory")),
        ("ECONNABORTED", Some("aborted")),
        ("EPERM", Some("aborted")),
        ("EINTR", None),
    ] {
        let before = reason.map(|reason| (reason, rejected(&server, reason)));
        let what = format!("accept4:error={error}");
        let Some(injection) = Injection::start(Target::Thread(shard), &what) else { return };
        let mut waiting = request_upgrade(&server);
        if let Some((reason, before)) = before {
            await_rejected(&server, reason, before);
        }
        echo(&mut peers);
        does_not_spin(server.pid());
        echo(&mut peers);
        drop(injection);
        waiting.expect_upgrade();
        peers.push(waiting);
    }
    logs_once_a_second(&server, start);
    echo(&mut peers);
    server.metrics_agree(&[("ws_connections_active", peers.len())]);
}

/// Every other accept(2) fails with an error that concerns one connection only: the others are accepted without delay.
pub(crate) fn accept_fails_intermittently(binary: &Binary) {
    let start = Instant::now();
    let (server, shard) = serve(binary);
    let mut peers = vec![];
    for error in ["ECONNABORTED", "EPERM", "EPROTO", "EHOSTUNREACH", "EINTR"] {
        let what = format!("accept4:error={error}:when=1+2");
        let Some(_injection) = Injection::start(Target::Thread(shard), &what) else { return };
        peers.extend(Peer::connect_many(server.addr, HONEST));
        echo(&mut peers);
    }
    assert!(rejected(&server, "aborted") > 0.0, "errors are counted");
    logs_once_a_second(&server, start);
}

/// epoll_ctl(2) fails for lack of memory, or at `max_user_watches`: the server closes the accepted connection.
pub(crate) fn epoll_ctl_fails(binary: &Binary) {
    let (mut server, shard) = serve(binary);
    if server.ready_line.starts_with("stage1") {
        // It uses poll(2), which registers nothing.
        return;
    }
    let mut peers = Peer::connect_many(server.addr, HONEST);
    for error in ["ENOMEM", "ENOSPC"] {
        let before = rejected(&server, "memory");
        let what = format!("epoll_ctl:error={error}");
        let Some(injection) = Injection::start(Target::Thread(shard), &what) else { return };
        let unlucky = request_upgrade(&server);
        await_rejected(&server, "memory", before);
        echo(&mut peers);
        does_not_spin(server.pid());
        drop(unlucky);
        drop(injection);
        peers.push(Peer::connect(server.addr));
        echo(&mut peers);
    }
    assert!(server.runs(), "the server ended");
    server.metrics_agree(&[("ws_connections_active", peers.len())]);
}

/// Every other blocking call fails with EINTR (signal(7)). futex(2) is excluded: FUTEX_WAKE has the same call number,
/// and is never interrupted.
pub(crate) fn interrupted_calls(binary: &Binary) {
    const BLOCKING: &str = "?epoll_wait,epoll_pwait,?poll,ppoll,accept4,rt_sigtimedwait";
    let mut server = binary.serve(&["--ping-interval", "100ms"]);
    let what = format!("{BLOCKING}:error=EINTR:when=1+2");
    let Some(_injection) = Injection::start(Target::Process(server.pid()), &what) else { return };
    let mut peers = Peer::connect_many(server.addr, HONEST);
    for _ in 0..20 {
        for peer in &mut peers {
            peer.send_frame(&Frame::text("interrupted"));
            peer.expect_echo_among_pings(&Frame::text("interrupted"));
        }
    }
    server.metrics_agree(&[("ws_connections_active", HONEST), ("ws_messages_received_total", 20 * HONEST)]);
    server.signal(Signal::TERM);
    for mut peer in peers {
        peer.expect_close_among_pings(1001);
    }
    assert_eq!(server.exit().code(), Some(0));
}

/// RLIMIT_NOFILE of the running server is lowered, then raised again.
pub(crate) fn descriptor_limit_lowered(binary: &Binary) {
    let (server, _) = serve(binary);
    let mut peers = Peer::connect_many(server.addr, HONEST);
    let pid = Pid::from_raw(server.pid().cast_signed());
    // Keep the hard limit: raising it again needs privileges.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let set = |current| prlimit(pid, Resource::Nofile, Rlimit { current, maximum }).expect("prlimit");
    let before = rejected(&server, "descriptors");
    set(Some(5));
    let mut waiting = request_upgrade(&server);
    wait::until("a warning in the log", || match &server.output()[1] {
        log if log.contains("cannot accept") => Ok(()),
        log => Err(log.clone()),
    });
    echo(&mut peers);
    does_not_spin(server.pid());
    set(maximum);
    waiting.expect_upgrade();
    await_rejected(&server, "descriptors", before);
    peers.push(waiting);
    echo(&mut peers);
}

/// No thread can be created: a connection that needs one is rejected with 503, and others are unaffected.
pub(crate) fn no_threads_left(binary: &Binary) {
    let start = Instant::now();
    let Some(group) = Group::new("pids") else { return };
    let server =
        binary.serve_with(Setup { flags: &["--shards", "1"], group: Some(&group), ..Setup::default() });
    let shard = shard_thread(server.pid());
    let mut peers = Peer::connect_many(server.addr, HONEST);
    group.limit(&["pids.max"], "1");
    if server.ready_line.starts_with("stage1") {
        // Stage 1 is the only server with blocking reads here: interrupt them too, if strace works.
        let _interrupted = Injection::start(Target::Thread(shard), "recvfrom:error=EINTR:when=1+2");
        for _ in 0..HONEST {
            let response = request_upgrade(&server).plain_response();
            assert_eq!(response.status, 503, "got: {response}");
        }
        assert_eq!(rejected(&server, "threads"), HONEST as f64, "connections rejected for lack of a thread");
        assert_eq!(get(server.addr, "/health").status, 200);
        logs_once_a_second(&server, start);
    } else {
        peers.extend(Peer::connect_many(server.addr, HONEST));
    }
    echo(&mut peers);
    does_not_spin(server.pid());
    group.limit(&["pids.max"], "max");
    peers.push(Peer::connect(server.addr));
    echo(&mut peers);
    server.metrics_agree(&[("ws_connections_active", peers.len())]);
}

/// The server respects `pids.max` of a parent of its control group.
pub(crate) fn pids_limit_of_an_outer_group(binary: &Binary) {
    const LIMIT: usize = 200;
    let Some(outer) = Group::new("pids") else { return };
    outer.limit(&["pids.max"], &LIMIT.to_string());
    let Some(inner) = outer.within("pids") else { return };
    let server = binary.serve_with(Setup { group: Some(&inner), ..Setup::default() });
    let limit = server.metrics().sum("ws_connections_limit") as usize;
    if server.ready_line.starts_with("stage1") {
        assert!((1..LIMIT).contains(&limit), "expected: fewer than {LIMIT} connections; got: {limit}");
        echo(&mut Peer::connect_many(server.addr, limit));
    } else {
        assert!(limit > LIMIT, "expected: no limit by threads; got: {limit}");
    }
}

/// Peers send more than the control group's memory limit. `--buffer-budget`, by default a share of that limit, keeps
/// the server below it: above it the kernel would kill the process.
pub(crate) fn no_memory_left(binary: &Binary) {
    const LIMIT: usize = 256 << 20;
    const UNFINISHED: usize = 8 << 20;
    let Some(group) = Group::new("memory") else { return };
    group.limit(&["memory.max", "memory.limit_in_bytes"], &LIMIT.to_string());
    let mut server = binary.serve_with(Setup { group: Some(&group), ..Setup::default() });
    let mut honest = Peer::connect_many(server.addr, HONEST);
    let unfinished = Frame::new(BINARY, vec![7; UNFINISHED]).without_fin().masked();
    let mut greedy = Peer::connect_many(server.addr, sized(2, 8) * LIMIT / UNFINISHED);
    for peer in &mut greedy {
        // Fails if the server has closed the connection.
        let _ = peer.try_send(&unfinished);
    }
    assert!(server.runs(), "the server was killed");
    echo(&mut honest);
    let metrics = server.metrics();
    let overload = metrics.closed_as("overload");
    assert!(overload > 0.0, "connections closed as overload; got:\n{metrics}");
    greedy.into_iter().for_each(Peer::reset);
    server.metrics_agree(&[("ws_connections_active", HONEST), ("ws_buffered_bytes", 0)]);
    let mut next = Peer::connect(server.addr);
    next.round_trip(&Frame::new(BINARY, vec![7; UNFINISHED]));
    echo(&mut honest);
}
