//! A shard's listener, and what to tell a person where it cannot be had.

use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};

/// A listener among others on the same address: the kernel spreads connections over them by a hash of addresses
/// and ports (socket(7), `SO_REUSEPORT`).
pub(crate) fn listener(addr: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = socket(addr)?;
    socket.set_reuse_port(true)?;
    // What it accepts inherits this.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
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
pub(crate) fn explain(flag: &str, addr: SocketAddr, error: &io::Error) -> String {
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
