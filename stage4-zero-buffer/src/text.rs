//! Text that arrives in pieces (RFC 6455, section 8.1).

use common::frame::Violation;

/// The first bytes of a character whose last are still to come: at most three.
#[derive(Debug, Default)]
pub struct Cut {
    bytes: [u8; 3],
    len: u8,
}

impl Cut {
    /// Checks a piece of a text at once (section 8.1), but for a character cut short at its end, unless that is the `last`.
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
