//! Connections in bulk: raw sockets, thousands to a thread, that do the same thing all together.

use crate::frame::{BINARY, CLOSE, CONTINUATION, Frame, TEXT};
use crate::http::{Request, Response};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Connections from one address of 127.0.0.0/8: few beside the ports that it has.
const PER_SOURCE: u32 = 2048;

/// Between two rounds through the members that would have blocked.
const ROUND_EVERY: Duration = Duration::from_millis(5);

/// How long a socket must take nothing to count as full for good.
const STALL: Duration = Duration::from_millis(300);

const LEAN_BUFFER_LEN: usize = 16 << 10;

/// How long a crowd of any size may take for what it does together.
const CROWD_TIMEOUT: Duration = Duration::from_secs(60);

/// A socket with a source address that has ports left, on which nothing blocks. Closed, it is reset, so that it
/// leaves nothing in TIME_WAIT.
pub(super) fn socket() -> OwnedFd {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("a socket");
    sockopt::set_tcp_nodelay(&socket, true).expect("TCP_NODELAY");
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).expect("SO_LINGER");
    let source = u32::from(Ipv4Addr::new(127, 1, 0, 1)) + COUNT.fetch_add(1, Relaxed) / PER_SOURCE % 0xffff;
    bind(&socket, &SocketAddrV4::new(source.into(), 0)).expect("an address of the loopback");
    socket
}

/// Begins to connect. What fails, the socket tells later.
pub(super) fn begin(addr: SocketAddr) -> TcpStream {
    let socket = socket();
    let _ = connect(&socket, &addr);
    socket.into()
}

/// Sockets that are watched for what happens on them, by their number.
pub(super) struct Watch {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Watch {
    pub fn new() -> Watch {
        Watch { epoll: epoll::create(CreateFlags::CLOEXEC).expect("epoll"), events: Vec::with_capacity(1024) }
    }

    /// Adds a socket, edge-triggered (epoll(7)), until it is closed.
    pub fn add(&self, number: usize, socket: &TcpStream, flags: EventFlags) {
        let data = EventData::new_u64(number as u64);
        epoll::add(&self.epoll, socket, data, flags | EventFlags::ET).expect("EPOLL_CTL_ADD");
    }

    /// Waits until something happens, or for `limit`; returns whom it happened to.
    pub fn wait(&mut self, limit: Duration) -> Vec<usize> {
        let limit = Timespec::try_from(limit).expect("a short time");
        self.events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("epoll_wait: {error}"),
        }
        self.events.iter().map(|event| event.data.u64() as usize).collect()
    }
}

/// Connections that do the same thing.
pub(super) struct Crowd {
    pub members: Vec<TcpStream>,
    received: Vec<Received>,
}

impl Crowd {
    /// TCP connections, with nothing sent yet.
    pub fn connect(addr: SocketAddr, count: usize) -> Crowd {
        Crowd::of((0..count).map(|_| begin(addr)).collect())
    }

    /// The same with the smallest buffers that the kernel gives: a peer's own memory is a matter of its own machine,
    /// and must not be what this one runs out of.
    pub fn connect_lean(addr: SocketAddr, count: usize) -> Crowd {
        let lean = || {
            let socket = socket();
            sockopt::set_socket_send_buffer_size(&socket, LEAN_BUFFER_LEN).expect("SO_SNDBUF");
            sockopt::set_socket_recv_buffer_size(&socket, LEAN_BUFFER_LEN).expect("SO_RCVBUF");
            let _ = connect(&socket, &addr);
            socket.into()
        };
        Crowd::of((0..count).map(|_| lean()).collect())
    }

    fn of(members: Vec<TcpStream>) -> Crowd {
        let received = members.iter().map(|_| Received::default()).collect();
        let mut crowd = Crowd { members, received };
        crowd.each("connects", |_, member| match member.peer_addr() {
            Err(error) if error.kind() == ErrorKind::NotConnected => match member.take_error()? {
                None => Err(ErrorKind::WouldBlock.into()),
                Some(error) => Err(error),
            },
            other => other.map(|_| ()),
        });
        crowd
    }

