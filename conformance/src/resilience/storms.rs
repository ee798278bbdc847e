//! Connection storms, and bursts of messages on all connections at once: scrapes are answered throughout, and nothing
//! leaks.

use super::background::Background;
use super::crowd::{Crowd, Watch, begin};
use super::scrape::scraper;
use super::sized;
use crate::cases::leaks::{returns_to, settled};
use crate::descriptors::room;
use crate::frame::{CLOSE, Frame};
use crate::http::{Request, Response};
use crate::server::{Binary, Server};
use crate::wait::MAX_DELAY;
use crate::wire::Peer;
use rustix::event::epoll::EventFlags;
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long a storm may last. A client that finds the backlog full retransmits its SYN after one second, then two, then
/// four.
const STORM_TIMEOUT: Duration = Duration::from_secs(60);

/// Messages per connection in a burst.
const BURST_LEN: usize = 10;

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    /// Reset before the first byte.
    Silent,
    /// Reset in the middle of the request.
    HalfRequest,
    /// Reset after the request, before the response.
    Request,
    /// Reset after the handshake.
    Upgrade,
    /// Receive an echo, and perform the closing handshake.
    Echo,
}

impl Script {
    /// Three in ten clients reset the connection, a quarter of them at each point.
    fn of(number: usize) -> Script {
        match number % 40 {
            0..3 => Script::Silent,
            3..6 => Script::HalfRequest,
            6..9 => Script::Request,
            9..12 => Script::Upgrade,
            _ => Script::Echo,
        }
    }

    /// How many of `clients` have this script.
    fn count(self, clients: usize) -> usize {
        (0..clients).filter(|&number| Script::of(number) == self).count()
    }
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Connecting,
    Handshake,
    Echo,
    Closing,
}

struct Client {
    script: Script,
    phase: Phase,
    stream: TcpStream,
    inbox: Vec<u8>,
}

impl Client {
    /// Continues the script until it would block.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] if the script is unfinished. Any other error is a failure.
    fn step(&mut self) -> io::Result<()> {
        let message = Frame::text("in the middle of a storm");
        loop {
            match self.phase {
                Phase::Connecting => {
                    if !self.send_request()? {
                        return Ok(());
                    }
                    self.phase = Phase::Handshake;
                }
                Phase::Handshake => {
                    let head = Response::parse_head(&self.inbox).map_err(io::Error::other)?;
                    let Some((response, len)) = head else {
                        self.receive()?;
                        continue;
                    };
                    if response.status != 101 {
                        return Err(io::Error::other(response.to_string()));
                    }
                    if self.script == Script::Upgrade {
                        return Ok(());
                    }
                    self.inbox.drain(..len);
                    self.stream.write_all(&message.masked())?;
                    self.phase = Phase::Echo;
                }
                Phase::Echo => {
                    let Some(frame) = self.frame()? else { continue };
                    if frame != message {
                        return Err(io::Error::other(frame.to_string()));
                    }
                    self.stream.write_all(&Frame::close(1000, "").masked())?;
                    self.phase = Phase::Closing;
                }
                Phase::Closing => match self.frame()? {
                    None => {}
                    Some(Frame { opcode: CLOSE, .. }) => return Ok(()),
                    Some(other) => return Err(io::Error::other(other.to_string())),
                },
            }
        }
    }

    /// Sends as much of the request as the script says. Returns whether to wait for a response.
    fn send_request(&mut self) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match self.stream.peer_addr() {
            Err(error) if error.kind() == ErrorKind::NotConnected => return Err(ErrorKind::WouldBlock.into()),
            other => other?,
        };
        let request = Request::handshake("/echo").bytes();
        let len = match self.script {
            Script::Silent => 0,
            Script::HalfRequest => request.len() / 2,
            _ => request.len(),
        };
        self.stream.write_all(&request[..len])?;
        Ok(matches!(self.script, Script::Upgrade | Script::Echo))
    }

    /// The next frame. `None` if it is still incomplete after a read.
    fn frame(&mut self) -> io::Result<Option<Frame>> {
        let Some((frame, len)) = Frame::parse(&self.inbox).map_err(io::Error::other)? else {
            self.receive()?;
            return Ok(None);
        };
        self.inbox.drain(..len);
        Ok(Some(frame))
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut piece = [0; 1024];
        match self.stream.read(&mut piece)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            len => {
                self.inbox.extend_from_slice(&piece[..len]);
                Ok(())
            }
        }
    }
}

/// Runs `total` clients at full speed, at most `at_once` at a time, and returns the time that took.
fn storm(addr: SocketAddr, total: usize, at_once: usize, stop: &AtomicBool) -> Duration {
    let start = Instant::now();
    let mut watch = Watch::new();
    let mut open = HashMap::new();
    let mut begun = 0;
    while (begun < total || !open.is_empty()) && !stop.load(Relaxed) {
        assert!(
            start.elapsed() < STORM_TIMEOUT,
            "expected: all clients finished within {STORM_TIMEOUT:?}; got: {} unfinished",
            open.len()
        );
        // In batches, so that open connections make progress.
        for _ in 0..64.min(total - begun).min(at_once - open.len()) {
            let stream = begin(addr);
            watch.add(begun, &stream, EventFlags::IN | EventFlags::OUT);
            let client =
                Client { script: Script::of(begun), phase: Phase::Connecting, stream, inbox: vec![] };
            open.insert(begun, client);
            begun += 1;
        }
        let poll_timeout =
            if begun < total && open.len() < at_once { Duration::ZERO } else { Duration::from_millis(10) };
        for number in watch.wait(poll_timeout) {
            let Some(client) = open.get_mut(&number) else { continue };
            match client.step() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => {
                    panic!("expected: {:?} in phase {:?}; got: {error}", client.script, client.phase)
                }
                // Dropping a socket resets it (SO_LINGER of `crowd::socket`).
                Ok(()) => drop(open.remove(&number)),
            }
        }
    }
    start.elapsed()
}

