use crate::text::Cut;
use proptest::prelude::*;
use std::str;

proptest! {
    /// Against the standard library's check of all that came so far.
    #[test]
    fn text_in_pieces_is_text(
        bytes in prop_oneof!["[a\u{e9}\u{20ac}\u{1f600}]{0,12}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..12)],
        lens in prop::collection::vec(0..6usize, 0..8).prop_map(|lens| [lens, vec![1]].concat()),
    ) {
        let (mut cut, mut at, mut lens) = (Cut::default(), 0, lens.iter().cycle());
        loop {
            let end = bytes.len().min(at + lens.next().unwrap());
            let last = end == bytes.len();
            let expected = match str::from_utf8(&bytes[..end]) {
                Ok(_) => true,
                Err(error) => error.error_len().is_none() && !last,
            };
            prop_assert_eq!(cut.check(&bytes[at..end], last).is_ok(), expected, "{:?} to {}", bytes, end);
            if last || !expected {
                break;
            }
            at = end;
        }
    }
}
