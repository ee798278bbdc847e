//! Replies in fragments (RFC 6455, section 5.4), with control frames between them, split anywhere.

use super::super::counters::Counters;
use super::super::handshake::Handshake;
use super::super::phase::Phase;
use super::super::routes::Routes;
use super::super::shard::{Setup, Shard};
use super::super::slots::State;
use super::super::{clock, payload};
use super::lying::frame;
use super::*;
use common::frame::{Header, Opcode};
use common::random::Xorshift;
use rustix::event::{EventfdFlags, eventfd};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};

/// The only connection of the shard under test.
pub const INDEX: u32 = 0;

/// The number of random cases to try: a fifth of `all`, unless `CLIENT_FULL` is set.
pub fn cases(all: u64) -> u64 {
    if std::env::var_os("CLIENT_FULL").is_some() { all } else { all / 5 }
}

/// A shard with one connection, and the other end of it, which keeps it open.
pub fn shard(payload_len: usize, messages: u32) -> (Shard, UnixStream) {
    shard_of(payload_len, messages, Messages::default())
}

/// The same, for messages of another kind.
pub fn shard_of(payload_len: usize, sent: u32, messages: Messages) -> (Shard, UnixStream) {
    let endpoint = endpoint("127.0.0.1:9".parse().expect("an address"));
    let (commands, reports) = (mpsc::channel().1, mpsc::channel().0);
    let counters = Arc::new(Counters::default());
    let mut shard = Shard::new(Setup {
        number: 3,
        routes: Routes::for_shards(endpoint.addrs(), &[], 1, 1).remove(0),
        tls: None,
        handshake: Handshake::new(&endpoint.url, &RequestFields::default(), [7; 16]),
        shows_address: false,
        tunnel: None,
        payload_len,
        messages,
        in_flight: 1,
        connect_timeout_ns: u64::MAX,
        message_timeout_ns: u64::MAX,
        reconnect: None,
        base_ns: clock::now_ns(),
        wake: Arc::new(eventfd(0, EventfdFlags::NONBLOCK).expect("eventfd")),
        commands,
        reports,
        late_ns: 1_000_000,
        counters: counters.clone(),
        all_counters: [counters].into(),
    })
    .expect("a shard");
    let (near, far) = UnixStream::pair().expect("a pair");
    near.set_nonblocking(true).expect("nonblocking");
    assert_eq!(shard.slots.insert(near.into(), 0), INDEX);
    let slot = &mut shard.slots[INDEX];
    (slot.state, slot.sent) = (State::Open, sent);
    (shard.totals.live, shard.outstanding) = (1, sent.into());
    shard.phase = Phase::Once { active: 1, window: 1 };
    (shard, far)
}

/// An echo in any shard restarts the timeout of all.
#[test]
fn an_echo_in_another_shard_restarts_the_timeout() {
    let (mut shard, _far) = shard(32, 1);
    let other = Arc::new(Counters::default());
    shard.setup.all_counters = [shard.setup.counters.clone(), other.clone()].into();
    shard.setup.message_timeout_ns = 100;
    (shard.outcome.last_ns, shard.next) = (10, 1);
    other.last_ns.store(90, Relaxed);
    assert_eq!(shard.step_once(150, 1, 1), 190);
    shard.step_once(190, 1, 1);
    assert_eq!(shard.slots[INDEX].state, State::Free, "timed out");
}

/// The fate of a connection: verified echoes, answered pings, and its failure, if any.
type Verdict = (u64, u64, Option<Class>);

/// Feeds a shard bytes in pieces of these lengths, the last one repeated.
fn judged(payload_len: usize, messages: u32, bytes: &[u8], mut cuts: impl Iterator<Item = usize>) -> Verdict {
    let (mut shard, _far) = shard(payload_len, messages);
    let mut rest = bytes;
    while !rest.is_empty() && shard.slots[INDEX].state == State::Open {
        let (piece, after) = rest.split_at(cuts.next().expect("endless").clamp(1, rest.len()));
        shard.received(INDEX, piece, 1);
        rest = after;
    }
    let ended = shard.outcome.failures.classes().next().map(|(class, count)| {
        assert_eq!(count, 1, "one connection fails once");
        class
    });
    let begun = shard.slots[INDEX].verified > 0 && shard.slots[INDEX].state == State::Open;
    assert!(!begun || shard.slots[INDEX].sent > shard.slots[INDEX].echoed);
    (shard.outcome.echoes, shard.outcome.pings, ended)
}

