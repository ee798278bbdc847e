//! How much of what a peer sent the server has not yet read: the kernel knows (sock_diag(7)).
//!
//! A check that something arrives in two pieces must know that the server has taken the first before it sends
//! the second. A pause would only hope so.

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

/// Waits until the far end of a loopback connection has read all that was sent on `stream`, or has closed.
///
/// Where the kernel does not tell, it waits a little: a check then may be less sharp, but no less right.
#[track_caller]
pub(crate) fn await_read(stream: &TcpStream) {
    let (Ok(near), Ok(far)) = (stream.local_addr(), stream.peer_addr()) else { return };
    let Ok(diag) = open() else { return thread::sleep(Duration::from_millis(2)) };
    wait::until("the server reads what it was sent", || match unread(&diag, far, near) {
        Ok(0) | Err(_) => Ok(()),
        Ok(octets) => Err(format!("{octets} octets that it has not read")),
    });
}

fn open() -> io::Result<OwnedFd> {
    let (family, kind) = (AddressFamily::NETLINK, SocketType::DGRAM);
    Ok(rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?)
}

/// The bytes that wait in the receive queue of the socket at `near`, connected to `far`.
fn unread(diag: &OwnedFd, near: SocketAddr, far: SocketAddr) -> io::Result<u32> {
    rustix::net::send(diag, &request(near, far), SendFlags::empty())?;
    let mut reply = [0; 1024];
    let (len, _) = rustix::net::recv(diag, &mut reply, RecvFlags::empty())?;
    let kind = u16::from_ne_bytes([reply[4], reply[5]]);
    match reply[..len].get(RQUEUE_AT..RQUEUE_AT + 4) {
        Some(queue) if kind == SOCK_DIAG_BY_FAMILY => {
            Ok(u32::from_ne_bytes(queue.try_into().expect("4 octets")))
        }
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`, which names exactly one socket.
fn request(near: SocketAddr, far: SocketAddr) -> Vec<u8> {
    const AF_INET: u8 = 2;
    const IPPROTO_TCP: u8 = 6;
    let (SocketAddr::V4(near), SocketAddr::V4(far)) = (near, far) else {
        unreachable!("the suite speaks to 127.0.0.1")
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
    fn counts_what_is_not_read() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let mut near = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        let (mut far, _) = listener.accept().expect("accept");
        let Ok(diag) = open() else { return };
        let count = || {
            let (far_addr, near_addr) = (near.peer_addr().expect("far"), near.local_addr().expect("near"));
            unread(&diag, far_addr, near_addr)
        };
        assert_eq!(count().expect("told"), 0);
        (&near).write_all(b"12345").expect("write");
        assert_eq!(count().expect("told"), 5);
        far.read_exact(&mut [0; 3]).expect("read");
        assert_eq!(count().expect("told"), 2);
        far.read_exact(&mut [0; 2]).expect("read");
        await_read(&near);
        near.flush().expect("flush");
    }
}
