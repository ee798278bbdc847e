//! Parsing and encoding of frame headers, and close codes, against tungstenite; masking against its definition (RFC
//! 6455, sections 5.2, 5.3 and 7.4).

#![no_main]

use common::frame::{Header, MAX_HEADER_LEN, Opcode, Violation, is_sendable};
use common::mask;
use libfuzzer_sys::fuzz_target;
use std::io::Cursor;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::CloseCode;

fuzz_target!(|data: &[u8]| {
    parse(data);
    if let Some((&[fin_opcode, masked, offset, len @ ..], rest)) = data.split_first_chunk::<11>() {
        write(fin_opcode, masked, u64::from_be_bytes(len), rest);
        unmask(rest, usize::from(offset));
    }
    if let Some(&code) = data.first_chunk() {
        let code = u16::from_be_bytes(code);
        assert_eq!(is_sendable(code), CloseCode::from(code).is_allowed(), "{code}");
    }
});

fn theirs(data: &[u8]) -> Result<Option<(FrameHeader, u64, usize)>, tungstenite::Error> {
    let mut cursor = Cursor::new(data);
    let parsed = FrameHeader::parse(&mut cursor)?;
    Ok(parsed.map(|(header, len)| (header, len, cursor.position() as usize)))
}

/// Both parse the same header, but ours rejects a frame as soon as the header shows a fault. Tungstenite rejects it
/// once it is complete.
fn parse(data: &[u8]) {
    let (first, second) = (data.first().copied().unwrap_or(0), data.get(1).copied().unwrap_or(0));
    match (Header::parse(data), theirs(data)) {
        (Ok(None), Ok(None)) => {}
        (Ok(Some((ours, at))), Ok(Some((theirs, len, their_at)))) => {
            assert_eq!((ours.fin, ours.opcode as u8), (theirs.is_final, theirs.opcode.into()));
            assert_eq!((ours.mask, ours.len, at), (theirs.mask, len, their_at));
            assert!(!theirs.rsv1 && !theirs.rsv2 && !theirs.rsv3);
            for cut in 0..at {
                assert_eq!(Header::parse(&data[..cut]), Ok(None));
            }
        }
        (Err(Violation::ReservedBits), _) => assert_ne!(first & 0x70, 0),
        (Err(Violation::ReservedOpcode(opcode)), Err(_) | Ok(None)) => {
            assert!(opcode == first & 0x0f && !matches!(opcode, 0..=2 | 8..=10));
        }
        (Err(Violation::FragmentedControl), _) => assert_eq!(first & 0x88, 0x08),
        (Err(Violation::LongControl), _) => assert!(first & 0x88 == 0x88 && second & 0x7f > 125),
        (ours, theirs) => panic!("{ours:?}, but tungstenite: {theirs:?}"),
    }
}

/// Our encoding is tungstenite's, and parses to the same header.
fn write(fin_opcode: u8, masked: u8, len: u64, key: &[u8]) {
    let opcodes =
        [Opcode::Continuation, Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong];
    let opcode = opcodes[usize::from(fin_opcode & 0x7f) % opcodes.len()];
    let control = opcode.is_control();
    let header = Header {
        fin: control || fin_opcode & 0x80 != 0,
        opcode,
        mask: key.first_chunk().copied().filter(|_| masked & 1 != 0),
        // The shift makes short lengths likely too.
        len: if control { len % 126 } else { len >> (masked >> 2) },
    };
    let mut bytes = [0; MAX_HEADER_LEN];
    let at = header.write(&mut bytes);
    assert_eq!(at, header.encoded_len());
    assert_eq!(Header::parse(&bytes[..at]), Ok(Some((header, at))));

    let theirs = FrameHeader {
        is_final: header.fin,
        opcode: (header.opcode as u8).into(),
        mask: header.mask,
        rsv1: false,
        rsv2: false,
        rsv3: false,
    };
    let mut written = Vec::new();
    theirs.format(header.len, &mut written).expect("written to memory");
    assert_eq!(bytes[..at], written);
}

/// Unmasking in two pieces equals the definition (RFC 6455, section 5.3).
fn unmask(data: &[u8], cut: usize) {
    let Some((&key, payload)) = data.split_first_chunk::<4>() else { return };
    let defined: Vec<u8> = payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
    let mut pieces = payload.to_vec();
    let (head, tail) = pieces.split_at_mut(cut.min(payload.len()));
    mask::apply(head, key, 0);
    mask::apply(tail, key, head.len());
    assert_eq!(pieces, defined);
}
