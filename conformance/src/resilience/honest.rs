//! Honest clients, who speak at an even pace whatever goes on, and what they wait for their echoes.

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

/// Clients, on a thread of their own, each of which sends a message at an even pace and checks its echo.
///
/// A message has a time when it is due, and its latency counts from then on, so that a client that was held up does
/// not hide how long (an open loop).
pub(super) struct Honest {
    thread: Background<u64>,
    log: Arc<Mutex<Log>>,
}

#[derive(Debug)]
struct Log {
    /// When each message was due, and what its echo took from then on.
    echoes: Vec<(Instant, Duration)>,
    /// The echoes of all messages that were due before have come.
    settled: Instant,
}

impl Honest {
    /// Connects `count` of them, who together send `rate` messages per second.
    pub fn start(addr: SocketAddr, count: usize, rate: u32) -> Honest {
        let log = Arc::new(Mutex::new(Log { echoes: vec![], settled: Instant::now() }));
        let shared = Arc::clone(&log);
        let thread = Background::start_apart(move |stop| {
            let mut group = Group::connect(addr, count);
            let (start, pace) = (Instant::now(), Duration::from_secs(1) / rate);
            while !stop.load(Relaxed) {
                group.step(start, pace, &shared);
            }
            group.echoes
        });
        Honest { thread, log }
    }

    /// What the messages that fall due in the time to come wait for their echoes.
    pub fn latencies(&self, time: Duration) -> Latencies {
        let start = Instant::now();
        thread::sleep(time);
        self.latencies_since(start)
    }

    /// The same of those that fell due since `start`.
    pub fn latencies_since(&self, start: Instant) -> Latencies {
        let end = Instant::now();
        wait::until("an echo of every message of the honest", || {
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

    /// Lets them go, and says how many echoes they had in all.
    pub fn stop(self) -> u64 {
        self.thread.stop()
    }
}

/// Latencies of one time or another.
pub(super) struct Latencies {
    sorted: Vec<Duration>,
    /// The median of the p99s of ten parts of that time: it tells of what goes on all the time, and not of what else
    /// the machine does for a moment.
    lasting_p99: Duration,
}

impl Latencies {
    /// Of these, in the order of time.
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

    /// Their p99; in the small size, where a moment is a large part of the time, the lasting one.
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
    /// The numbers of the messages whose echoes have not come, and when they were due.
    waiting: VecDeque<(u64, Instant)>,
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
            Client { stream, waiting: VecDeque::new(), inbox: vec![] }
        });
        Group { clients: clients.collect(), watch, sent: 0, echoes: 0 }
    }

    /// Sends what is due, and hears what has come.
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
        let waiting = self.clients.iter().filter_map(|client| client.waiting.front());
        let settled = waiting.map(|&(_, due)| due).min().unwrap_or(due(self.sent));
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.echoes.append(&mut received);
        log.settled = settled;
    }
}

/// The text of a message, which no other has.
fn message(number: u64) -> Frame {
    Frame::text(&format!("honest message {number:016x}"))
}

impl Client {
    fn send(&mut self, number: u64, due: Instant) {
        let bytes = message(number).masked();
        let sent = self.stream.write(&bytes);
        assert!(matches!(sent, Ok(len) if len == bytes.len()), "expected: room for a message; got: {sent:?}");
        self.waiting.push_back((number, due));
        assert!(due.elapsed() < TIMEOUT, "expected: an echo within {TIMEOUT:?}");
    }

    fn receive(&mut self, received: &mut Vec<(Instant, Duration)>) {
        let mut piece = [0; 4096];
        loop {
            match self.stream.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Ok(len @ 1..) => self.inbox.extend_from_slice(&piece[..len]),
                end => panic!("expected: an honest client stays; got: {end:?}"),
            }
        }
        let mut at = 0;
        while let Some((frame, len)) = Frame::take(&self.inbox[at..]).expect("a frame of a sound server") {
            at += len;
            let (number, due) = self.waiting.pop_front().expect("no echo without a message");
            assert_eq!((frame.opcode, &frame), (TEXT, &message(number)), "its echo, and in its turn");
            received.push((due, due.elapsed()));
        }
        self.inbox.drain(..at);
    }
}
