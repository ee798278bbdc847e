//! The frame path against tungstenite: for any input, in any pieces, both answer with the same messages.

use crate::echo::echo;
use crate::reference::{answer, answers, messages};
use common::echoed::Echoed;
use common::frame::{Header, MAX_HEADER_LEN, Opcode};
use common::mask;
use common::partial::{End, HEADROOM, Partial};
use common::send_queue::{SendQueue, close_frame};
use proptest::prelude::*;

/// Low enough that generated messages often exceed it.
const MAX_MESSAGE_LEN: usize = 70_000;

/// The output of the frame path for `input` in pieces of these lengths, repeated. It drives the path as the server
/// does, and adds the server's own Close frames.
fn ours(input: &[u8], piece_lens: &[usize]) -> Vec<u8> {
    answered(input, piece_lens, echo)
}

fn answered(input: &[u8], piece_lens: &[usize], fast_path: fn(&mut Echoed, &mut [u8], usize)) -> Vec<u8> {
    let (mut sent, mut partial) = (SendQueue::default(), Partial::default());
    let (mut rest, mut piece_lens) = (input, piece_lens.iter().cycle());
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(rest.len().min(*piece_lens.next().expect("a cycle")));
        rest = behind;
        let mut buffer = [&[0xa5; HEADROOM], piece].concat();
        let mut done = Echoed::from(HEADROOM);
        let result = partial.feed(&mut buffer, &mut done, MAX_MESSAGE_LEN, fast_path);
        sent.push(&buffer[done.answers]);
        match result {
            Ok(()) => continue,
            Err(End::Peer(body)) => sent.push_frame(Opcode::Close, &body),
            Err(End::Violation(violation)) => sent.push(&close_frame(violation.close_code())),
        }
        break;
    }
    sent.unsent().to_vec()
}

/// A client's frame, valid or not.
#[derive(Clone, Debug)]
struct Sent {
    first: u8,
    key: Option<[u8; 4]>,
    payload: Vec<u8>,
}

impl Sent {
    fn encode(&self, out: &mut Vec<u8>) {
        let header =
            Header { fin: true, opcode: Opcode::Text, mask: self.key, len: self.payload.len() as u64 };
        let mut bytes = [0; MAX_HEADER_LEN];
        let header_len = header.write(&mut bytes);
        bytes[0] = self.first;
        out.extend_from_slice(&bytes[..header_len]);
        let at = out.len();
        out.extend_from_slice(&self.payload);
        mask::apply(&mut out[at..], self.key.unwrap_or_default(), 0);
    }
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-zé€😀]{0,40}".prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 0..200),
        1 => prop_oneof![Just(125), Just(126), Just(65_535), Just(65_536)].prop_map(|len| vec![b'x'; len]),
    ]
}

fn control() -> impl Strategy<Value = Sent> {
    let payload = prop::collection::vec(any::<u8>(), 0..126);
    (prop_oneof![Just(0x89), Just(0x8a)], any::<[u8; 4]>(), payload).prop_map(|(first, key, payload)| Sent {
        first,
        key: Some(key),
        payload,
    })
}

/// A message split into fragments anywhere, with control frames between them.
fn message() -> impl Strategy<Value = Vec<Sent>> {
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..4);
    (1..=2u8, payload(), cuts, any::<[u8; 4]>(), prop::option::of(control())).prop_map(
        |(opcode, payload, cuts, key, control)| {
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
            ends.push(payload.len());
            ends.sort_unstable();
            let (mut sent, mut start) = (Vec::new(), 0);
            for (i, &end) in ends.iter().enumerate() {
                let fin = if i + 1 == ends.len() { 0x80 } else { 0 };
                let first = fin | if i == 0 { opcode } else { 0 };
                sent.push(Sent { first, key: Some(key), payload: payload[start..end].to_vec() });
                sent.extend(control.clone());
                start = end;
            }
            sent
        },
    )
}

/// A frame with any first byte, usually masked, or a Close frame.
fn anything() -> impl Strategy<Value = Vec<Sent>> {
    let frame = (any::<u8>(), prop::option::weighted(0.9, any::<[u8; 4]>()), payload());
    let close = (any::<[u8; 4]>(), prop::option::of((900..5100u16, payload())));
    prop_oneof![
        frame.prop_map(|(first, key, payload)| vec![Sent { first, key, payload }]),
        close.prop_map(|(key, body)| {
            let body = body.map(|(code, reason)| [code.to_be_bytes().to_vec(), reason].concat());
            vec![Sent { first: 0x88, key: Some(key), payload: body.unwrap_or_default() }]
        }),
    ]
}

fn conversation() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![6 => message(), 2 => control().prop_map(|frame| vec![frame]), 1 => anything()];
    prop::collection::vec(part, 0..8).prop_map(|parts| {
        let mut bytes = Vec::new();
        parts.iter().flatten().for_each(|frame| frame.encode(&mut bytes));
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_as_tungstenite_does(
        input in conversation(),
        piece_lens in prop::collection::vec(prop_oneof![1..20usize, Just(65_536)], 1..5),
    ) {
        prop_assert_eq!(messages(&ours(&input, &piece_lens)).0, answers(&input, MAX_MESSAGE_LEN));
    }

    #[test]
    fn pieces_make_no_difference(input in conversation(), len in 1..50usize) {
        prop_assert_eq!(messages(&ours(&input, &[usize::MAX])), messages(&ours(&input, &[len])));
    }

    #[test]
    fn the_slow_path_alone_answers_the_same(input in conversation(), len in 1..50usize) {
        let slow = answered(&input, &[len], |_, _, _| ());
        prop_assert_eq!(messages(&slow), messages(&ours(&input, &[usize::MAX])));
    }

    #[test]
    fn answers_as_tungstenite_does_wherever_it_ends(input in conversation(), end in any::<prop::sample::Index>()) {
        let input = &input[..end.index(input.len() + 1)];
        let ours = messages(&ours(input, &[7])).0;
        prop_assert_eq!(&ours, &answer(input, MAX_MESSAGE_LEN, &ours));
    }
}
