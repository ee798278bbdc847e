//! Send queues and retransmissions of the server's sockets and of its peers' (proc(5), `/proc/net/tcp`).

use std::fs;
use std::net::SocketAddr;

/// Bytes in the send queue of each socket at `addr`, including sockets that their process has closed.
pub(super) fn unsent_bytes(addr: SocketAddr) -> Vec<u64> {
    let near = sockets().into_iter().filter(|socket| socket.near_port == u64::from(addr.port()));
    near.map(|socket| socket.unsent_bytes).collect()
}

/// Whether a segment sent to `addr` is being retransmitted.
pub(super) fn is_lossy(addr: SocketAddr) -> bool {
    sockets().iter().any(|socket| socket.far_port == u64::from(addr.port()) && socket.retransmits > 0)
}

struct Socket {
    near_port: u64,
    far_port: u64,
    unsent_bytes: u64,
    /// Unrecovered retransmission timeouts (RTO).
    retransmits: u64,
}

fn sockets() -> Vec<Socket> {
    let table = fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
    table.lines().skip(1).map(|line| socket(line).expect("a line of a socket")).collect()
}

fn socket(line: &str) -> Option<Socket> {
    let mut fields = line.split_whitespace();
    let [near, far] = [fields.nth(1)?, fields.next()?].map(|addr| addr.split_once(':'));
    let (unsent, _unread) = fields.nth(1)?.split_once(':')?;
    let hex = |digits| u64::from_str_radix(digits, 16).ok();
    Some(Socket {
        near_port: hex(near?.1)?,
        far_port: hex(far?.1)?,
        unsent_bytes: hex(unsent)?,
        retransmits: hex(fields.nth(1)?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn counts_unsent_bytes_also_after_close() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let addr = listener.local_addr().expect("address");
        let _peer = TcpStream::connect(addr).expect("connect");
        let (mut server, _) = listener.accept().expect("accept");
        server.set_nonblocking(true).expect("O_NONBLOCK");
        while server.write(&[0; 4096]).is_ok() {}
        let open = unsent_bytes(addr).into_iter().max();
        drop(server);
        let closed = unsent_bytes(addr).into_iter().max();
        assert!(open > Some(4096) && closed > Some(4096), "{open:?}, then {closed:?}");
    }
}
