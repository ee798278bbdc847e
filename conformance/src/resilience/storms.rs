//! Storms of connections, and all connections speaking at once: a scrape answers through it all, and nothing is left.

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

/// How long a storm may last: a connection that finds the backlog full comes back a second later, then two, then four.
const STORM_TIMEOUT: Duration = Duration::from_secs(60);

/// Messages of a connection in a burst.
const BURST_LEN: usize = 10;

/// What a client comes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    /// To reset the connection before any byte,
    Silent,
    /// in the middle of the request,
    HalfRequest,
    /// behind the request,
    Request,
    /// or once it is open.
    Upgrade,
    /// To hear an echo, and to close.
    Echo,
}

impl Script {
    /// Three in ten reset the connection, a quarter of these in each way.
    fn of(number: usize) -> Script {
        match number % 40 {
            0..3 => Script::Silent,
            3..6 => Script::HalfRequest,
            6..9 => Script::Request,
            9..12 => Script::Upgrade,
            _ => Script::Echo,
        }
    }

    /// How many of so many visitors come for this.
    fn count(self, visitors: usize) -> usize {
        (0..visitors).filter(|&number| Script::of(number) == self).count()
    }
}

/// How far a client is.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Connecting,
    Asking,
    Speaking,
    Closing,
}

struct Client {
    script: Script,
    phase: Phase,
    stream: TcpStream,
    inbox: Vec<u8>,
}

impl Client {
    /// Goes on until the script is over.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] until it is; whatever else was not to be expected.
    fn step(&mut self) -> io::Result<()> {
        let message = Frame::text("in the middle of a storm");
        loop {
            match self.phase {
                Phase::Connecting => {
                    if !self.ask()? {
                        return Ok(());
                    }
                    self.phase = Phase::Asking;
                }
                Phase::Asking => {
                    let head = Response::take_head(&self.inbox).map_err(io::Error::other)?;
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
                    self.phase = Phase::Speaking;
                }
                Phase::Speaking => {
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

    /// Sends the request, or as much of it as is meant to come. Returns whether there will be an answer.
    fn ask(&mut self) -> io::Result<bool> {
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

    /// The next frame; `None` where more has come, but not all of it.
    fn frame(&mut self) -> io::Result<Option<Frame>> {
        let Some((frame, len)) = Frame::take(&self.inbox).map_err(io::Error::other)? else {
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

/// Visits the server so many times as fast as it goes, `at_once` at a time; returns the time it took.
fn storm(addr: SocketAddr, total: usize, at_once: usize, stop: &AtomicBool) -> Duration {
    let start = Instant::now();
    let mut watch = Watch::new();
    let mut open = HashMap::new();
    let mut begun = 0;
    while (begun < total || !open.is_empty()) && !stop.load(Relaxed) {
        assert!(
            start.elapsed() < STORM_TIMEOUT,
            "expected: all total over; got: {} that are not",
            open.len()
        );
        // In batches, so that those open go on meanwhile.
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
                // Dropped, it is reset.
                Ok(()) => drop(open.remove(&number)),
            }
        }
    }
    start.elapsed()
}

/// Connects as fast as they go, three in ten of them reset before, in and after the handshake.
pub(crate) fn connects(binary: &Binary) {
    let (total, at_once) = (sized(4_000, 50_000), room(sized(1_000, 10_000)));
    let server = binary.serve_many(at_once * 3 / 2, &[]);
    let before = settled(&server);
    let scrapes = scraper(server.admin, |_| {});
    let addr = server.addr;
    let took = Background::start_isolated(move |stop| storm(addr, total, at_once, stop)).join();
    served_at_once(&server);

    let echoes = Script::Echo.count(total);
    let metrics =
        server.metrics_agree(&[("ws_connections_active", 0), ("ws_messages_sent_total", echoes + 1)]);
    let [accepted, active, closed] = metrics.connections();
    assert_eq!(accepted, active + closed, "accepted = active + closed; got:\n{metrics}");
    let certain = echoes + 1 + Script::Upgrade.count(total);
    // Whether a request is answered that a reset follows is a matter of which the server sees first.
    let possible = certain + Script::Request.count(total);
    assert!(
        (certain..=possible).contains(&(accepted as usize)),
        "expected: {certain} to {possible}; got:\n{metrics}"
    );
    let normal = metrics.sum_where("ws_connections_closed_total", "reason", "normal") as usize;
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

/// A client that comes now is served now.
fn served_at_once(server: &Server) {
    let start = Instant::now();
    let mut peer = Peer::connect(server.addr);
    peer.round_trip(&Frame::text("after the storm"));
    let took = start.elapsed();
    assert!(took < MAX_DELAY, "expected: served within {MAX_DELAY:?}; got: after {took:?}");
    peer.close();
}

/// All connections speak at the same moment: every echo is right, and in order.
pub(crate) fn bursts(binary: &Binary) {
    let count = room(sized(1_000, 15_000));
    let server = binary.serve_many(count * 6 / 5, &[]);
    // A thread each is more than some machines have.
    let limit = server.metrics().sum("ws_connections_limit") as usize;
    let count = count.min(limit - limit / 20);
    let scrapes = scraper(server.admin, |_| {});
    let addr = server.addr;
    let took = Background::start_isolated(move |_| burst(addr, count)).join();
    served_at_once(&server);
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

/// Connects, sends on all, and hears all; returns the time from the first byte sent to the last one received.
fn burst(addr: SocketAddr, count: usize) -> Duration {
    let message = |number: usize, turn: usize| Frame::text(&format!("{turn} of connection {number}"));
    let mut crowd = Crowd::connect(addr, count).upgraded();
    let bytes: Vec<Vec<u8>> = (0..count)
        .map(|number| (0..BURST_LEN).flat_map(|turn| message(number, turn).masked()).collect())
        .collect();
    let start = Instant::now();
    crowd.each("has room for ten messages", |number, member| member.write_all(&bytes[number]));
    let mut received = vec![(0, vec![]); count];
    crowd.each("hears its echoes", |number, member| {
        let (turn, inbox): &mut (usize, Vec<u8>) = &mut received[number];
        while *turn < BURST_LEN {
            let mut piece = [0; 1024];
            match member.read(&mut piece)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                len => inbox.extend_from_slice(&piece[..len]),
            }
            while let Some((frame, len)) = Frame::take(inbox).map_err(io::Error::other)? {
                inbox.drain(..len);
                if frame != message(number, *turn) {
                    return Err(io::Error::other(format!("{frame} as echo {turn}")));
                }
                *turn += 1;
            }
        }
        Ok(())
    });
    start.elapsed()
}