/// The expected verdict, computed from whole frames and whole messages.
fn reference(payloads: &[Vec<u8>], frames: &[(Header, Vec<u8>)]) -> Verdict {
    let (mut echoes, mut pings, mut message) = (0, 0, None::<Vec<u8>>);
    for (header, body) in frames {
        let wrong = (echoes as u64, pings, Some(Class::WrongEcho));
        if header.mask.is_some() {
            return wrong;
        }
        let begun = match (header.opcode, message.take()) {
            (Opcode::Close, _) => return (echoes as u64, pings, Some(Class::Closed)),
            (Opcode::Ping | Opcode::Pong, begun) => {
                pings += u64::from(header.opcode == Opcode::Ping);
                message = begun;
                continue;
            }
            (Opcode::Binary, None) => Vec::new(),
            (Opcode::Continuation, Some(begun)) => begun,
            _ => return wrong,
        };
        let Some(due) = payloads.get(echoes) else { return wrong };
        let whole = [begun, body.clone()].concat();
        if !due.starts_with(&whole) || (header.fin && whole.len() < due.len()) {
            return wrong;
        }
        match header.fin {
            true => echoes += 1,
            false => message = Some(whole),
        }
    }
    (echoes as u64, pings, None)
}

/// Pseudorandom numbers (xorshift64).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = Xorshift::new(self.0).next_u64();
        (self.0 >> 11) as usize % n
    }
}

pub fn payloads(payload_len: usize, messages: u32) -> Vec<Vec<u8>> {
    let payload = |sequence| {
        let mut payload = vec![0; payload_len];
        payload::fill(&mut payload, payload::seed(3, INDEX, 0, sequence), [0; 4]);
        payload
    };
    (0..messages).map(payload).collect()
}

/// The messages in fragments of random length, including empty ones, with control frames between them.
pub fn fragmented(payloads: &[Vec<u8>], random: &mut Random) -> Vec<(Header, Vec<u8>)> {
    payloads.iter().flat_map(|payload| fragments(Opcode::Binary, payload, random)).collect()
}

/// The same for one message of this type.
pub fn fragments(opcode: Opcode, payload: &[u8], random: &mut Random) -> Vec<(Header, Vec<u8>)> {
    let mut ends: Vec<usize> = (0..random.below(5)).map(|_| random.below(payload.len() + 1)).collect();
    ends.push(payload.len());
    ends.sort_unstable();
    let (mut frames, mut from) = (Vec::new(), 0);
    for (number, &end) in ends.iter().enumerate() {
        let opcode = if number == 0 { opcode } else { Opcode::Continuation };
        let fin = number + 1 == ends.len();
        frames.push((Header { fin, ..Header::server(opcode, end - from) }, payload[from..end].to_vec()));
        from = end;
        let control = [None, None, Some(Opcode::Ping), Some(Opcode::Pong)][random.below(4)];
        if let Some(opcode) = control {
            let body = vec![b'p'; random.below(126)];
            frames.push((Header::server(opcode, body.len()), body));
        }
    }
    frames
}

/// Changes one frame, in most cases to a wrong one.
pub fn lie(frames: &mut Vec<(Header, Vec<u8>)>, random: &mut Random) {
    let at = random.below(frames.len());
    let (header, body) = &mut frames[at];
    match random.below(8) {
        0 => drop(frames.remove(at)),
        1 => frames.insert(at, frames[at].clone()),
        2 if !header.opcode.is_control() => header.fin = !header.fin,
        3 if !header.opcode.is_control() => {
            header.opcode = [Opcode::Text, Opcode::Binary, Opcode::Continuation][random.below(3)];
        }
        4 if !body.is_empty() => {
            let at = random.below(body.len());
            body[at] ^= 1 << random.below(8);
        }
        5 => header.mask = Some([0; 4]),
        6 => frames.insert(at, (Header::server(Opcode::Close, 2), vec![0x03, 0xe9])),
        _ => {
            body.push(0);
            header.len += 1;
        }
    }
    // A control frame with a longer payload would not parse.
    frames.retain(|(header, body)| !header.opcode.is_control() || body.len() <= 125);
}

#[test]
fn fragments_in_any_pieces_have_the_verdict_of_the_whole_messages() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for round in 0..cases(20_000) {
        let payload_len = [0, 1, 5, 32, 125, 126, 300, 2_000][random.below(8)];
        let payloads = payloads(payload_len, 1 + random.below(4) as u32);
        let mut frames = fragmented(&payloads, &mut random);
        if random.below(2) == 1 {
            lie(&mut frames, &mut random);
        }
        let bytes: Vec<u8> = frames.iter().flat_map(|(header, body)| frame(*header, body)).collect();
        let expected = reference(&payloads, &frames);
        let messages = payloads.len() as u32;
        let longest = [1, 3, 20, 400, bytes.len()][random.below(5)];
        let cuts = std::iter::repeat_with(|| 1 + random.below(longest));
        let got = judged(payload_len, messages, &bytes, cuts);
        assert_eq!(got, expected, "round {round}: payloads of {payload_len}, {frames:?}");
    }
}

