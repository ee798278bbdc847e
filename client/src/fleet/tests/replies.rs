//! Replies and messages that are no replies, in any fragments and pieces, against a reference that assembles whole messages.

use super::super::phase::Phase;
use super::super::slots::State;
use super::super::{messages::Messages, payload};
use super::fragments::{INDEX, Random, cases, fragments, lie, shard_of};
use super::lying::frame;
use super::*;
use common::frame::{Header, Opcode};
use std::io::Read;

/// What became of a connection.
#[derive(Debug, Default, PartialEq)]
struct Verdict {
    replies: u64,
    bytes: u64,
    pings: u64,
    unsolicited: Unsolicited,
    failed: Option<Class>,
}

/// A case: messages of this kind are sent, and these frames are received.
#[derive(Debug)]
struct Case {
    messages: Messages,
    longest: usize,
    /// Messages outstanding. With greetings: none, and one is sent after the last greeting.
    sent: u32,
    is_held: bool,
    frames: Vec<(Header, Vec<u8>)>,
}

impl Case {
    fn random(random: &mut Random) -> Case {
        let longest = [0, 1, 8, 32, 126, 700][random.below(6)];
        let mut messages = Messages {
            text: random.below(2) == 1,
            verify: [Verify::Echo, Verify::Any, Verify::None][random.below(3)],
            greetings: [0, 0, 1, 3][random.below(4)],
            ..Messages::default()
        };
        match random.below(3) {
            0 => messages.shortest = Some(random.below(longest + 1)),
            1 => messages.file = Some((0..longest).map(|at| b'a' + (at % 26) as u8).collect()),
            _ => {}
        }
        let is_held = messages.greetings == 0 && random.below(3) == 0;
        let sent = if is_held || messages.greetings > 0 { 0 } else { random.below(5) as u32 };
        let mut case = Case { messages, longest, sent, is_held, frames: Vec::new() };
        let replies = if case.messages.greetings > 0 { 1 } else { sent };
        let others = if random.below(2) == 0 { 0 } else { random.below(3) as u32 };
        for number in 0..case.messages.greetings + replies + others {
            let is_echo = number >= case.messages.greetings && number < case.messages.greetings + replies;
            let (opcode, body) = if is_echo && (case.messages.verify == Verify::Echo || random.below(2) == 0)
            {
                (case.messages.opcode(), case.payload(number - case.messages.greetings))
            } else {
                ([Opcode::Text, Opcode::Binary][random.below(2)], vec![b'x'; random.below(300)])
            };
            case.frames.extend(fragments(opcode, &body, random));
        }
        if random.below(2) == 1 && !case.frames.is_empty() {
            lie(&mut case.frames, random);
        }
        case
    }

    fn payload(&self, sequence: u32) -> Vec<u8> {
        let seed = payload::seed(3, INDEX, 0, sequence);
        let mut payload = vec![0; self.messages.len(seed, self.longest)];
        self.messages.fill(&mut payload, seed, [0; 4]);
        payload
    }

    fn reference(&self) -> Verdict {
        let (mut verdict, mut greetings) = (Verdict::default(), self.messages.greetings);
        let (is_echo, is_none) = (self.messages.verify == Verify::Echo, self.messages.verify == Verify::None);
        let (mut sent, mut begun) = (if is_none { 0 } else { u64::from(self.sent) }, None);
        for (header, body) in &self.frames {
            if header.mask.is_some() {
                return Verdict { failed: Some(Class::WrongEcho), ..verdict };
            }
            let wrong = Some(Class::WrongEcho);
            let (kind, mut whole) = match (header.opcode, begun.take()) {
                (Opcode::Close, _) => return Verdict { failed: Some(Class::Closed), ..verdict },
                (Opcode::Ping | Opcode::Pong, before) => {
                    verdict.pings += u64::from(header.opcode == Opcode::Ping);
                    begun = before;
                    continue;
                }
                (Opcode::Continuation, Some(begun)) => begun,
                (Opcode::Continuation, None) | (_, Some(_)) => return Verdict { failed: wrong, ..verdict },
                _ if greetings > 0 => ("greeting", Vec::new()),
                _ if verdict.replies < sent => ("reply", Vec::new()),
                _ if !is_echo || self.is_held => ("pushed", Vec::new()),
                _ => return Verdict { failed: wrong, ..verdict },
            };
            if kind == "reply" && is_echo {
                let due = self.payload(verdict.replies as u32);
                let is_other = ![self.messages.opcode(), Opcode::Continuation].contains(&header.opcode);
                let differs = !due.starts_with(&[&whole[..], body].concat());
                if is_other || differs || (header.fin && whole.len() + body.len() < due.len()) {
                    return Verdict { failed: wrong, ..verdict };
                }
            }
            whole.extend_from_slice(body);
            verdict.unsolicited.pushed_bytes += if kind == "pushed" { body.len() as u64 } else { 0 };
            match kind {
                _ if !header.fin => begun = Some((kind, whole)),
                "greeting" => {
                    verdict.unsolicited.greetings += 1;
                    greetings -= 1;
                    sent = u64::from(greetings == 0 && !is_none);
                }
                "pushed" => verdict.unsolicited.pushed += 1,
                _ => {
                    verdict.replies += 1;
                    verdict.bytes += whole.len() as u64;
                }
            }
        }
        verdict
    }