    /// WebSockets, of TCP connections.
    pub fn upgraded(mut self) -> Crowd {
        let count = self.members.len();
        let crowd = &mut self;
        crowd.send(&Request::handshake("/echo").bytes());
        let mut heads = vec![vec![]; count];
        crowd.each("is answered", |number, member| {
            let head: &mut Vec<u8> = &mut heads[number];
            let mut piece = [0; 512];
            match member.read(&mut piece)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                len => head.extend_from_slice(&piece[..len]),
            }
            match Response::take_head(head) {
                Ok(Some((response, len))) if response.status == 101 && len == head.len() => Ok(()),
                Ok(None) => Err(ErrorKind::WouldBlock.into()),
                other => Err(io::Error::other(format!("{other:?}"))),
            }
        });
        self
    }

    /// Sends the same bytes on all. A connection that has ended takes none; the end will tell.
    pub fn send(&mut self, bytes: &[u8]) {
        let mut sent = vec![0; self.members.len()];
        self.each("takes bytes", |number, member| {
            while sent[number] < bytes.len() {
                match member.write(&bytes[sent[number]..]) {
                    Ok(len) => sent[number] += len,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(error),
                    Err(_) => break,
                }
            }
            Ok(())
        });
    }

    /// Sends a message on all, and hears the echoes.
    pub fn echo(&mut self, message: &Frame) {
        self.send(&message.masked());
        let mut received = mem::take(&mut self.received);
        self.each("hears its echo", |number, member| {
            received[number].read(member);
            if received[number].answered < message.payload.len() {
                Err(ErrorKind::WouldBlock.into())
            } else {
                Ok(())
            }
        });
        self.received = received;
    }

    /// Sends the beginning of a message on all, each piece of its payload once those before it have been answered.
    pub fn send_in_answered_pieces(&mut self, header: &[u8], payload: &[u8]) {
        const PIECE_LEN: usize = 8 << 10;
        self.send(header);
        let mut received = mem::take(&mut self.received);
        received.iter_mut().for_each(|received| received.answered = 0);
        let mut sent = vec![0; self.members.len()];
        self.each("is answered in pieces", |number, member| {
            received[number].read(member);
            while sent[number] < payload.len() {
                let end = payload.len().min(received[number].answered + PIECE_LEN);
                sent[number] += member.write(&payload[sent[number]..end])?;
                if sent[number] == end {
                    break;
                }
            }
            if received[number].answered < payload.len() { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        self.received = received;
    }

    /// Sends the same bytes again and again on all, and reads nothing, until no socket takes any more.
    pub fn send_until_full(&mut self, bytes: &[u8]) {
        let mut sent = vec![(0, Instant::now()); self.members.len()];
        self.each("is full at last", |number, member| {
            let (at, last) = &mut sent[number];
            while let Ok(len @ 1..) = member.write(&bytes[*at..]) {
                (*at, *last) = ((*at + len) % bytes.len(), Instant::now());
            }
            if last.elapsed() > STALL { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) }
        });
    }

    /// Goes through the members until each has done its `step`, which is tried again where it would have blocked.
    pub fn each(&mut self, what: &str, mut step: impl FnMut(usize, &mut TcpStream) -> io::Result<()>) {
        let deadline = Instant::now() + CROWD_TIMEOUT;
        let mut left: Vec<usize> = (0..self.members.len()).collect();
        loop {
            left.retain(|&number| match step(number, &mut self.members[number]) {
                Ok(()) => false,
                Err(error) if error.kind() == ErrorKind::WouldBlock => true,
                Err(error) => panic!("expected: every peer {what}; got, of peer {number}: {error}"),
            });
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "expected: every peer {what}; got: {} that wait", left.len());
            thread::sleep(ROUND_EVERY);
        }
    }

    /// Waits until the server has ended every connection. Until then each member sends one byte of `drip` per second, and
    /// `reads` what comes, or nothing.
    pub fn await_ends(&mut self, drip: &[u8], reads: bool, stop: &AtomicBool) -> Ends {
        let start = Instant::now();
        let mut watch = Watch::new();
        let flags = EventFlags::RDHUP | if reads { EventFlags::IN } else { EventFlags::empty() };
        let mut open: Vec<bool> = vec![true; self.members.len()];
        let mut ends = Ends::default();
        let mut dripped = 0;
        self.members.iter().enumerate().for_each(|(number, member)| watch.add(number, member, flags));
        while ends.count < self.members.len() && !stop.load(Relaxed) {
            let mut ended = watch.wait(Duration::from_millis(10));
            if reads {
                ended.retain(|&number| !self.received[number].read(&mut self.members[number]));
            }
            // The end of a connection may come in two events: a FIN, and a RST.
            for number in ended.into_iter().filter(|&number| mem::replace(&mut open[number], false)) {
                ends.count += 1;
                ends.first.get_or_insert(start.elapsed());
                ends.last = start.elapsed();
                *ends.closes.entry(self.received[number].close).or_default() += 1;
            }
            if !drip.is_empty() {
                let due = (start.elapsed().as_secs_f64() * self.members.len() as f64) as usize;
                self.drip(drip, dripped..due, &open);
                dripped = due;
            }
        }
        ends
    }

    /// Of the bytes that are sent one by one to each member in turn, sends those whose turn has come.
    fn drip(&mut self, bytes: &[u8], due: Range<usize>, open: &[bool]) {
        for turn in due {
            let (number, byte) = (turn % open.len(), turn / open.len());
            if open[number] {
                // It fails where the server has just ended the connection, of which an event will tell.
                let _ = self.members[number].write(&bytes[byte..byte + 1]);
            }
        }
    }
}

/// How connections ended.
#[derive(Debug, Default)]
pub(super) struct Ends {
    pub count: usize,
    /// From when on it was waited until the first of them.
    pub first: Option<Duration>,
    /// The same until the last of them.
    pub last: Duration,
    /// How many of them after a Close with which code; 0 is none.
    pub closes: BTreeMap<u16, usize>,
}

/// What a member has received.
#[derive(Default)]
struct Received {
    /// Of a frame that has not all come.
    begun: Vec<u8>,
    /// Payload of data frames.
    answered: usize,
    /// The code of a Close frame, or 0.
    close: u16,
}

impl Received {
    /// Reads what there is. Returns whether more may come.
    fn read(&mut self, member: &mut TcpStream) -> bool {
        let mut piece = [0; 16 << 10];
        let goes_on = loop {
            match member.read(&mut piece) {
                Ok(len @ 1..) => self.begun.extend_from_slice(&piece[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break true,
                _ => break false,
            }
        };
        let mut taken = 0;
        while let Ok(Some((frame, len))) = Frame::take(&self.begun[taken..]) {
            taken += len;
            match (frame.opcode, &frame.payload[..]) {
                (CLOSE, &[high, low, ..]) => self.close = u16::from_be_bytes([high, low]),
                (TEXT | BINARY | CONTINUATION, payload) => self.answered += payload.len(),
                _ => {}
            }
        }
        self.begun = self.begun.split_off(taken);
        goes_on
    }
}
