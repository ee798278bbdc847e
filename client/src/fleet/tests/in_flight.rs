//! Rounds of many messages in flight per connection: all are sent at once, the next round when all are echoed.

use super::super::phase::{Phase, Span};
use super::super::slots::State;
use super::fragments::{INDEX, Random, cases, fragmented, payloads, shard};
use super::lying::frame;
use super::*;
use common::frame::{Header, Opcode};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use tungstenite::WebSocket;

/// Reads `count` messages; `None` if the peer closes.
fn messages(socket: &mut WebSocket<TcpStream>, count: usize) -> Option<Vec<Vec<u8>>> {
    let mut payloads = Vec::new();
    while payloads.len() < count {
        let message = socket.read().ok()?;
        payloads.extend(message.is_binary().then(|| message.into_data().to_vec()));
    }
    Some(payloads)
}

/// A server that reads a whole round of `count` messages, and then sends `answer` of it in one write.
fn at_once(
    count: usize,
    answer: impl Fn(usize, usize, Vec<Vec<u8>>) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> SocketAddr {
    serve_websocket(move |number, mut socket| {
        for round in 0.. {
            let Some(payloads) = messages(&mut socket, count) else { return };
            let Some(bytes) = answer(number, round, payloads) else { return };
            if socket.get_mut().write_all(&bytes).is_err() {
                return;
            }
        }
    })
}

fn whole(payload: &[u8]) -> Vec<u8> {
    frame(Header::server(Opcode::Binary, payload.len()), payload)
}

fn in_fragments(payload: &[u8]) -> Vec<u8> {
    let (first, second) = payload.split_at(payload.len() / 3);
    let begun = Header { fin: false, ..Header::server(Opcode::Binary, first.len()) };
    [frame(begun, first), frame(Header::server(Opcode::Continuation, second.len()), second)].concat()
}

#[test]
fn a_round_is_sent_whole_and_echoed_one_by_one_at_once_or_in_fragments() {
    for (count, payload_len) in [(1, 32), (2, 0), (16, 32), (64, 125), (1_024, 7), (5, 300_000)] {
        let one_by_one = serve_websocket(|_, socket| echo(socket, |_| {}));
        let at_once = |answer: fn(&[u8]) -> Vec<u8>| {
            at_once(count, move |_, _, round| {
                Some(round.iter().flat_map(|payload| answer(payload)).collect())
            })
        };
        for address in [one_by_one, at_once(whole), at_once(in_fragments)] {
            let case = format!("{count} in flight, {payload_len} bytes each");
            let (in_flight, count) = (count as u32, count as u64);
            let mut fleet = connected(FleetConfig { in_flight, payload_len, ..config(address, 3) });
            for warmup in [0, 20] {
                // On a busy machine 100 ms may be too short for a round on each connection.
                let has_rounds = [100, 1_000, 10_000].into_iter().any(|length| {
                    let phase = fleet
                        .closed_loop(3, milliseconds(warmup), milliseconds(length), &mut |_| {})
                        .expect("closed loop");
                    let failed = (phase.missing, &phase.failures);
                    assert_eq!(failed, (0, &Failures::default()), "{case}: {phase:?}");
                    assert!(phase.echoes.is_multiple_of(count), "{case}: {phase:?}");
                    assert_eq!((phase.sent, phase.latency.len()), (phase.echoes, phase.echoes), "{case}");
                    phase.echoes >= 3 * count
                });
                assert!(has_rounds, "{case}");
            }
            // All other phases send single messages.
            let phase = fleet.close_all(&mut |_| {}).expect("close");
            assert_eq!((phase.closed, phase.failures.total()), (3, 0), "{case}");
        }
    }
}

#[test]
fn a_missing_echo_of_a_round_is_detected() {
    const COUNT: usize = 4;
    for lost in 0..COUNT {
        let address = at_once(COUNT, move |number, round, mut payloads| {
            if (number, round) == (0, 1) {
                payloads.remove(lost);
            }
            Some(payloads.iter().flat_map(|payload| whole(payload)).collect())
        });
        let mut config = FleetConfig { in_flight: COUNT as u32, ..config(address, 2) };
        config.message_timeout = milliseconds(200);
        let phase = connected(config)
            .closed_loop(2, Duration::ZERO, milliseconds(100), &mut |_| {})
            .expect("closed loop");
        // The next echo arrives in place of the missing one; nothing in place of the last.
        let class = if lost + 1 < COUNT { Class::WrongEcho } else { Class::Timeout };
        assert_eq!(phase.failures.classes().collect::<Vec<_>>(), [(class, 1)], "{lost}: {phase:?}");
        assert_eq!(
            (phase.missing, phase.sent),
            ((COUNT - lost) as u64, phase.echoes + phase.missing),
            "{lost}"
        );
    }
}

#[test]
fn a_replaced_connection_sends_whole_rounds() {
    let address = at_once(8, |number, round, payloads| {
        (number > 0 || round < 2).then(|| payloads.iter().flat_map(|payload| whole(payload)).collect())
    });
    let mut fleet = connected(FleetConfig { in_flight: 8, reconnect: true, ..config(address, 1) });
    let phase = fleet.closed_loop(1, Duration::ZERO, milliseconds(600), &mut |_| {}).expect("closed loop");
    assert_eq!((phase.missing, phase.failures.total()), (8, 0), "{phase:?}");
    assert!(phase.echoes > 16, "{phase:?}");
    assert_eq!(fleet.reconnects().map(|again| (again.lost, again.reconnected)), Some((1, 1)));
}

#[test]
fn messages_in_flight_at_a_stop_are_not_missing() {
    let address = serve_websocket(|_, socket| echo(socket, |_| {}));
    let stop: &AtomicBool = Box::leak(Box::default());
    let mut fleet = connected(FleetConfig { stop, in_flight: 32, ..config(address, 4) });
    let mut on_tick = |progress: &Progress| stop.store(progress.echoes > 0, Relaxed);
    let phase = fleet.closed_loop(4, Duration::ZERO, Duration::from_secs(3_600), &mut on_tick).expect("loop");
    assert!(phase.echoes > 0, "{phase:?}");
    assert_eq!((phase.missing, phase.failures.total()), (0, 0), "{phase:?}");
}

/// Each packet of this socket is one send call.
#[test]
fn a_round_is_one_call() {
    let (mut shard, _far) = shard(32, 0);
    let (near, far) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::NONBLOCK, None)
        .expect("a pair of sockets");
    shard.slots[INDEX].fd = Some(near);
    shard.setup.in_flight = 16;
    shard.round = shard.round.repeat(16);
    let mut packet = [0; 4_096];
    for (count, len) in [(16, 16 * (6 + 32)), (1, 6 + 32)] {
        assert!(shard.send_messages(INDEX, count, 1));
        assert_eq!(recv(&far, &mut packet, RecvFlags::empty()).map(|(got, _)| got), Ok(len));
        assert!(recv(&far, &mut packet, RecvFlags::empty()).is_err(), "more than one call");
    }
    assert_eq!((shard.slots[INDEX].sent, shard.outstanding, shard.totals.sent), (17, 17, 17));
}

