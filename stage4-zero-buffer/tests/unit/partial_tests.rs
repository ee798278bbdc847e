use crate::echo::Echoed;
use crate::partial::{End, HEADROOM, Partial};
use common::frame::{Header, MAX_HEADER_LEN, Opcode, Violation};

/// Feeds `bytes` to `partial` in one piece; returns what it answers.
fn feed(partial: &mut Partial, bytes: &[u8]) -> (Vec<u8>, Result<(), End>) {
    let mut buffer = [&[0; HEADROOM], bytes].concat();
    let mut done = Echoed::from(HEADROOM);
    let result = partial.feed(&mut buffer, &mut done, 1 << 20);
    (buffer[done.answers].to_vec(), result)
}

#[test]
fn a_message_is_answered_in_the_pieces_in_which_it_comes() {
    let mut partial = Partial::default();
    for (bytes, answer) in [
        // FIN, binary | MASK, 5 | key 1 2 3 4 | nothing of it yet
        (&[0x82, 0x85, 1, 2, 3, 4][..], &[][..]),
        (&[1, 2], &[0x02, 2, 0, 0]),
        (&[3], &[0x00, 1, 0]),
        // the rest | a Ping of one byte, all but that
        (&[4, 1, 0x89, 0x81, 7, 7, 7, 7], &[0x80, 2, 0, 0]),
        // the Ping | FIN, text | MASK, 1 | key 0 | "a" | half a header
        (&[7, 0x81, 0x81, 0, 0, 0, 0, b'a', 0x82], &[0x8a, 1, 0, 0x81, 1, b'a']),
    ] {
        assert_eq!(feed(&mut partial, bytes), (answer.to_vec(), Ok(())), "after {bytes:?}");
    }
    assert!(partial.left_of_message() == 0 && !partial.is_at_boundary());
}

/// A reader that takes exactly `left_of_message` each time ends at the message's end, and not beyond.
#[test]
fn what_is_left_of_a_message_is_all_of_it_in_the_end() {
    for lens in [[1, 0, 125], [126, 70_000, 3], [65_535, 65_536, 0]] {
        let mut bytes = Vec::new();
        for (i, len) in lens.into_iter().enumerate() {
            let opcode = if i == 0 { Opcode::Binary } else { Opcode::Continuation };
            let header = Header { fin: i == 2, opcode, mask: Some([0; 4]), len };
            let mut head = [0; MAX_HEADER_LEN];
            let header_len = header.write(&mut head);
            bytes.extend_from_slice(&head[..header_len]);
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
fn the_longest_control_frame_is_answered_wherever_it_is_cut() {
    let ping: Vec<u8> = [0x89, 0xfd, 0, 0, 0, 0].into_iter().chain(0..125).collect();
    let pong: Vec<u8> = [0x8a, 125].into_iter().chain(0..125).collect();
    for cut in 1..ping.len() {
        let mut partial = Partial::default();
        assert_eq!(feed(&mut partial, &ping[..cut]), (vec![], Ok(())));
        assert_eq!(feed(&mut partial, &ping[cut..]), (pong.clone(), Ok(())), "cut at {cut}");
    }
}

#[test]
fn text_is_refused_before_its_frame_is_whole() {
    let mut partial = Partial::default();
    // FIN, text | MASK, 10 | key 0 | "é" in two pieces, then a byte that no text has
    assert_eq!(feed(&mut partial, &[0x81, 0x8a, 0, 0, 0, 0, 0xc3]), (vec![0x01, 1, 0xc3], Ok(())));
    assert_eq!(feed(&mut partial, &[0xa9]), (vec![0x00, 1, 0xa9], Ok(())));
    assert_eq!(feed(&mut partial, &[0xff]).1, Err(End::Violation(Violation::BadUtf8)));
}

#[test]
fn at_a_boundary_only_between_messages() {
    let mut partial = Partial::default();
    for (bytes, at_boundary) in [
        (&[0x01][..], false),               // half a header
        (&[0x80, 0, 0, 0, 0], false),       // text, to be continued, empty
        (&[0x89, 0x80, 0, 0, 0, 0], false), // ping
        (&[0x80, 0x80, 0, 0, 0, 0], true),  // the end of the text
        (&[0x89, 0x80, 0, 0, 0], false),    // most of a ping
        (&[0], true),
    ] {
        feed(&mut partial, bytes).1.unwrap();
        assert_eq!(partial.is_at_boundary(), at_boundary, "after {bytes:?}");
    }
}

/// What a million stalled peers cost is this, and not what they have sent.
#[test]
fn a_message_under_way_costs_a_few_dozen_bytes() {
    assert!(size_of::<Partial>() <= 72, "{}", size_of::<Partial>());
    let mut partial = Partial::default();
    feed(&mut partial, &[&[0x82, 0xfe, 0xff, 0xff, 0, 0, 0, 0], &[0; 60_000][..]].concat()).1.unwrap();
    assert_eq!(partial.control.capacity(), 0);
}
