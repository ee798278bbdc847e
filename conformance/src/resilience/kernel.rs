//! What the kernel keeps for a server's sockets (proc(5), `/proc/net/tcp`).

use std::fs;
use std::net::SocketAddr;

/// Octets of output that each socket at `addr` has in the kernel, those included that no process has any more.
pub(super) fn unsent_bytes(addr: SocketAddr) -> Vec<u64> {
    let table = fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
    let sockets = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace();
        let port = fields.nth(1)?.split_once(':')?.1;
        let queues = fields.nth(2)?;
        (u16::from_str_radix(port, 16).ok()? == addr.port()).then_some(queues)
    });
    sockets.map(|queues| octets(queues).expect("tx_queue:rx_queue")).collect()
}

/// The first of two numbers such as `00000010:00000000`.
fn octets(queues: &str) -> Option<u64> {
    u64::from_str_radix(queues.split_once(':')?.0, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn counts_what_a_peer_has_not_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let addr = listener.local_addr().expect("address");
        let _peer = TcpStream::connect(addr).expect("connect");
        let (mut server, _) = listener.accept().expect("accept");
        server.set_nonblocking(true).expect("O_NONBLOCK");
        while server.write(&[0; 4096]).is_ok() {}
        let most = unsent_bytes(addr).into_iter().max();
        drop(server);
        let of_nobody = unsent_bytes(addr).into_iter().max();
        assert!(most > Some(4096) && of_nobody > Some(4096), "{most:?}, then {of_nobody:?}");
    }
}
