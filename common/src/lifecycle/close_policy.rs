//! What the kernel does with unsent output when a connection is closed.
//!
//! close(2) leaves the output, and the socket, to the kernel until the peer makes room. A peer that answers the kernel's
//! window probes without making any can draw that out for ever (RFC 9293, section 3.8.6.1).

use crate::metrics::Closed;
use rustix::net::sockopt;
use std::os::fd::AsFd;
use std::time::Duration;

/// How long a peer may acknowledge nothing of the output that was left to the kernel.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// To be called when a connection ends, before its socket is closed. A peer that timed out, or made the server keep too much,
/// is reset by the close (socket(7), `SO_LINGER`). Any other gets what was sent, as long as it acknowledges some of it every
/// 30 s (tcp(7), `TCP_USER_TIMEOUT`).
pub fn set_close_policy(socket: impl AsFd, reason: Closed) {
    // These fail where the connection is no more, which is as good.
    let _ = match reason {
        Closed::Idle | Closed::Overload => sockopt::set_socket_linger(socket, Some(Duration::ZERO)),
        _ => sockopt::set_tcp_user_timeout(socket, USER_TIMEOUT.as_millis() as u32),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream};

    /// Closes a connection with output that the peer has not taken; returns how it ends for the peer.
    fn end(reason: Closed) -> std::io::Result<usize> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(b"taken late").unwrap();
        set_close_policy(&server, reason);
        drop(server);
        peer.read_to_end(&mut vec![])
    }

    #[test]
    fn after_a_timeout_the_peer_is_reset_and_otherwise_it_gets_what_was_sent() {
        assert_eq!(end(Closed::Idle).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(end(Closed::Eof).unwrap(), b"taken late".len());
    }
}
