//! `--buffer-budget`: bytes buffered for all connections are bounded. Over the limit: Close 1013 (Try Again Later, in
//! the registry of RFC 6455, section 11.7).

use super::noise;
use crate::frame::{BINARY, CONTINUATION, Frame};
use crate::server::{Binary, Server};
use crate::wait;
use crate::wire::Peer;

/// Bytes per connection that are not charged to the budget.
pub(crate) const FREE_LEN: usize = 4096;

/// Waits until `charged` bytes are charged, and `closed` connections are closed as overload.
#[track_caller]
fn await_charged(server: &Server, charged: usize, closed: usize) {
    wait::until(&format!("{charged} bytes charged, {closed} connections closed as overload"), || {
        let metrics = server.metrics();
        let now = metrics.sum("ws_buffered_bytes");
        let overload = metrics.closed_as("overload");
        let right = now == charged as f64 && overload == closed as f64;
        if right { Ok(()) } else { Err(format!("{now}, {overload}")) }
    });
}

/// An unfinished message larger than the budget. A server that streams echoes buffers none of it while they are read.
pub(crate) fn message_over_the_budget(binary: &Binary) {
    let server = binary.serve(&["--buffer-budget", "200KiB"]);
    assert_eq!(server.metrics().sum("ws_buffer_budget_bytes"), 200.0 * 1024.0);
    let streams = Peer::connect(server.addr).streams_echoes();
    let mut other = Peer::connect(server.addr);
    let mut peer = Peer::connect(server.addr);
    peer.send_frame(&Frame::new(BINARY, noise(100_000, 1)).without_fin());
    await_charged(&server, if streams { 0 } else { 100_000 - FREE_LEN }, 0);
    let rest = Frame::new(CONTINUATION, noise(if streams { 12 << 20 } else { 200_000 }, 2)).masked();
    if streams {
        // More than the kernel buffers for both ends. Fails if the server has closed the connection.
        let _ = peer.try_send_until_full(&rest);
    } else {
        peer.send(&rest);
        peer.expect_close(1013);
    }
    await_charged(&server, 0, 1);
    other.round_trip(&Frame::text("as before"));
}

/// Unfinished messages that exceed the budget only in sum. Earlier reservations stay, and small messages pass.
pub(crate) fn shared_by_all_connections(binary: &Binary) {
    const HELD: usize = 32 * 1024;
    let server = binary.serve(&["--buffer-budget", "200KiB", "--shards", "2"]);
    if Peer::connect(server.addr).streams_echoes() {
        return shared_by_all_stalled_readers(&server);
    }
    let mut honest = Peer::connect_many(server.addr, 2);
    let unfinished = Frame::new(BINARY, noise(HELD + FREE_LEN, 3)).without_fin();
    let mut peers = Peer::connect_many(server.addr, 10);
    for (i, peer) in peers.iter_mut().enumerate() {
        peer.send_frame(&unfinished);
        if i < 6 {
            await_charged(&server, (i + 1) * HELD, 0);
        } else {
            peer.expect_close(1013);
        }
    }
    await_charged(&server, 6 * HELD, 4);
    small_messages_pass(&mut honest);
    assert_eq!(server.metrics().sum("ws_buffered_bytes"), (6 * HELD) as f64);
    peers.into_iter().for_each(Peer::reset);
    await_charged(&server, 0, 4);
    Peer::connect(server.addr).round_trip(&Frame::new(BINARY, noise(50_000, 5)));
}

/// The same for a server that streams echoes, which buffers only for peers that do not read.
fn shared_by_all_stalled_readers(server: &Server) {
    const BUDGET: f64 = 200.0 * 1024.0;
    const PIECE_LEN: usize = 32 * 1024;
    let mut honest = Peer::connect_many(server.addr, 2);
    let held = || {
        let metrics = server.metrics();
        let overloads = metrics.closed_as("overload");
        (metrics.sum("ws_buffered_bytes"), overloads)
    };
    let piece = Frame::new(CONTINUATION, noise(PIECE_LEN, 3)).without_fin().masked();
    let mut peers = vec![];
    while held().1 == 0.0 {
        assert!(peers.len() < 200, "expected: an overload; got: {} peers hold {:?}", peers.len(), held());
        let (before, mut peer) = (held().0, Peer::connect(server.addr));
        peer.send(&Frame::new(BINARY, "begun").without_fin().masked());
        // Until the kernel's buffers are full and the server buffers a part, or closes the connection. With more than
        // one piece on the way, a late server would buffer them all for one peer.
        while held() == (before, 0.0) && peer.try_send(&piece).is_ok() {
            peer.await_read();
        }
        assert!(held().0 <= BUDGET, "expected: at most {BUDGET}; got: {:?}", held());
        peers.push(peer);
    }
    assert!(peers.len() > 2, "expected: several peers with a share each; got: {} peers", peers.len());
    let closed = peers.iter_mut().filter_map(|peer| peer.has_ended().then_some(())).count();
    assert!(closed <= 1, "expected: earlier peers stay connected; got: {closed} closed");
    small_messages_pass(&mut honest);
    peers.into_iter().for_each(Peer::reset);
    wait::until("the whole budget is released", || match held().0 {
        0.0 => Ok(()),
        bytes => Err(bytes.to_string()),
    });
    Peer::connect(server.addr).round_trip(&Frame::new(BINARY, noise(50_000, 5)));
}

fn small_messages_pass(honest: &mut [Peer]) {
    for peer in honest {
        let message = Frame::new(BINARY, noise(2_000, 4));
        peer.send_in_pieces(message.masked().chunks(700));
        peer.expect_echo(&message);
    }
}

/// A peer that sends and never reads: the server buffers its echoes.
pub(crate) fn unread_echoes(binary: &Binary) {
    let server = binary.serve(&["--buffer-budget", "16KiB"]);
    let mut peer = Peer::connect(server.addr);
    // More than the kernel buffers for both ends. Fails if the server has closed the connection.
    let _ = peer.try_send_until_full(&Frame::new(BINARY, noise(12_000, 6)).masked().repeat(3_000));
    await_charged(&server, 0, 1);
}
