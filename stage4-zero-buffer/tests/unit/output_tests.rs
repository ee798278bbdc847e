use crate::output::{Output, SENT_LEN};
use common::frame::{Header, MAX_HEADER_LEN, Opcode};

fn fragment(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let header = Header { fin, ..Header::server(opcode, payload.len()) };
    let mut bytes = [0; MAX_HEADER_LEN];
    let len = header.write(&mut bytes);
    [&bytes[..len], payload].concat()
}

#[test]
fn fragments_of_one_byte_are_joined_into_one_frame() {
    let mut output = Output::default();
    output.push_frames(&fragment(Opcode::Binary, false, &[0]));
    let message: Vec<u8> = (0..70_000).map(|i| i as u8).collect();
    (1..message.len() - 1)
        .for_each(|i| output.push_frames(&fragment(Opcode::Continuation, false, &message[i..=i])));
    output.push_frames(&fragment(Opcode::Continuation, true, &message[message.len() - 1..]));
    assert_eq!(output.unsent(), fragment(Opcode::Binary, true, &message));
}

#[test]
fn nothing_joins_a_partly_sent_fragment_or_a_whole_message() {
    let [first, second] = [Opcode::Binary, Opcode::Continuation].map(|opcode| fragment(opcode, false, b"ab"));
    for (before, sent) in
        [(&first, 1), (&fragment(Opcode::Binary, true, b"ab"), 0), (&fragment(Opcode::Pong, true, b"ab"), 0)]
    {
        let mut output = Output::default();
        output.push_frames(before);
        output.sent(sent);
        output.push_frames(&second);
        output.push_frames(&second);
        let joined = fragment(Opcode::Continuation, false, b"abab");
        assert_eq!(output.unsent(), [&before[sent..], &joined].concat());
    }
}

#[test]
fn sent_bytes_are_discarded() {
    let mut output = Output::default();
    output.push(&[1; 2 * SENT_LEN]);
    output.push_frames(&fragment(Opcode::Binary, false, b"a"));
    output.sent(SENT_LEN - 1);
    assert_eq!(output.held(), 2 * SENT_LEN + 3);
    output.sent(SENT_LEN);
    assert_eq!(output.held(), 4);
    output.push_frames(&fragment(Opcode::Continuation, true, b"b"));
    assert_eq!(output.unsent(), [&[1][..], &fragment(Opcode::Binary, true, b"ab")].concat());
    output.sent(5);
    assert!(output.is_empty() && output.bytes.capacity() == 0);
}