#[test]
fn the_next_round_is_sent_once_all_replies_are_complete() {
    let mut random = Random(0x853c_49e6_748f_ea9b);
    let mut read = vec![0; 65_536];
    for round in 0..cases(3_000) {
        let (count, payload_len) = (1 + random.below(20) as u32, [0, 1, 32, 126, 700][random.below(5)]);
        let (mut shard, mut far) = shard(payload_len, 0);
        shard.setup.in_flight = count;
        shard.round = shard.round.repeat(count as usize);
        shard.next = 1;
        far.set_nonblocking(true).expect("nonblocking");
        shard.phase = Phase::Closed { active: 1, span: Span { record_ns: 0, end_ns: u64::MAX } };
        assert!(shard.send_round(INDEX, count, 1_000));
        let payloads = payloads(payload_len, count);
        let frames = fragmented(&payloads, &mut random);
        let bytes: Vec<u8> = frames.iter().flat_map(|(header, body)| frame(*header, body)).collect();
        let (mut rest, mut now_ns) = (&bytes[..], 1_000_000);
        let longest = [1, 30, 1_000, bytes.len()][random.below(4)];
        let case = format!("round {round}: {count} of {payload_len} bytes");
        while !rest.is_empty() {
            // The round, and the answers to control frames.
            while far.read(&mut read).is_ok() {}
            let (piece, after) = rest.split_at((1 + random.below(longest)).min(rest.len()));
            shard.received(INDEX, piece, now_ns);
            let slot = &shard.slots[INDEX];
            assert_eq!(slot.state, State::Open, "{case}: {:?}", shard.outcome.failures);
            let all_there = slot.echoed == count;
            assert_eq!(slot.sent, if all_there { 2 * count } else { count }, "{case}");
            // Control frames may follow the last echo.
            assert!(all_there || !after.is_empty(), "{case}");
            (rest, now_ns) = (after, now_ns + 1_000_000);
        }
        assert_eq!((shard.outcome.echoes, shard.times.len()), (count.into(), count.into()), "{case}");
        assert_eq!((shard.outcome.sent, shard.outstanding), (2 * u64::from(count), count.into()), "{case}");
        assert_eq!(shard.under_way(u64::MAX), u64::from(count), "{case}");
    }
}
