//! Whether a silent peer is alive, by what the kernel knows.
//!
//! A slow reader of a long message sends nothing for a long time. A successful write does not show that it reads, since the
//! kernel buffers up to megabytes. A slow sender of a long message completes none. But the kernel knows what the peer has
//! acknowledged, and when data last arrived.
//!
//! The limit of this: a receive buffer that is full acknowledges nothing until half of it is read (RFC 9293, section 3.8.6.2.2). A
//! peer that takes longer than the timeout for half of its buffer looks like one that reads nothing.

use crate::event_loop::trim;
use std::collections::HashMap;
use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

/// Checks per timeout: a peer that acknowledges nothing is removed when the timeout is over, or a quarter later.
pub(crate) const LOOKS: u32 = 4;

/// Unacknowledged bytes that do not count: Pings on their way to a peer that acknowledges them, and sends nothing.
const PINGS_LEN: u32 = 128;

/// What a peer had not acknowledged at the last check.
#[derive(Clone, Copy, Debug, Default)]
pub struct Untaken {
    bytes: u32,
}

impl Untaken {
    /// Checks again; returns whether the peer has acknowledged output since the last check. The first time this is also true
    /// where output is on its way, for it is not known since when.
    pub fn progressed(&mut self, socket: RawFd) -> bool {
        let now = unacknowledged_bytes(socket);
        let before = mem::replace(&mut self.bytes, now);
        now != before && now.max(before) > PINGS_LEN
    }

    /// Whether output was on its way at the last check.
    pub fn is_some(&self) -> bool {
        self.bytes > PINGS_LEN
    }
}

/// The untaken output of an event loop's slow readers. A connection without any costs nothing.
#[derive(Debug, Default)]
pub struct SlowReaders {
    by_socket: HashMap<RawFd, Untaken>,
}

impl SlowReaders {
    /// Checks a socket: [`Untaken::progressed`].
    pub fn progressed(&mut self, socket: RawFd) -> bool {
        let untaken = self.by_socket.entry(socket).or_default();
        let progressed = untaken.progressed(socket);
        if !untaken.is_some() {
            self.by_socket.remove(&socket);
        }
        progressed
    }

    /// Removes a socket, before its descriptor is another's.
    pub fn remove(&mut self, socket: RawFd) {
        self.by_socket.remove(&socket);
    }

    /// Frees the table's memory once it is empty.
    pub fn trim(&mut self) {
        trim(&mut self.by_socket);
    }
}

/// A wait for a peer to acknowledge output, where a thread or a task waits for one peer (stages 1 and 2).
#[derive(Debug)]
pub struct Stall {
    limit: Duration,
    since: Instant,
    untaken: Untaken,
}

impl Stall {
    /// The socket has just refused output.
    pub fn begin(limit: Duration) -> Stall {
        Stall { limit, since: Instant::now(), untaken: Untaken::default() }
    }

    /// When to check next.
    pub fn next_look(&self) -> Instant {
        Instant::now() + self.limit / LOOKS
    }

    /// Checks the peer.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] where it has acknowledged nothing within the limit.
    pub fn look(&mut self, socket: RawFd) -> io::Result<()> {
        let now = Instant::now();
        if self.untaken.progressed(socket) {
            self.since = now;
        }
        if now.duration_since(self.since) < self.limit { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
    }
}

/// Bytes in a socket's send queue that the peer's kernel has not acknowledged (tcp(7), `SIOCOUTQ`); 0 where there is none.
fn unacknowledged_bytes(socket: RawFd) -> u32 {
    queued_bytes(socket, libc::TIOCOUTQ)
}

/// Bytes in a socket's receive queue that nobody has read (tcp(7), `SIOCINQ`); 0 where there is none.
pub(crate) fn unread_bytes(socket: RawFd) -> u32 {
    queued_bytes(socket, libc::FIONREAD)
}

fn queued_bytes(socket: RawFd, request: libc::Ioctl) -> u32 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: both requests store an int where it points to. A descriptor that is no socket makes them fail.
    let result = unsafe { libc::ioctl(socket, request, &mut bytes) };
    if result == 0 { bytes.try_into().unwrap_or(0) } else { 0 }
}

/// How long ago the kernel last received data from a peer (tcp(7), `TCP_INFO`). `None` if it does not report this.
pub(crate) fn received_ago(socket: RawFd) -> Option<Duration> {
    /// `tcpi_last_data_recv`, in ms, is the fourteenth of four bytes (linux/tcp.h).
    const LAST_DATA_RECV: usize = 13;
    let mut info = [0u32; LAST_DATA_RECV + 1];
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: stores no more than `len` bytes where it points to, and their count in `len`.
    let result = unsafe {
        let (info, len) = (info.as_mut_ptr().cast(), &mut len);
        libc::getsockopt(socket, libc::IPPROTO_TCP, libc::TCP_INFO, info, len)
    };
    let whole = result == 0 && len as usize == size_of_val(&info);
    whole.then(|| Duration::from_millis(info[LAST_DATA_RECV].into()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    /// Both ends of a connection: the peer's and the server's.
    pub(crate) fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let peer = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
        (peer, listener.accept().expect("the other end").0)
    }

    #[test]
    fn a_peer_that_takes_some_now_and_then_progresses() {
        let (mut peer, mut server) = pair();
        server.set_nonblocking(true).expect("non-blocking");
        let (mut untaken, fd) = (Untaken::default(), server.as_raw_fd());
        assert!(!untaken.progressed(fd) && !untaken.is_some(), "nothing is sent");
        // It takes a moment until the kernel's queues are full at both ends.
        while server.write(&[0; 65_536]).is_ok() || untaken.progressed(fd) {}
        assert!(untaken.is_some() && !untaken.progressed(fd), "nobody reads");
        let mut taken = vec![0; 1 << 20];
        while !untaken.progressed(fd) {
            peer.read_exact(&mut taken).expect("what was sent");
        }
        while untaken.is_some() {
            let _ = peer.read(&mut taken).expect("the rest");
            untaken.progressed(fd);
        }
        assert!(!untaken.progressed(fd), "all is taken");
    }

    #[test]
    fn a_stall_ends_where_nothing_is_taken_for_so_long() {
        let (mut peer, mut server) = pair();
        server.set_nonblocking(true).expect("non-blocking");
        while server.write(&[0; 65_536]).is_ok() {}
        let limit = Duration::from_millis(200);
        let mut stall = Stall::begin(limit);
        let (began, mut taken) = (Instant::now(), vec![0; 1 << 19]);
        while began.elapsed() < limit * 2 {
            peer.read_exact(&mut taken).expect("what was sent");
            while server.write(&[0; 65_536]).is_ok() {}
            stall.look(server.as_raw_fd()).expect("it takes some");
        }
        let stopped = Instant::now();
        while stall.look(server.as_raw_fd()).is_ok() {}
        assert!((limit..limit * 5).contains(&stopped.elapsed()), "{:?}", stopped.elapsed());
    }

    #[test]
    fn what_arrives_is_known() {
        let (mut peer, server) = pair();
        peer.write_all(b"a part").expect("room for it");
        server.peek(&mut [0]).expect("it has arrived");
        assert!(received_ago(server.as_raw_fd()).expect("TCP") < Duration::from_secs(5));
    }

    #[test]
    fn what_is_no_socket_has_sent_nothing() {
        assert!(!Untaken::default().progressed(-1) && received_ago(-1).is_none());
    }
}