    fn judged(&self, random: &mut Random) -> Verdict {
        let (mut shard, mut far) = shard_of(self.longest, self.sent, self.messages.clone());
        far.set_nonblocking(true).expect("nonblocking");
        if self.messages.greetings > 0 {
            shard.slots[INDEX].state = State::Greeting;
            (shard.totals.live, shard.totals.connecting) = (0, 1);
            shard.phase = Phase::Churn { pace: None, window: 1, end_ns: u64::MAX };
        } else if self.is_held {
            shard.phase = Phase::Hold { end_ns: u64::MAX };
        }
        if self.messages.verify == Verify::None {
            (shard.slots[INDEX].echoed, shard.outstanding) = (self.sent, 0);
        }
        let bytes: Vec<u8> = self.frames.iter().flat_map(|(header, body)| frame(*header, body)).collect();
        let (mut rest, longest) = (&bytes[..], [1, 3, 20, 400, 1_000_000][random.below(5)]);
        while !rest.is_empty() && [State::Open, State::Greeting].contains(&shard.slots[INDEX].state) {
            let (piece, after) = rest.split_at((1 + random.below(longest)).min(rest.len()));
            shard.received(INDEX, piece, 1);
            // Answers to pings.
            while far.read(&mut [0; 4_096]).is_ok_and(|len| len > 0) {}
            rest = after;
        }
        let outcome = &shard.outcome;
        let of_file = outcome.echoes * self.longest as u64;
        let is_usual = self.messages.are_alike() && self.messages.verify == Verify::Echo;
        Verdict {
            replies: outcome.echoes,
            bytes: if is_usual { of_file } else { outcome.bytes },
            pings: outcome.pings,
            unsolicited: outcome.unsolicited,
            failed: outcome.failures.classes().next().map(|(class, _)| class),
        }
    }
}

#[test]
fn messages_in_any_pieces_have_the_verdict_of_whole_ones() {
    let mut random = Random(0x9d2c_5680_71b3_e495);
    let (all, mut failed) = (cases(30_000), 0);
    for round in 0..all {
        let case = Case::random(&mut random);
        let expected = case.reference();
        failed += u64::from(expected.failed.is_some());
        assert_eq!(case.judged(&mut random), expected, "round {round}: {case:?}");
    }
    assert!((all / 10..all * 2 / 3).contains(&failed), "{failed} cases fail: both verdicts are tested");
}

#[test]
fn long_messages_are_counted_and_not_stored() {
    let (mut shard, _far) = shard_of(8, 1, Messages { verify: Verify::Any, ..Messages::default() });
    // A message of 6 GiB in two frames, a second one that is pushed, and a frame that is too long.
    let piece = vec![0; 1 << 20];
    for (opcode, fin) in [(Opcode::Text, false), (Opcode::Continuation, true), (Opcode::Binary, true)] {
        let header = Header { fin, ..Header::server(opcode, 3 << 30) };
        shard.received(INDEX, &frame(header, &[]), 1);
        (0..3 << 10).for_each(|_| shard.received(INDEX, &piece, 1));
    }
    assert_eq!((shard.outcome.echoes, shard.outcome.bytes), (1, u32::MAX.into()), "as far as it is counted");
    let pushed = Unsolicited { greetings: 0, pushed: 1, pushed_bytes: 3 << 30 };
    assert_eq!((shard.outcome.unsolicited, shard.inboxes.len()), (pushed, 0));
    shard.received(INDEX, &frame(Header { len: 5 << 30, ..Header::server(Opcode::Text, 0) }, &[]), 1);
    let first = shard.outcome.failures.first.unwrap_or_default();
    assert_eq!(first, "a frame is longer than 4 GiB: a text frame of 5368709120 bytes");
}
