//! Text that arrives in pieces (RFC 6455, section 8.1).

use crate::frame::Violation;

/// The first bytes of a character whose last are still to come: at most three.
#[derive(Debug, Default)]
pub struct Cut {
    bytes: [u8; 3],
    len: u8,
}

impl Cut {
    /// Checks a piece of a text at once (section 8.1), but for a character cut short at its end, unless that is the `last`.
    ///
    /// # Errors
    /// [`Violation::BadUtf8`].
    pub fn check(&mut self, mut piece: &[u8], last: bool) -> Result<(), Violation> {
        if self.len > 0 {
            // How many bytes a character has, its first one says (RFC 3629, section 3).
            let before = usize::from(self.len);
            let missing = self.bytes[0].leading_ones() as usize - before;
            let (rest, behind) = piece.split_at(missing.min(piece.len()));
            let mut character = [0; 4];
            character[..before].copy_from_slice(&self.bytes[..before]);
            character[before..before + rest.len()].copy_from_slice(rest);
            self.len = 0;
            self.check_from_boundary(&character[..before + rest.len()])?;
            piece = behind;
        }
        if !piece.is_empty() {
            self.check_from_boundary(piece)?;
        }
        if last && self.len > 0 { Err(Violation::BadUtf8) } else { Ok(()) }
    }

    fn check_from_boundary(&mut self, text: &[u8]) -> Result<(), Violation> {
        let Err(error) = simdutf8::compat::from_utf8(text) else { return Ok(()) };
        if error.error_len().is_some() {
            return Err(Violation::BadUtf8);
        }
        let cut = &text[error.valid_up_to()..];
        self.bytes[..cut.len()].copy_from_slice(cut);
        self.len = cut.len() as u8;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
