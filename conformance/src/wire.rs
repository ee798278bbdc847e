//! A TCP client that sends any bytes, valid or not, and checks strictly what it receives.
//!
//! It receives whole messages, reassembled from their fragments, and control frames. How a server fragments an echo is
//! not checked (RFC 6455, section 5.4), nor a message that the server begins and abandons when it closes.

mod expect;
mod receive;

use crate::frame::{Frame, excerpt};
use crate::http::Request;
use crate::unread;
use crate::wait::TIMEOUT;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A socket that has not been writable for this long counts as full: the server has stopped reading.
const STALL: Duration = Duration::from_millis(300);

/// The number of events that a failure prints.
const HISTORY_LEN: usize = 24;

/// A client's end of a connection. A failed expectation panics with the connection's recent history.
pub(crate) struct Peer {
    stream: TcpStream,
    inbox: Vec<u8>,
    /// Bytes at the start of the inbox that are parsed.
    consumed: usize,
    /// The fragments so far of an unfinished message.
    begun: Option<Frame>,
    end: Option<End>,
    history: VecDeque<String>,
    /// How long to wait for a frame, or for room to send.
    pub timeout: Duration,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// FIN.
    Eof,
    /// RST, or another error.
    Reset,
}

/// The next item received.
#[derive(Debug)]
pub(crate) enum Received {
    Frame(Frame),
    End(End),
}

impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Received::Frame(frame) => frame.fmt(f),
            Received::End(End::Eof) => write!(f, "the end of the connection (FIN)"),
            Received::End(End::Reset) => write!(f, "a connection reset (RST)"),
        }
    }
}

/// Opening and closing.
impl Peer {
    /// Opens a TCP connection, and sends nothing.
    #[track_caller]
    pub fn open(addr: SocketAddr) -> Peer {
        Peer::try_open(addr).unwrap_or_else(|error| panic!("cannot connect to {addr}: {error}"))
    }

    /// The same where connect(2) may fail.
    pub fn try_open(addr: SocketAddr) -> io::Result<Peer> {
        let stream = TcpStream::connect_timeout(&addr, TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Peer {
            stream,
            inbox: vec![],
            consumed: 0,
            begun: None,
            end: None,
            history: VecDeque::new(),
            timeout: TIMEOUT,
        })
    }

    /// Opens a WebSocket connection on `/echo`.
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Peer {
        let mut peer = Peer::open(addr);
        peer.send(&Request::handshake("/echo").bytes());
        peer.expect_upgrade();
        peer
    }

    /// Opens `count` WebSocket connections.
    #[track_caller]
    pub fn connect_many(addr: SocketAddr, count: usize) -> Vec<Peer> {
        (0..count).map(|_| Peer::connect(addr)).collect()
    }

    /// Limits the receive buffer to about 64 KiB, so that the kernel acknowledges what is read in small steps. By
    /// default the buffer grows to megabytes, and once it is full, the window reopens only after half of it is read.
    pub fn keep_receive_buffer_small(&self) {
        sockopt::set_socket_recv_buffer_size(&self.stream, 32 * 1024).expect("SO_RCVBUF");
    }

    /// Sends a FIN. It can still receive.
    pub fn half_close(&mut self) {
        self.log("half-close".into());
        self.stream.shutdown(Shutdown::Write).expect("shutdown");
    }

    /// Resets the connection (RST).
    pub fn reset(self) {
        sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).expect("SO_LINGER");
    }

    /// Performs the closing handshake with code 1000 (RFC 6455, section 7).
    #[track_caller]
    pub fn close(mut self) {
        self.send_frame(&Frame::close(1000, ""));
        self.expect_close(1000);
    }

    /// Panics with the expectation, what was received instead, and the history.
    #[track_caller]
    pub fn fail(&self, expected: &str, got: impl fmt::Display) -> ! {
        let before: String = self.history.iter().map(|line| format!("  {line}\n")).collect();
        panic!("expected: {expected}\ngot: {got}\nbefore:\n{before}")
    }

    fn log(&mut self, event: String) {
        if self.history.len() == HISTORY_LEN {
            self.history.pop_front();
        }
        self.history.push_back(event);
    }
}

/// Sending.
impl Peer {
    /// Sends a masked frame.
    #[track_caller]
    pub fn send_frame(&mut self, frame: &Frame) {
        self.send_frames(&[frame]);
    }

    /// Sends masked frames in one write: in one segment, if they fit.
    #[track_caller]
    pub fn send_frames(&mut self, frames: &[&Frame]) {
        for frame in frames {
            self.log(format!("sends {frame}"));
        }
        let bytes = frames.iter().flat_map(|frame| frame.masked()).collect::<Vec<_>>();
        if let Err(error) = self.push(&bytes) {
            self.fail("the server reads all input", error);
        }
    }

    /// Sends bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        if let Err(error) = self.try_send(bytes) {
            self.fail("the server reads all input", error);
        }
    }

    /// Sends bytes to a server that may have closed the connection.
    ///
    /// # Errors
    /// As write(2), if it has.
    #[track_caller]
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.log(format!("sends {}", excerpt(bytes)));
        self.push(bytes)
    }

    /// Sends pieces one at a time, and waits until the server has read each of them.
    #[track_caller]
    pub fn send_in_pieces<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>) {
        for piece in pieces {
            self.send(piece);
            self.await_read();
        }
    }

    /// Waits until the server has read everything sent, or has closed the connection.
    #[track_caller]
    pub fn await_read(&self) {
        unread::await_read(&self.stream);
    }

    /// Writes without reading until all is sent or the socket is full. Returns the number of bytes sent.
    pub fn send_until_full(&mut self, bytes: &[u8]) -> usize {
        match self.try_send_until_full(bytes) {
            Ok(sent) => sent,
            Err(error) => self.fail("the server reads the input or leaves it queued", error),
        }
    }

    /// The same with a server that may close the connection.
    ///
    /// # Errors
    /// As write(2), if it does.
    pub fn try_send_until_full(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(len) => sent += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.ready(PollFlags::OUT, STALL).is_empty() {
                        break;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.log(format!("sends {sent} bytes without reading"));
        Ok(sent)
    }

    /// Sends these bytes repeatedly at full speed, and discards the replies, until `stop` is set or the test has timed
    /// out.
    pub fn flood(&mut self, bytes: &[u8], stop: &AtomicBool) {
        let until = Instant::now() + 2 * TIMEOUT;
        self.log(format!("sends {} repeatedly", excerpt(bytes)));
        while !stop.load(Relaxed) && Instant::now() < until {
            if let Err(error) = self.push(bytes) {
                self.fail("the server reads all input", error);
            }
            (self.inbox, self.consumed) = (vec![], 0);
        }
    }

    /// Writes all bytes, and reads while it cannot write: otherwise both ends could block on full buffers.
    #[track_caller]
    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(len) => rest = &rest[len..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let both =
                        PollFlags::OUT | if self.end.is_none() { PollFlags::IN } else { PollFlags::OUT };
                    let ready = self.ready(both, self.timeout);
                    if ready.is_empty() {
                        self.fail("the server reads all input", format!("{} bytes unsent", rest.len()));
                    }
                    if ready.contains(PollFlags::IN) {
                        self.fill();
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until the socket is ready for one of `interest`, for at most `limit`.
    fn ready(&self, interest: PollFlags, limit: Duration) -> PollFlags {
        let mut fds = [PollFd::new(&self.stream, interest)];
        let limit = Timespec::try_from(limit).expect("a short time");
        poll(&mut fds, Some(&limit)).expect("poll");
        fds[0].revents()
    }
}
