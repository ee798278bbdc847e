//! Bulk connections: thousands of raw sockets on one thread, which all perform the same steps.

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

/// Connections per source address in 127.0.0.0/8, far below the number of its ephemeral ports.
const PER_SOURCE: u32 = 2048;

/// The pause between two attempts of the members whose step would have blocked.
const RETRY_INTERVAL: Duration = Duration::from_millis(5);

/// A socket that has not been writable for this long counts as full.
const STALL: Duration = Duration::from_millis(300);

const LEAN_BUFFER_LEN: usize = 16 << 10;

/// The most time for one step of a crowd of any size.
const CROWD_TIMEOUT: Duration = Duration::from_secs(60);

/// A non-blocking socket, bound to a source address that has free ports. Closing it sends a reset, so it never enters
/// TIME_WAIT.
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

/// Starts to connect. The socket reports an error later (SO_ERROR).
pub(super) fn begin(addr: SocketAddr) -> TcpStream {
    let socket = socket();
    let _ = connect(&socket, &addr);
    socket.into()
}

/// An epoll instance whose sockets are identified by number.
pub(super) struct Watch {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Watch {
    pub fn new() -> Watch {
        Watch { epoll: epoll::create(CreateFlags::CLOEXEC).expect("epoll"), events: Vec::with_capacity(1024) }
    }

    /// Registers a socket, edge-triggered (epoll(7)). Closing the socket removes it.
    pub fn add(&self, number: usize, socket: &TcpStream, flags: EventFlags) {
        let data = EventData::new_u64(number as u64);
        epoll::add(&self.epoll, socket, data, flags | EventFlags::ET).expect("EPOLL_CTL_ADD");
    }

    /// Waits for events, for at most `limit`, and returns the numbers of the ready sockets.
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

/// Connections that perform the same steps.
pub(super) struct Crowd {
    pub members: Vec<TcpStream>,
    received: Vec<Received>,
}

impl Crowd {
    /// Opens `count` TCP connections.
    pub fn connect(addr: SocketAddr, count: usize) -> Crowd {
        Crowd::of((0..count).map(|_| begin(addr)).collect())
    }

    /// The same with small socket buffers. The client's memory would normally be on another machine, and must not
    /// exhaust this one.
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

    /// Performs the opening handshake on all connections.
    pub fn upgraded(mut self) -> Crowd {
        let count = self.members.len();
        let crowd = &mut self;
        crowd.send(&Request::handshake("/echo").bytes());
        let mut heads = vec![vec![]; count];
        crowd.each("is upgraded", |number, member| {
            let head: &mut Vec<u8> = &mut heads[number];
            let mut piece = [0; 512];
            match member.read(&mut piece)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                len => head.extend_from_slice(&piece[..len]),
            }
            match Response::parse_head(head) {
                Ok(Some((response, len))) if response.status == 101 && len == head.len() => Ok(()),
                Ok(None) => Err(ErrorKind::WouldBlock.into()),
                other => Err(io::Error::other(format!("{other:?}"))),
            }
        });
        self
    }

    /// Sends the same bytes on all connections. Write errors are ignored here: `await_ends` reports the end.
    pub fn send(&mut self, bytes: &[u8]) {
        let mut sent = vec![0; self.members.len()];
        self.each("is writable", |number, member| {
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

    /// Sends a message on all connections, and waits for the echoes.
    pub fn echo(&mut self, message: &Frame) {
        self.send(&message.masked());
        let mut received = mem::take(&mut self.received);
        self.each("receives its echo", |number, member| {
            received[number].read(member);
            if received[number].echoed < message.payload.len() {
                Err(ErrorKind::WouldBlock.into())
            } else {
                Ok(())
            }
        });
        self.received = received;
    }

    /// Sends the beginning of a message on all connections, each piece of its payload once the previous ones are
    /// echoed.
    pub fn send_in_echoed_pieces(&mut self, header: &[u8], payload: &[u8]) {
        const PIECE_LEN: usize = 8 << 10;
        self.send(header);
        let mut received = mem::take(&mut self.received);
        received.iter_mut().for_each(|received| received.echoed = 0);
        let mut sent = vec![0; self.members.len()];
        self.each("receives its echo in pieces", |number, member| {
            received[number].read(member);
            while sent[number] < payload.len() {
                let end = payload.len().min(received[number].echoed + PIECE_LEN);
                sent[number] += member.write(&payload[sent[number]..end])?;
                if sent[number] == end {
                    break;
                }
            }
            if received[number].echoed < payload.len() { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        self.received = received;
    }

    /// Sends the same bytes repeatedly on all connections, without reading, until all sockets are full.
    pub fn send_until_full(&mut self, bytes: &[u8]) {
        let mut sent = vec![(0, Instant::now()); self.members.len()];
        self.each("has a full socket", |number, member| {
            let (at, last) = &mut sent[number];
            while let Ok(len @ 1..) = member.write(&bytes[*at..]) {
                (*at, *last) = ((*at + len) % bytes.len(), Instant::now());
            }
            if last.elapsed() > STALL { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) }
        });
    }

    /// Runs `step` for each member, and repeats it for those where it would have blocked, until all have finished.
    ///
    /// # Panics
    /// On any other error, with `what` a member should do, and after [`CROWD_TIMEOUT`].
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
            assert!(
                Instant::now() < deadline,
                "expected: every peer {what}; got: {} that do not",
                left.len()
            );
            thread::sleep(RETRY_INTERVAL);
        }
    }

    /// Waits until the server has ended every connection. Meanwhile each member sends one byte of `drip` per second,
    /// and reads if `reads` is set.
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
            // A connection's end may come as two events: FIN and RST.
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

    /// Sends the writes numbered `due`: the members send one byte each, in order, then the next byte each.
    fn drip(&mut self, bytes: &[u8], due: Range<usize>, open: &[bool]) {
        for write in due {
            let (number, at) = (write % open.len(), write / open.len());
            if open[number] {
                // Fails if the server has just ended the connection, which an event will report.
                let _ = self.members[number].write(&bytes[at..at + 1]);
            }
        }
    }
}

/// How connections ended.
#[derive(Debug, Default)]
pub(super) struct Ends {
    pub count: usize,
    /// Time from the start of `await_ends` to the first end.
    pub first: Option<Duration>,
    /// Time to the last end so far.
    pub last: Duration,
    /// The number of connections by the code of the Close received; 0 for none.
    pub closes: BTreeMap<u16, usize>,
}

/// What a member has received.
#[derive(Default)]
struct Received {
    /// An incomplete frame.
    begun: Vec<u8>,
    /// Payload bytes of data frames.
    echoed: usize,
    /// The code of a Close frame, or 0.
    close: u16,
}

impl Received {
    /// Reads until it would block. Returns whether the connection is still open.
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
        while let Ok(Some((frame, len))) = Frame::parse(&self.begun[taken..]) {
            taken += len;
            match (frame.opcode, &frame.payload[..]) {
                (CLOSE, &[high, low, ..]) => self.close = u16::from_be_bytes([high, low]),
                (TEXT | BINARY | CONTINUATION, payload) => self.echoed += payload.len(),
                _ => {}
            }
        }
        self.begun = self.begun.split_off(taken);
        goes_on
    }
}
