//! A shard's listener, and what to tell a person where it cannot be had.

use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};

/// Bytes of output that the kernel takes for a connection beyond those on their way (tcp(7), `TCP_NOTSENT_LOWAT`).
///
/// Without it a peer that reads nothing makes the kernel hold what `net.ipv4.tcp_wmem` allows, 4 MiB by default,
/// and a few hundred of them all that `net.ipv4.tcp_mem` does, for every socket of the machine.
const UNSENT_LEN: u32 = 128 * 1024;

/// A shard's listener. The kernel spreads connections over those of the same address by a hash of addresses and ports
/// (socket(7), `SO_REUSEPORT`), and of those with a core over the ones whose core the packet has come to (Linux 6.2,
/// `SO_INCOMING_CPU`).
///
/// The `first` one has the address for itself, or fails; only then it lets the server's others join. With `SO_REUSEPORT`
/// from the start a second server of the same user would join as well, and silently take half of the connections.
pub(crate) fn listener(
    addr: SocketAddr,
    backlog: i32,
    core: Option<usize>,
    first: bool,
) -> io::Result<TcpListener> {
    let socket = if first { exclusive(addr, backlog)? } else { socket(addr)? };
    socket.set_reuse_port(true)?;
    // What it accepts inherits this.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT_LEN)?;
    socket.set_nonblocking(true)?;
    if let Some(core) = core {
        socket.set_cpu_affinity(core)?;
    }
    if !first {
        socket.bind(&addr.into())?;
        socket.listen(backlog)?;
    }
    Ok(socket.into())
}

/// A listener that shares its address with nobody.
pub(crate) fn exclusive(addr: SocketAddr, backlog: i32) -> io::Result<Socket> {
    /// Two listeners that start at the same instant may both fail: the kernel makes a listener visible before it checks for
    /// others (`inet_csk_listen_start` in Linux's net/ipv4/inet_connection_sock.c). If the other listener persists, the
    /// next attempt fails in bind(2).
    const TRIES: usize = 100;
    let mut tries = 1;
    loop {
        let socket = socket(addr)?;
        socket.bind(&addr.into())?;
        match socket.listen(backlog) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && tries < TRIES => tries += 1,
            result => return result.map(|()| socket),
        }
    }
}

fn socket(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // The port may be taken though connections of an earlier run linger on it (tcp(7), TIME_WAIT).
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// One line: what failed, with which value, and the way out.
pub fn explain(flag: &str, addr: SocketAddr, error: &io::Error) -> String {
    let way_out = match error.kind() {
        ErrorKind::AddrInUse => {
            let port = addr.port();
            format!("stop what holds it ('ss -ltnp sport = :{port}' tells), or choose another {flag}")
        }
        ErrorKind::AddrNotAvailable => {
            format!("it is not an address of this machine ('ip address' lists them): {flag}")
        }
        ErrorKind::PermissionDenied => {
            format!("ports below 1024 need CAP_NET_BIND_SERVICE: choose another {flag}")
        }
        _ => format!("see {flag}"),
    };
    format!("cannot listen on {addr}: {error}; {way_out}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;
    use std::net::TcpStream;
    use std::sync::Barrier;
    use std::thread;

    fn listen(addr: &str, first: bool) -> io::Result<TcpListener> {
        listener(addr.parse().unwrap(), 128, None, first)
    }

    #[test]
    fn what_it_accepts_keeps_little_output_in_the_kernel() {
        for first in [true, false] {
            let listener = listen("127.0.0.1:0", first).unwrap();
            listener.set_nonblocking(false).unwrap();
            let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            let accepted = SockRef::from(&accepted);
            assert_eq!(accepted.tcp_notsent_lowat().unwrap(), UNSENT_LEN);
            assert!(accepted.tcp_nodelay().unwrap());
        }
    }

    #[test]
    fn of_servers_that_start_at_once_one_has_the_port() {
        let start = Barrier::new(4);
        for _ in 0..200 {
            // A port that was free a moment ago.
            let addr = listen("127.0.0.1:0", true).unwrap().local_addr().unwrap().to_string();
            let begin = || {
                start.wait();
                listen(&addr, true)
            };
            let begun: Vec<_> = thread::scope(|scope| {
                let servers: Vec<_> = (0..4).map(|_| scope.spawn(begin)).collect();
                servers.into_iter().map(|server| server.join().unwrap()).collect()
            });
            let errors: Vec<_> = begun.iter().filter_map(|begun| begun.as_ref().err()).collect();
            assert!(errors.iter().all(|error| error.kind() == ErrorKind::AddrInUse), "{errors:?}");
            assert_eq!(errors.len(), 3, "one of four");
        }
    }

    #[test]
    fn the_shards_of_a_server_share_its_port_and_its_connections() {
        let first = listen("127.0.0.1:0", true).unwrap();
        let addr = first.local_addr().unwrap();
        let second = listen(&addr.to_string(), false).unwrap();
        assert_eq!(listen(&addr.to_string(), true).unwrap_err().kind(), ErrorKind::AddrInUse);
        // All of 64 at the same one of two: once in 2^63 tries.
        let _peers: Vec<_> = (0..64).map(|_| TcpStream::connect(addr).unwrap()).collect();
        let accepted = |listener: &TcpListener| listener.incoming().take_while(Result::is_ok).count();
        let (by_first, by_second) = (accepted(&first), accepted(&second));
        assert!(by_first > 0 && by_second > 0, "{by_first} and {by_second}");
    }
}
