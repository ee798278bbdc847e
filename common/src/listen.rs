//! A shard's listener, and what to tell a person where it cannot be had.

use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};

/// Octets of output that the kernel takes for a connection beyond those on their way (tcp(7), `TCP_NOTSENT_LOWAT`).
///
/// Without it a peer that reads nothing makes the kernel hold what `net.ipv4.tcp_wmem` allows, 4 MiB as Linux comes,
/// and a few hundred of them all that `net.ipv4.tcp_mem` does, for every socket of the machine.
const UNSENT_LEN: u32 = 128 * 1024;

/// A listener among others on the same address: the kernel spreads connections over them by a hash of addresses
/// and ports (socket(7), `SO_REUSEPORT`), and of those with a core over the ones whose core the packet has come to (Linux
/// 6.2, `SO_INCOMING_CPU`).
pub(crate) fn listener(addr: SocketAddr, backlog: i32, core: Option<usize>) -> io::Result<TcpListener> {
    let socket = socket(addr)?;
    socket.set_reuse_port(true)?;
    // What it accepts inherits this.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT_LEN)?;
    socket.set_nonblocking(true)?;
    if let Some(core) = core {
        socket.set_cpu_affinity(core)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// Fails where somebody listens on `addr` already. With `SO_REUSEPORT` alone a second server of the same user would
/// start, and silently take half of the first one's connections.
pub(crate) fn refuse_port_in_use(addr: SocketAddr) -> io::Result<()> {
    if addr.port() == 0 { Ok(()) } else { socket(addr)?.bind(&addr.into()) }
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

    #[test]
    fn what_it_accepts_keeps_little_output_in_the_kernel() {
        let listener = listener("127.0.0.1:0".parse().unwrap(), 1, None).unwrap();
        listener.set_nonblocking(false).unwrap();
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(SockRef::from(&accepted).tcp_notsent_lowat().unwrap(), UNSENT_LEN);
    }
}
