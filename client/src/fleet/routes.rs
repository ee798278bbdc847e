//! Where an attempt connects to, and from: both are computed from its number.

use super::source::Sources;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::net::SocketAddr;

/// The server's addresses, as one shard uses them: round-robin.
#[derive(Clone, Debug)]
pub(super) struct Routes {
    /// Each address, with the sources of connections to it.
    routes: Vec<(SocketAddr, Sources)>,
    /// The address of the first attempt. Shards differ in it, so that few connections are spread evenly too.
    first: u64,
}

impl Routes {
    /// The routes of each of `shards`, enough for `connections` in total to `servers`. The `given` source addresses apply
    /// to servers of their family: see [`Sources::for_shards`].
    pub(super) fn for_shards(
        servers: &[SocketAddr],
        given: &[SocketAddr],
        connections: u64,
        shards: usize,
    ) -> Vec<Routes> {
        let each = connections.div_ceil(servers.len() as u64);
        let mut all: Vec<Routes> =
            (0..shards as u64).map(|first| Routes { routes: Vec::new(), first }).collect();
        for &server in servers {
            let given: Vec<_> =
                given.iter().copied().filter(|source| source.is_ipv4() == server.is_ipv4()).collect();
            let sources = Sources::for_shards(server.ip(), &given, each, shards);
            all.iter_mut().zip(sources).for_each(|(shard, sources)| shard.routes.push((server, sources)));
        }
        all
    }

    /// The number of addresses.
    pub(super) fn len(&self) -> usize {
        self.routes.len()
    }

    /// The number of the address for attempt `n`.
    pub(super) fn of(&self, n: u64) -> u16 {
        // [`MAX_ADDRESSES`](super::endpoint::MAX_ADDRESSES) fit.
        (self.first.wrapping_add(n) % self.routes.len() as u64) as u16
    }

    /// The address of this number.
    pub(super) fn address(&self, number: u16) -> SocketAddr {
        self.routes[usize::from(number)].0
    }

    /// Opens a socket and starts attempt `n` of the shard.
    ///
    /// # Errors
    /// The call that failed, and its error.
    pub(super) fn connect(&self, n: u64) -> Result<OwnedFd, (&'static str, Errno)> {
        let (server, sources) = &self.routes[usize::from(self.of(n))];
        // Attempts are numbered per address, or two addresses and two sources would meet in two of four pairs only.
        sources.connect(*server, n / self.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::net::TcpListener;

    fn addrs(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn addresses_are_used_round_robin_and_evenly() {
        let servers = addrs(&["10.0.0.7:80", "[2001:db8::7]:80", "10.0.0.8:80"]);
        for (shards, each) in [(1, 1_000), (2, 999), (7, 30), (6, 1)] {
            let mut counts = [0; 3];
            for routes in Routes::for_shards(&servers, &[], shards * each, shards as usize) {
                (0..each).for_each(|n| counts[usize::from(routes.of(n))] += 1);
            }
            let (least, most) = (counts.iter().min().expect("three"), counts.iter().max().expect("three"));
            assert!(most - least <= shards, "{shards} shards: {counts:?}");
        }
        let few = Routes::for_shards(&servers, &[], 3, 3);
        assert_eq!(few.iter().map(|routes| routes.of(0)).collect::<Vec<_>>(), [0, 1, 2]);
    }

    /// Over loopback, with sockets: each address gets connections from each given source of its family.
    #[test]
    fn every_address_is_reached_from_every_source_of_its_family() {
        let listener = TcpListener::bind("0.0.0.0:0").expect("bind");
        let port = listener.local_addr().expect("an address").port();
        let servers = [1, 2].map(|last| SocketAddr::from(([127, 0, 0, last], port)));
        let sources = ["127.0.0.8:0", "127.0.0.9:0", "[::1]:0"].map(|text| text.parse().expect("an address"));
        let routes = &Routes::for_shards(&servers, &sources, 8, 1)[0];
        let sockets: Vec<_> = (0..8).map(|n| routes.connect(n).expect("a connection")).collect();
        let pairs: HashSet<_> = sockets
            .iter()
            .map(|_| {
                let (socket, peer) = listener.accept().expect("a connection");
                (socket.local_addr().expect("an address").ip(), peer.ip())
            })
            .collect();
        assert_eq!(pairs.len(), 4, "{pairs:?}");
    }
}
