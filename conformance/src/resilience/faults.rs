//! Peers, networks and servers that fail.

use super::sized;
use crate::cases::leaks::raise_nofile;
use crate::server::Binary;
use crate::wire::Peer;

/// Every peer is gone at once, without a word: the gauges are back at zero.
pub(crate) fn peers_that_vanish(binary: &Binary) {
    let count = sized(1_000, 9_000);
    raise_nofile();
    let server = binary.serve(&["--max-connections", "20000", "--shards", "2"]);
    let peers = Peer::connect_many(&server, count);
    server.metrics_agree(&[("ws_connections_active", count)]);
    peers.into_iter().for_each(Peer::reset);
    server.metrics_agree(&[
        ("ws_connections_active", 0),
        ("ws_connections_accepted_total", count),
        ("ws_connections_closed_total", count),
    ]);
}
