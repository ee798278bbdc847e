//! Honest clients: they send at a constant rate, and measure the latency of their echoes.

use super::background::Background;
use super::crowd::{Crowd, Watch};
use super::sized;
use crate::frame::{Frame, TEXT};
use crate::wait::{self, TIMEOUT};
use rustix::event::epoll::EventFlags;
use std::collections::VecDeque;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Clients on their own thread that send at a constant rate and check each echo.
///
/// The rate is an open loop: latency counts from the time at which a message is due, so a late send does not hide a
/// stall.
pub(super) struct Honest {
    thread: Background<u64>,
    log: Arc<Mutex<Log>>,
}

#[derive(Debug)]
struct Log {
    /// When each message was due, and the latency of its echo.
    echoes: Vec<(Instant, Duration)>,
    /// All messages due before this time have been echoed.
    settled: Instant,
}

impl Honest {
    /// Connects `count` clients, which together send `rate` messages per second.
    pub fn start(addr: SocketAddr, count: usize, rate: u32) -> Honest {
        let log = Arc::new(Mutex::new(Log { echoes: vec![], settled: Instant::now() }));
        let shared = Arc::clone(&log);
        let thread = Background::start_isolated(move |stop| {
            let mut group = Group::connect(addr, count);
            let (start, pace) = (Instant::now(), Duration::from_secs(1) / rate);
            while !stop.load(Relaxed) {
                group.step(start, pace, &shared);
            }
            group.echoes
        });
        Honest { thread, log }
    }

    /// Sleeps for `time`, and returns the latencies of the messages due in it.
    pub fn latencies(&self, time: Duration) -> Latencies {
        let start = Instant::now();
        thread::sleep(time);
        self.latencies_since(start)
    }

    /// The latencies of the messages due since `start`.
    pub fn latencies_since(&self, start: Instant) -> Latencies {
        let end = Instant::now();
        wait::until("an echo of every message of the honest clients", || {
            let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            if log.settled < end {
                return Err(format!("none for {:?}", log.settled.elapsed()));
            }
            let mut window = log.echoes.clone();
            window.retain(|(due, _)| (start..end).contains(due));
            window.sort_unstable();
            Ok(Latencies::of(window.into_iter().map(|(_, latency)| latency).collect()))
        })
    }

    /// Disconnects the clients, and returns the total number of echoes.
    pub fn stop(self) -> u64 {
        self.thread.stop()
    }
}

/// Latencies in one interval.
pub(super) struct Latencies {
    sorted: Vec<Duration>,
    /// The median of the p99s of ten parts of the interval, which a short disturbance by other processes does not
    /// change.
    lasting_p99: Duration,
}

impl Latencies {
    /// From latencies in chronological order.
    fn of(mut latencies: Vec<Duration>) -> Latencies {
        let part_len = latencies.len().div_ceil(10).max(1);
        let parts = latencies.chunks_mut(part_len);
        let p99s = parts.map(|part| {
            part.sort_unstable();
            quantile(part, 0.99)
        });
        let mut p99s: Vec<Duration> = p99s.collect();
        p99s.sort_unstable();
        latencies.sort_unstable();
        Latencies { sorted: latencies, lasting_p99: quantile(&p99s, 0.5) }
    }

    /// The p99 at full size. At the small size, where a short disturbance weighs more, the median p99 of ten parts.
    pub fn p99(&self) -> Duration {
        sized(self.lasting_p99, quantile(&self.sorted, 0.99))
    }
}

fn quantile(sorted: &[Duration], quantile: f64) -> Duration {
    let rank = (sorted.len() as f64 * quantile) as usize;
    *sorted.get(rank).or(sorted.last()).expect("some messages")
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|q| quantile(&self.sorted, q).as_secs_f64() * 1e3);
        let lasting = self.lasting_p99.as_secs_f64() * 1e3;
        write!(f, "p50 {p50:.1} p99 {p99:.1} (lasting {lasting:.1}) max {max:.1} ms of {}", self.sorted.len())
    }
}

struct Client {
    stream: TcpStream,
    /// The messages in flight: number, and when it was due.
    in_flight: VecDeque<(u64, Instant)>,
    inbox: Vec<u8>,
}

struct Group {
    clients: Vec<Client>,
    watch: Watch,
    sent: u64,
    echoes: u64,
}

impl Group {
    fn connect(addr: SocketAddr, count: usize) -> Group {
        let watch = Watch::new();
        let streams = Crowd::connect(addr, count).upgraded().members;
        let clients = streams.into_iter().enumerate().map(|(number, stream)| {
            watch.add(number, &stream, EventFlags::IN);
            Client { stream, in_flight: VecDeque::new(), inbox: vec![] }
        });
        Group { clients: clients.collect(), watch, sent: 0, echoes: 0 }
    }

    /// Sends the messages that are due, and receives echoes until the next is due.
    fn step(&mut self, start: Instant, pace: Duration, log: &Mutex<Log>) {
        let due = |number: u64| start + pace.mul_f64(number as f64);
        while due(self.sent) <= Instant::now() {
            let index = self.sent as usize % self.clients.len();
            self.clients[index].send(self.sent, due(self.sent));
            self.sent += 1;
        }
        let left = due(self.sent).saturating_duration_since(Instant::now());
        let mut received = vec![];
        for index in self.watch.wait(left) {
            self.clients[index].receive(&mut received);
        }
        self.echoes += received.len() as u64;
        let waiting = self.clients.iter().filter_map(|client| client.in_flight.front());
        let settled = waiting.map(|&(_, due)| due).min().unwrap_or(due(self.sent));
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.echoes.append(&mut received);
        log.settled = settled;
    }
}

/// A message that is unique by its number.
fn message(number: u64) -> Frame {
    Frame::text(&format!("honest message {number:016x}"))
}

impl Client {
    fn send(&mut self, number: u64, due: Instant) {
        let bytes = message(number).masked();
        let sent = self.stream.write(&bytes);
        assert!(matches!(sent, Ok(len) if len == bytes.len()), "expected: room for a message; got: {sent:?}");
        self.in_flight.push_back((number, due));
        assert!(due.elapsed() < TIMEOUT, "expected: an echo within {TIMEOUT:?}");
    }

    fn receive(&mut self, received: &mut Vec<(Instant, Duration)>) {
        let mut piece = [0; 4096];
        loop {
            match self.stream.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Ok(len @ 1..) => self.inbox.extend_from_slice(&piece[..len]),
                end => panic!("expected: an honest client stays connected; got: {end:?}"),
            }
        }
        let mut at = 0;
        while let Some((frame, len)) = Frame::parse(&self.inbox[at..]).expect("a valid frame") {
            at += len;
            let (number, due) = self.in_flight.pop_front().expect("no echo without a message");
            assert_eq!((frame.opcode, &frame), (TEXT, &message(number)), "the echoes in order");
            received.push((due, due.elapsed()));
        }
        self.inbox.drain(..at);
    }
}
