//! A peer that sends whatever bytes it is given, and is strict about those it gets.
//!
//! What it hears are whole messages, put together from their fragments, and control frames. In how many fragments a server answers
//! is its own business (RFC 6455, section 5.4), and so is a message that it begins and, for good reason, does not finish.

mod expect;
mod hear;

use crate::frame::{Frame, excerpt};
use crate::http::Request;
use crate::server::Server;
use crate::unread;
use crate::wait::PATIENCE;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long a socket that takes nothing more must stay so to count as full for good.
const STALL: Duration = Duration::from_millis(300);

/// How much of what went before is told when an expectation fails.
const TOLD: usize = 24;

/// One end of a connection. Whatever it expects and does not get is a panic that says what went before.
pub(crate) struct Peer {
    stream: TcpStream,
    inbox: Vec<u8>,
    /// How much of the inbox was heard.
    heard: usize,
    /// A message of which not all fragments were heard.
    begun: Option<Frame>,
    end: Option<End>,
    story: VecDeque<String>,
    /// How long it waits for what a sound server does at once.
    pub patience: Duration,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The server closed it (FIN).
    Eof,
    /// The server broke it (RST).
    Reset,
}

/// What a peer hears next.
#[derive(Debug)]
pub(crate) enum Heard {
    Frame(Frame),
    End(End),
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Heard::Frame(frame) => frame.fmt(f),
            Heard::End(End::Eof) => write!(f, "the end of the connection"),
            Heard::End(End::Reset) => write!(f, "a connection reset"),
        }
    }
}

/// Opening and closing.
impl Peer {
    /// A TCP connection, with nothing sent yet.
    #[track_caller]
    pub fn open(addr: SocketAddr) -> Peer {
        Peer::try_open(addr).unwrap_or_else(|error| panic!("cannot connect to {addr}: {error}"))
    }

    /// The same, where it may be refused.
    pub fn try_open(addr: SocketAddr) -> io::Result<Peer> {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Peer {
            stream,
            inbox: vec![],
            heard: 0,
            begun: None,
            end: None,
            story: VecDeque::new(),
            patience: PATIENCE,
        })
    }

    /// A WebSocket.
    #[track_caller]
    pub fn connect(server: &Server) -> Peer {
        let mut peer = Peer::open(server.addr);
        peer.send(&Request::handshake("/echo").octets());
        peer.upgraded();
        peer
    }

    /// As many of them.
    #[track_caller]
    pub fn connect_many(server: &Server, count: usize) -> Vec<Peer> {
        (0..count).map(|_| Peer::connect(server)).collect()
    }

    /// Has its kernel take no more than some 64 KiB that it has not read, and so say steadily what it has read. Left to itself
    /// the buffer grows with what comes, up to megabytes, and once it is full says nothing until half of it is read.
    pub fn keep_receive_buffer_small(&self) {
        sockopt::set_socket_recv_buffer_size(&self.stream, 32 * 1024).expect("SO_RCVBUF");
    }

    /// Says that nothing more will be sent (FIN), and goes on hearing.
    pub fn finish(&mut self) {
        self.tell("sends nothing more".into());
        self.stream.shutdown(Shutdown::Write).expect("shutdown");
    }

    /// Breaks the connection with a RST.
    pub fn reset(self) {
        sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).expect("SO_LINGER");
    }

    /// Closes with the closing handshake (RFC 6455, section 7), which must go well.
    #[track_caller]
    pub fn close(mut self) {
        self.say(&Frame::close(1000, ""));
        self.expect_close(1000);
    }

    /// Panics with what was expected, what came, and what went before.
    #[track_caller]
    pub fn fail(&self, expected: &str, got: impl fmt::Display) -> ! {
        let before: String = self.story.iter().map(|line| format!("  {line}\n")).collect();
        panic!("expected: {expected}\ngot: {got}\nbefore:\n{before}")
    }

    fn tell(&mut self, line: String) {
        if self.story.len() == TOLD {
            self.story.pop_front();
        }
        self.story.push_back(line);
    }
}

/// Sending.
impl Peer {
    /// Sends a frame as it should be: masked.
    #[track_caller]
    pub fn say(&mut self, frame: &Frame) {
        self.say_all(&[frame]);
    }

    /// Sends frames in one segment.
    #[track_caller]
    pub fn say_all(&mut self, frames: &[&Frame]) {
        for frame in frames {
            self.tell(format!("sends {frame}"));
        }
        let octets = frames.iter().flat_map(|frame| frame.masked()).collect::<Vec<_>>();
        if let Err(error) = self.push(&octets) {
            self.fail("the server takes what is sent", error);
        }
    }

    /// Sends bytes.
    #[track_caller]
    pub fn send(&mut self, octets: &[u8]) {
        if let Err(error) = self.try_send(octets) {
            self.fail("the server takes what is sent", error);
        }
    }

    /// Sends bytes to a server that may have hung up.
    ///
    /// # Errors
    /// The kernel's, if it has.
    #[track_caller]
    pub fn try_send(&mut self, octets: &[u8]) -> io::Result<()> {
        self.tell(format!("sends {}", excerpt(octets)));
        self.push(octets)
    }

    /// Sends bytes in pieces, each once the server has read the one before.
    #[track_caller]
    pub fn send_in_pieces<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>) {
        for piece in pieces {
            self.send(piece);
            unread::await_read(&self.stream);
        }
    }

    /// Writes what it can without reading, until nothing more fits for a while; says how many bytes went.
    pub fn send_until_full(&mut self, octets: &[u8]) -> usize {
        match self.try_send_until_full(octets) {
            Ok(sent) => sent,
            Err(error) => self.fail("the server takes what is sent, or lets it wait", error),
        }
    }

    /// The same to a server that may hang up.
    ///
    /// # Errors
    /// The kernel's, if it does.
    pub fn try_send_until_full(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut sent = 0;
        while sent < octets.len() {
            match self.stream.write(&octets[sent..]) {
                Ok(len) => sent += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.ready(PollFlags::OUT, STALL).is_empty() {
                        break;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.tell(format!("sends {sent} octets, reads nothing"));
        Ok(sent)
    }

    /// Writes these bytes again and again, as fast as they go, and throws away what comes back, until it is stopped
    /// (or the test has failed long since).
    pub fn flood(&mut self, octets: &[u8], stop: &AtomicBool) {
        let until = Instant::now() + 2 * PATIENCE;
        self.tell(format!("sends {} again and again", excerpt(octets)));
        while !stop.load(Relaxed) && Instant::now() < until {
            if let Err(error) = self.push(octets) {
                self.fail("the server takes what is sent", error);
            }
            (self.inbox, self.heard) = (vec![], 0);
        }
    }

    /// Writes all bytes, and reads meanwhile, so that neither end waits for the other for good.
    #[track_caller]
    fn push(&mut self, octets: &[u8]) -> io::Result<()> {
        let mut rest = octets;
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(len) => rest = &rest[len..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let both =
                        PollFlags::OUT | if self.end.is_none() { PollFlags::IN } else { PollFlags::OUT };
                    let ready = self.ready(both, self.patience);
                    if ready.is_empty() {
                        self.fail("the server takes what is sent", format!("{} octets left", rest.len()));
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

    /// Waits until the socket is ready for one of these, or for `limit`.
    fn ready(&self, interest: PollFlags, limit: Duration) -> PollFlags {
        let mut fds = [PollFd::new(&self.stream, interest)];
        let limit = Timespec::try_from(limit).expect("a short time");
        poll(&mut fds, Some(&limit)).expect("poll");
        fds[0].revents()
    }
}
