use crate::echo::Echoed;
use crate::partial::{End, HEADROOM, Partial};
use common::frame::{Header, MAX_HEADER_LEN, Opcode, Violation};

/// Feeds `bytes` to `partial` in one piece, and returns its answer.
fn feed(partial: &mut Partial, bytes: &[u8]) -> (Vec<u8>, Result<(), End>) {
    let mut buffer = [&[0; HEADROOM], bytes].concat();
    let mut done = Echoed::from(HEADROOM);
    let result = partial.feed(&mut buffer, &mut done, 1 << 20);
    (buffer[done.answers].to_vec(), result)
}

#[test]
fn each_piece_of_a_message_is_answered_when_it_arrives() {
    let mut partial = Partial::default();
    for (bytes, answer) in [
        // FIN, binary | MASK, 5 | key 1 2 3 4 | no payload yet
        (&[0x82, 0x85, 1, 2, 3, 4][..], &[][..]),
        (&[1, 2], &[0x02, 2, 0, 0]),
        (&[3], &[0x00, 1, 0]),
        // the rest | a Ping of one byte, without that byte
        (&[4, 1, 0x89, 0x81, 7, 7, 7, 7], &[0x80, 2, 0, 0]),
        // the byte of the Ping | FIN, text | MASK, 1 | key 0 | "a" | half a header
        (&[7, 0x81, 0x81, 0, 0, 0, 0, b'a', 0x82], &[0x8a, 1, 0, 0x81, 1, b'a']),
    ] {
        assert_eq!(feed(&mut partial, bytes), (answer.to_vec(), Ok(())), "after {bytes:?}");
    }
    assert!(partial.left_of_message() == 0 && !partial.is_at_boundary());
}

/// Reads of at most `left_of_message` end exactly at the end of the message.
#[test]
fn what_is_left_of_a_message_never_exceeds_its_end() {
    for lens in [[1, 0, 125], [126, 70_000, 3], [65_535, 65_536, 0]] {
        let mut bytes = Vec::new();
        for (i, len) in lens.into_iter().enumerate() {
            let opcode = if i == 0 { Opcode::Binary } else { Opcode::Continuation };
            let header = Header { fin: i == 2, opcode, mask: Some([0; 4]), len };
            let mut encoded = [0; MAX_HEADER_LEN];
            let header_len = header.write(&mut encoded);
            bytes.extend_from_slice(&encoded[..header_len]);
            bytes.resize(bytes.len() + len as usize, 0);
        }
        let (mut partial, mut at) = (Partial::default(), MAX_HEADER_LEN);
        feed(&mut partial, &bytes[..at]).1.unwrap();
        while partial.left_of_message() > 0 {
            let end = at + partial.left_of_message().min(1000);
            feed(&mut partial, &bytes[at..end]).1.unwrap();
            at = end;
        }
        assert_eq!((at, partial.is_at_boundary()), (bytes.len(), true), "{lens:?}");
    }
}

#[test]
fn the_longest_control_frame_is_answered_wherever_it_is_split() {
    let ping: Vec<u8> = [0x89, 0xfd, 0, 0, 0, 0].into_iter().chain(0..125).collect();
    let pong: Vec<u8> = [0x8a, 125].into_iter().chain(0..125).collect();
    for cut in 1..ping.len() {
        let mut partial = Partial::default();
        assert_eq!(feed(&mut partial, &ping[..cut]), (vec![], Ok(())));
        assert_eq!(feed(&mut partial, &ping[cut..]), (pong.clone(), Ok(())), "split at {cut}");
    }
}

#[test]
fn invalid_text_is_rejected_before_its_frame_is_complete() {
    let mut partial = Partial::default();
    // FIN, text | MASK, 10 | key 0 | "é" in two pieces, then invalid UTF-8
    assert_eq!(feed(&mut partial, &[0x81, 0x8a, 0, 0, 0, 0, 0xc3]), (vec![0x01, 1, 0xc3], Ok(())));
    assert_eq!(feed(&mut partial, &[0xa9]), (vec![0x00, 1, 0xa9], Ok(())));
    assert_eq!(feed(&mut partial, &[0xff]).1, Err(End::Violation(Violation::BadUtf8)));
}

#[test]
fn at_a_boundary_only_between_messages() {
    let mut partial = Partial::default();
    for (bytes, at_boundary) in [
        (&[0x01][..], false),               // half a header
        (&[0x80, 0, 0, 0, 0], false),       // an empty text fragment, not the last
        (&[0x89, 0x80, 0, 0, 0, 0], false), // a Ping
        (&[0x80, 0x80, 0, 0, 0, 0], true),  // the last fragment
        (&[0x89, 0x80, 0, 0, 0], false),    // most of a Ping
        (&[0], true),
    ] {
        feed(&mut partial, bytes).1.unwrap();
        assert_eq!(partial.is_at_boundary(), at_boundary, "after {bytes:?}");
    }
}

/// The cost of each stalled peer, whatever it has sent.
#[test]
fn an_unfinished_message_costs_at_most_72_bytes() {
    assert!(size_of::<Partial>() <= 72, "{}", size_of::<Partial>());
    let mut partial = Partial::default();
    feed(&mut partial, &[&[0x82, 0xfe, 0xff, 0xff, 0, 0, 0, 0], &[0; 60_000][..]].concat()).1.unwrap();
    assert_eq!(partial.control.capacity(), 0);
}
