//! Source addresses and ports of connections.
//!
//! Two addresses and two ports identify a connection, so one source address can open no more connections to a server
//! than `net.ipv4.ip_local_port_range` has ports: 28,232 by default. All of 127.0.0.0/8 is local, which makes 16 million
//! source addresses over loopback. On other interfaces, each further range of ports takes another `--source-ip`.

use super::class::Class;
use super::random::random;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use std::time::Duration;

/// Ports in Linux's default range, if the current one cannot be read.
const USUAL_PORTS: u64 = 60_999 - 32_768 + 1;

/// The number of ephemeral ports (`net.ipv4.ip_local_port_range`).
pub fn local_ports() -> u64 {
    port_range().map_or(USUAL_PORTS, |(low, high)| u64::from(high - low) + 1)
}

fn port_range() -> Option<(u16, u16)> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = range.split_whitespace().map_while(|end| end.parse().ok());
    Some((ends.next()?, ends.next()?)).filter(|(low, high)| low <= high)
}

/// The source addresses of one shard.
#[derive(Clone, Debug)]
pub(super) enum Sources {
    /// The kernel chooses the address.
    Kernel,
    /// These, round-robin.
    Given(Vec<SocketAddr>),
    /// `count` addresses of 127.0.0.0/8 from `first` on, round-robin.
    Loopback { first: u32, count: u32 },
}

impl Sources {
    /// The sources of each of `shards`, enough for `connections` in total to `server`.
    ///
    /// Over loopback, each address uses an eighth of the port range: the kernel then finds a free port at the first or
    /// second try, while its search in a nearly full range is long. The first address is random, to avoid sockets that
    /// an earlier run left in TIME_WAIT.
    pub(super) fn for_shards(
        server: IpAddr,
        given: &[SocketAddr],
        connections: u64,
        shards: usize,
    ) -> Vec<Sources> {
        if !given.is_empty() {
            return vec![Sources::Given(given.to_vec()); shards];
        }
        if !matches!(server, IpAddr::V4(address) if address.is_loopback()) {
            return vec![Sources::Kernel; shards];
        }
        let per_shard = connections.div_ceil(shards as u64);
        let count = per_shard.div_ceil((local_ports() / 8).max(1)) as u32;
        let count = count.clamp(1, (1 << 23) / shards as u32);
        let start = u32::from(Ipv4Addr::new(127, 0, 1, 0)) + (random() as u32 & 0x7f_ffff);
        (0..shards as u32).map(|shard| Sources::Loopback { first: start + shard * count, count }).collect()
    }

    /// The source of attempt `n`.
    fn pick(&self, n: u64) -> Option<SocketAddr> {
        match self {
            Sources::Kernel => None,
            Sources::Given(given) => Some(given[(n % given.len() as u64) as usize]),
            Sources::Loopback { first, count } => {
                let address = Ipv4Addr::from(first + (n % u64::from(*count)) as u32);
                Some(SocketAddr::new(address.into(), 0))
            }
        }
    }

    /// Opens a socket and starts attempt `n` of the shard to connect to `server`.
    ///
    /// # Errors
    /// The call that failed, and its error.
    pub(super) fn connect(&self, server: SocketAddr, n: u64) -> Result<OwnedFd, (&'static str, Errno)> {
        let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket =
            socket_with(family, SocketType::STREAM, flags, None).map_err(|error| ("socket", error))?;
        // Open-loop messages follow unacknowledged ones: Nagle's algorithm would delay them.
        sockopt::set_tcp_nodelay(&socket, true).map_err(|error| ("setsockopt", error))?;
        // The handshake's last acknowledgement goes out with the request, which saves one segment of seven (tcp(7), `TCP_QUICKACK`).
        sockopt::set_tcp_quickack(&socket, false).map_err(|error| ("setsockopt", error))?;
        if let Some(source) = self.pick(n) {
            bind_address_no_port(socket.as_fd()).map_err(|error| ("setsockopt", error))?;
            bind(&socket, &source).map_err(|error| ("bind", error))?;
        }
        if !matches!(self, Sources::Loopback { .. }) {
            use_ports_of_both_parities(socket.as_fd());
        }
        match connect(&socket, &server) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
            Err(error) => Err(("connect", error)),
        }
    }
}

