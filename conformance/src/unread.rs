//! Bytes in a server's receive queue that it has not read yet (sock_diag(7)).
//!
//! To make the server read input in two pieces, a case must know that it has read the first before it sends the second.

use crate::wait;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

// linux/sock_diag.h, linux/netlink.h, linux/inet_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_HEADER_LEN: usize = 16;
const REQUEST_LEN: usize = NLMSG_HEADER_LEN + 56;
const RQUEUE_AT: usize = NLMSG_HEADER_LEN + 56;

/// Waits until the far end of a loopback connection has read everything sent on `stream`, or has closed.
///
/// Without sock_diag(7) it sleeps for 2 ms instead: a case may then deliver two pieces as one, but cannot fail by it.
#[track_caller]
pub(crate) fn await_read(stream: &TcpStream) {
    let (Ok(near), Ok(far)) = (stream.local_addr(), stream.peer_addr()) else { return };
    let Ok(diag) = open() else { return thread::sleep(Duration::from_millis(2)) };
    wait::until("the server reads all input", || match unread(&diag, far, near) {
        Ok(0) | Err(_) => Ok(()),
        Ok(len) => Err(format!("{len} bytes unread")),
    });
}

fn open() -> io::Result<OwnedFd> {
    let (family, kind) = (AddressFamily::NETLINK, SocketType::DGRAM);
    Ok(rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?)
}

/// Bytes in the receive queue of the socket at `near` that is connected to `far`.
fn unread(diag: &OwnedFd, near: SocketAddr, far: SocketAddr) -> io::Result<u32> {
    rustix::net::send(diag, &request(near, far), SendFlags::empty())?;
    let mut reply = [0; 1024];
    let (len, _) = rustix::net::recv(diag, &mut reply, RecvFlags::empty())?;
    let kind = u16::from_ne_bytes([reply[4], reply[5]]);
    match reply[..len].get(RQUEUE_AT..RQUEUE_AT + 4) {
        Some(queue) if kind == SOCK_DIAG_BY_FAMILY => {
            Ok(u32::from_ne_bytes(queue.try_into().expect("4 bytes")))
        }
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`, for exactly one socket.
fn request(near: SocketAddr, far: SocketAddr) -> Vec<u8> {
    const AF_INET: u8 = 2;
    const IPPROTO_TCP: u8 = 6;
    let (SocketAddr::V4(near), SocketAddr::V4(far)) = (near, far) else {
        unreachable!("the suite connects over IPv4")
    };
    let mut out = Vec::with_capacity(REQUEST_LEN);
    out.extend_from_slice(&(REQUEST_LEN as u32).to_ne_bytes());
    out.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    out.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    out.extend_from_slice(&[0; 8]); // sequence, port
    out.extend_from_slice(&[AF_INET, IPPROTO_TCP, 0, 0]);
    out.extend_from_slice(&u32::MAX.to_ne_bytes()); // in any state
    out.extend_from_slice(&near.port().to_be_bytes());
    out.extend_from_slice(&far.port().to_be_bytes());
    for address in [near.ip(), far.ip()] {
        out.extend_from_slice(&address.octets());
        out.extend_from_slice(&[0; 12]);
    }
    out.extend_from_slice(&[0; 4]); // on any interface
    out.extend_from_slice(&[0xff; 8]); // no cookie
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn counts_unread_bytes() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let mut near = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        let (mut far, _) = listener.accept().expect("accept");
        let Ok(diag) = open() else { return };
        let count = || {
            let (far_addr, near_addr) = (near.peer_addr().expect("far"), near.local_addr().expect("near"));
            unread(&diag, far_addr, near_addr)
        };
        assert_eq!(count().expect("a reply"), 0);
        (&near).write_all(b"12345").expect("write");
        assert_eq!(count().expect("a reply"), 5);
        far.read_exact(&mut [0; 3]).expect("read");
        assert_eq!(count().expect("a reply"), 2);
        far.read_exact(&mut [0; 2]).expect("read");
        await_read(&near);
        near.flush().expect("flush");
    }
}