/// Connects at full speed. Three in ten connections are reset before, during or after the handshake.
pub(crate) fn connects(binary: &Binary) {
    let (total, at_once) = (sized(4_000, 50_000), room(sized(1_000, 10_000)));
    let server = binary.serve_many(at_once * 3 / 2, &[]);
    let before = settled(&server);
    let scrapes = scraper(server.admin, |_| {});
    let addr = server.addr;
    let took = Background::start_isolated(move |stop| storm(addr, total, at_once, stop)).join();
    is_served(&server);

    let echoes = Script::Echo.count(total);
    let metrics =
        server.metrics_agree(&[("ws_connections_active", 0), ("ws_messages_sent_total", echoes + 1)]);
    let [accepted, active, closed] = metrics.connections();
    assert_eq!(accepted, active + closed, "accepted = active + closed; got:\n{metrics}");
    let certain = echoes + 1 + Script::Upgrade.count(total);
    // A request followed by a reset may or may not be answered.
    let possible = certain + Script::Request.count(total);
    assert!(
        (certain..=possible).contains(&(accepted as usize)),
        "expected: {certain} to {possible}; got:\n{metrics}"
    );
    let normal = metrics.closed_as("normal") as usize;
    let rejected = metrics.sum("ws_connections_rejected_total");
    assert_eq!((normal, rejected), (echoes + 1, 0.0), "closed as normal, and rejected; got:\n{metrics}");
    returns_to(&server, &before);
    let scrapes = scrapes.stop();
    println!(
        "storms::connects on {}: {total} connects, {at_once} at a time, in {took:.2?}: {:.0}/s; slowest of {} scrapes {:.1?}",
        &server.ready_line[..6],
        total as f64 / took.as_secs_f64(),
        scrapes.count,
        scrapes.slowest,
    );
}

/// Expects a new client to be served within [`MAX_DELAY`].
fn is_served(server: &Server) {
    let start = Instant::now();
    let mut peer = Peer::connect(server.addr);
    peer.round_trip(&Frame::text("after the storm"));
    let took = start.elapsed();
    assert!(took < MAX_DELAY, "expected: served within {MAX_DELAY:?}; got: after {took:?}");
    peer.close();
}

/// All connections send at the same moment: every echo is correct, and in order.
pub(crate) fn bursts(binary: &Binary) {
    let count = room(sized(1_000, 15_000));
    let server = binary.serve_many(count * 6 / 5, &[]);
    // Stage 1 may support fewer connections, because each needs a thread.
    let limit = server.metrics().sum("ws_connections_limit") as usize;
    let count = count.min(limit - limit / 20);
    let scrapes = scraper(server.admin, |_| {});
    let addr = server.addr;
    let took = Background::start_isolated(move |_| burst(addr, count)).join();
    is_served(&server);
    server.metrics_agree(&[
        ("ws_connections_active", 0),
        ("ws_connections_accepted_total", count + 1),
        ("ws_connections_closed_total", count + 1),
        ("ws_messages_sent_total", count * BURST_LEN + 1),
    ]);
    let scrapes = scrapes.stop();
    println!(
        "storms::bursts on {}: {count} connections, {} echoes in {took:.2?}: {:.0}/s; slowest of {} scrapes {:.1?}",
        &server.ready_line[..6],
        count * BURST_LEN,
        (count * BURST_LEN) as f64 / took.as_secs_f64(),
        scrapes.count,
        scrapes.slowest,
    );
}

/// Opens `count` connections, and sends a burst on all. Returns the time from the first byte sent to the last one
/// received.
fn burst(addr: SocketAddr, count: usize) -> Duration {
    let message = |number: usize, i: usize| Frame::text(&format!("{i} of connection {number}"));
    let mut crowd = Crowd::connect(addr, count).upgraded();
    let bytes: Vec<Vec<u8>> =
        (0..count).map(|number| (0..BURST_LEN).flat_map(|i| message(number, i).masked()).collect()).collect();
    let start = Instant::now();
    crowd.each("can send ten messages", |number, member| member.write_all(&bytes[number]));
    let mut received = vec![(0, vec![]); count];
    crowd.each("receives its echoes", |number, member| {
        let (echoes, inbox): &mut (usize, Vec<u8>) = &mut received[number];
        while *echoes < BURST_LEN {
            let mut piece = [0; 1024];
            match member.read(&mut piece)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                len => inbox.extend_from_slice(&piece[..len]),
            }
            while let Some((frame, len)) = Frame::parse(inbox).map_err(io::Error::other)? {
                inbox.drain(..len);
                if frame != message(number, *echoes) {
                    return Err(io::Error::other(format!("{frame} as echo {echoes}")));
                }
                *echoes += 1;
            }
        }
        Ok(())
    });
    start.elapsed()
}