#[test]
fn a_long_message_in_many_fragments() {
    let payload_len = 1 << 20;
    let payloads = payloads(payload_len, 2);
    for fragment_len in [1, 7, 4_096] {
        let mut bytes = Vec::new();
        for payload in &payloads {
            for (number, piece) in payload.chunks(fragment_len).enumerate() {
                let opcode = if number == 0 { Opcode::Binary } else { Opcode::Continuation };
                bytes.extend(frame(Header { fin: false, ..Header::server(opcode, piece.len()) }, piece));
            }
            bytes.extend(frame(Header::server(Opcode::Continuation, 0), &[]));
        }
        for read_len in [1_000, 65_536] {
            let got = judged(payload_len, 2, &bytes, std::iter::repeat(read_len));
            assert_eq!(got, (2, 0, None), "{fragment_len}, {read_len}");
        }
    }
}

#[test]
fn faults_of_replies_are_described() {
    let ([payload], more) =
        (&payloads(8, 1)[..], |opcode| Header { fin: false, ..Header::server(opcode, 8) })
    else {
        unreachable!("one frame was requested")
    };
    let first = frame(more(Opcode::Binary), payload);
    let whole = |opcode, len| frame(Header::server(opcode, len), &vec![0; len]);
    for (bytes, expected) in [
        (whole(Opcode::Continuation, 8), "without a message to continue"),
        (whole(Opcode::Text, 8), "a text message"),
        (whole(Opcode::Binary, 7), "shorter"),
        (whole(Opcode::Binary, 9), "longer"),
        ([first.clone(), whole(Opcode::Binary, 8)].concat(), "before the last fragment of another"),
        ([first.clone(), whole(Opcode::Continuation, 1)].concat(), "longer"),
        ([frame(Header::server(Opcode::Binary, 8), payload), first].concat(), "is no echo"),
    ] {
        let (mut shard, _far) = shard(8, 1);
        shard.received(INDEX, &bytes, 1);
        let said = shard.outcome.failures.first.unwrap_or_default();
        assert!(said.contains(expected) && !said.contains(['{', '}']), "{expected}: {said}");
    }
}

/// Over sockets, from a server with small buffers: it sends the rest only once a Ping between two fragments is answered.
#[test]
fn fragmented_echoes_are_valid() {
    for (payload_len, fragment_len) in [(0, 8), (32, 5), (100_000, 8_192), (16 << 20, 8_192)] {
        let address = serve_websocket(move |_, mut socket| {
            while let Ok(message) = socket.read() {
                if !message.is_binary() {
                    continue;
                }
                let payload = message.into_data();
                let middle = payload.len() / fragment_len / 2;
                let pieces = payload.chunks(fragment_len).enumerate();
                for (number, piece) in pieces {
                    let opcode = if number == 0 { Opcode::Binary } else { Opcode::Continuation };
                    let mut bytes =
                        frame(Header { fin: false, ..Header::server(opcode, piece.len()) }, piece);
                    if number == middle {
                        bytes.extend(frame(Header::server(Opcode::Ping, 3), b"now"));
                    }
                    if socket.get_mut().write_all(&bytes).is_err() {
                        return;
                    }
                    if number == middle && !socket.read().is_ok_and(|answer| answer.is_pong()) {
                        return;
                    }
                }
                let last = if payload.is_empty() { Opcode::Binary } else { Opcode::Continuation };
                if socket.get_mut().write_all(&frame(Header::server(last, 0), &[])).is_err() {
                    return;
                }
            }
        });
        let mut config = config(address, 3);
        config.payload_len = payload_len;
        let mut fleet = connected(config);
        for _ in 0..2 {
            let phase = fleet.echo_once(&mut |_| {}).expect("echo");
            assert_eq!((phase.echoes, phase.failures.total()), (3, 0), "{payload_len}: {phase:?}");
        }
        let phase = fleet.closed_loop(3, Duration::ZERO, milliseconds(50), &mut |_| {}).expect("closed loop");
        assert_eq!((phase.missing, phase.failures.total()), (0, 0), "{payload_len}: {phase:?}");
        let phase = fleet.close_all(&mut |_| {}).expect("close");
        assert_eq!((phase.closed, phase.forced), (3, 0), "{payload_len}: {phase:?}");
    }
}

#[test]
fn a_reply_that_never_ends_is_a_timeout() {
    let address = serve_websocket(|_, socket| {
        super::server::answer_raw(socket, |payload| {
            frame(Header { fin: false, ..Header::server(Opcode::Binary, payload.len()) }, &payload)
        });
    });
    let mut config = config(address, 4);
    config.message_timeout = milliseconds(200);
    let phase = connected(config).echo_once(&mut |_| {}).expect("echo");
    assert_eq!((phase.missing, phase.failures.timeout, phase.failures.total()), (4, 4, 4), "{phase:?}");
}