/// Defers the choice of a port from bind(2) to connect(2), when the remote address is known: a port can then be reused
/// for another server address (ip(7), `IP_BIND_ADDRESS_NO_PORT`, Linux 4.2).
fn bind_address_no_port(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    set_ip_option(socket, libc::IP_BIND_ADDRESS_NO_PORT, 1)
}

/// Makes connect(2) use even and odd ports alike.
///
/// By default it uses those of one parity first; once they are taken, it tries them all again for every further connection
/// (`__inet_hash_connect` in Linux's net/ipv4/inet_hashtables.c). A per-socket range, though the same, has no such order
/// (ip(7), `IP_LOCAL_PORT_RANGE`, Linux 6.8). On older kernels the second half of the ports is slow.
fn use_ports_of_both_parities(socket: BorrowedFd<'_>) {
    /// From linux/in.h.
    const IP_LOCAL_PORT_RANGE: libc::c_int = 51;
    static RANGE: LazyLock<Option<(u16, u16)>> = LazyLock::new(port_range);
    if let Some((low, high)) = *RANGE {
        let _ = set_ip_option(socket, IP_LOCAL_PORT_RANGE, u32::from(low) | u32::from(high) << 16);
    }
}

fn set_ip_option(socket: BorrowedFd<'_>, option: libc::c_int, value: u32) -> Result<(), Errno> {
    // SAFETY: the option's value is a live 32-bit integer, and its size is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
    }
}

/// Resets a connection, so that neither end stays in TIME_WAIT.
pub(super) fn cut_off(socket: OwnedFd) {
    // If this fails, the close is an ordinary one, which leaves a socket in TIME_WAIT.
    let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
}

/// The class of a failed call. bind(2) fails with `EADDRNOTAVAIL` for an address that is not local, not for want of ports.
pub(super) fn class_of(call: &str, error: Errno) -> Class {
    if call == "bind" { Class::Other } else { Class::of(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_million_loopback_connections_have_enough_ports() {
        let server = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut of_address = std::collections::HashMap::new();
        for sources in Sources::for_shards(server, &[], 1_000_000, 53) {
            for n in 0..1_000_000 / 53 {
                let source = sources.pick(n).expect("an address");
                assert!(source.ip().is_loopback());
                *of_address.entry(source).or_insert(0) += 1;
            }
        }
        assert!(of_address.values().all(|&connections| connections <= local_ports() / 8));
    }

    #[test]
    fn given_addresses_are_used_round_robin_and_others_are_the_kernels() {
        let given = ["10.0.0.1:0", "10.0.0.2:0"].map(|address| address.parse().expect("an address"));
        let far = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 0));
        let sources = &Sources::for_shards(far, &given, 10, 2)[1];
        assert_eq!(
            (0..3).filter_map(|n| sources.pick(n)).collect::<Vec<_>>(),
            [given[0], given[1], given[0]]
        );
        assert_eq!(Sources::for_shards(far, &[], 10, 2)[0].pick(0), None);
    }

    /// Needs Linux 6.8. Without a per-socket range, the first ports are all of one parity.
    #[test]
    fn ports_of_both_parities_are_used_from_the_start() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let server = listener.local_addr().expect("its address");
        let sources = Sources::Given(vec![SocketAddr::from(([127, 0, 0, 9], 0))]);
        let sockets: Vec<_> = (0..32).map(|n| sources.connect(server, n).expect("a connection")).collect();
        let odd = |socket: &OwnedFd| {
            let local = rustix::net::getsockname(socket).expect("an address");
            SocketAddr::try_from(local).expect("IPv4").port() % 2 == 1
        };
        let odd = sockets.iter().filter(|socket| odd(socket)).count();
        assert!((8..=24).contains(&odd), "{odd} odd ports of 32");
    }

    #[test]
    fn runs_start_at_different_addresses() {
        let server = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let firsts: HashSet<_> = (0..20).map(|_| Sources::for_shards(server, &[], 1, 1)[0].pick(0)).collect();
        assert!(firsts.len() > 15, "{firsts:?}");
    }
}
