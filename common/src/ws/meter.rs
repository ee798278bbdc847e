//! Charges `--buffer-budget` for tungstenite's buffers in stages 1 to 3. tungstenite does not report their size.
//!
//! What it holds follows from what it was given to read: the payload of a message that is not whole, and, from the
//! largest message on, the buffers that this one needed. They are as large as the message, one for each direction, and
//! tungstenite keeps them as long as the connection lives.

use crate::budget::Reservation;
use crate::frame::{Header, MAX_HEADER_LEN};
use std::io::{Error, ErrorKind};

/// Follows the frames that a connection's socket gives to tungstenite.
#[derive(Debug)]
pub struct Meter {
    reservation: Reservation,
    /// The bytes of a header that has not all arrived.
    header: [u8; MAX_HEADER_LEN],
    header_len: u8,
    frame: Option<Frame>,
    /// Bytes of the payload of a message that is not whole.
    arrived: usize,
    /// Bytes of the buffers that the largest message has left.
    kept: usize,
}

/// A frame of which the header has arrived.
#[derive(Debug)]
struct Frame {
    of_message: bool,
    fin: bool,
    /// Bytes of its payload that have not arrived. Of a header that makes no sense: all that will ever come.
    left: u64,
}

impl Meter {
    /// Begins where a handshake ends, behind which these bytes came already. What the connection holds is charged to
    /// `reservation`.
    pub fn new(reservation: Reservation, bytes: &[u8]) -> Meter {
        let mut meter = Meter {
            reservation,
            header: [0; MAX_HEADER_LEN],
            header_len: 0,
            frame: None,
            arrived: 0,
            kept: 0,
        };
        // Where even this is too much, the next read fails.
        let _ = meter.read(bytes);
        meter
    }

    /// These bytes were read.
    ///
    /// # Errors
    /// [`ErrorKind::QuotaExceeded`] if the budget has too little left: pass it to tungstenite instead of the bytes.
    #[inline]
    pub fn read(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            bytes = self.step(bytes);
        }
        self.reservation.set(self.arrived + self.kept).map_err(|_| ErrorKind::QuotaExceeded.into())
    }

    /// Whether all that came so far are whole messages and whole control frames.
    #[inline]
    pub fn is_at_message_boundary(&self) -> bool {
        self.frame.is_none() && self.header_len == 0 && self.arrived == 0
    }

    /// Takes the rest of a header, and the payload behind it as far as it came; returns what is left.
    #[inline]
    fn step<'b>(&mut self, mut bytes: &'b [u8]) -> &'b [u8] {
        if self.frame.is_none() {
            bytes = self.take_header(bytes);
        }
        let Some(frame) = &mut self.frame else { return bytes };
        let len = bytes.len().min(usize::try_from(frame.left).unwrap_or(usize::MAX));
        frame.left -= len as u64;
        if frame.of_message {
            self.arrived += len;
        }
        if frame.left == 0 {
            if frame.of_message && frame.fin {
                self.kept = self.kept.max(2 * self.arrived);
                self.arrived = 0;
            }
            self.frame = None;
        }
        &bytes[len..]
    }

    #[inline]
    fn take_header<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let before = usize::from(self.header_len);
        let copied = (MAX_HEADER_LEN - before).min(bytes.len());
        self.header[before..before + copied].copy_from_slice(&bytes[..copied]);
        match Header::parse(&self.header[..before + copied]) {
            Ok(None) => {
                self.header_len = (before + copied) as u8;
                &bytes[copied..]
            }
            Ok(Some((header, len))) => {
                self.header_len = 0;
                self.frame = Some(Frame {
                    of_message: !header.opcode.is_control(),
                    fin: header.fin,
                    left: header.len,
                });
                &bytes[len - before..]
            }
            // Tungstenite ends the connection here. Should it not, it is charged for all that comes.
            Err(_) => {
                self.frame = Some(Frame { of_message: true, fin: false, left: u64::MAX });
                bytes
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Budget, FREE_LEN};
    use crate::frame::Opcode;

    /// A masked frame, and how much of its payload there is.
    fn frame(opcode: Opcode, fin: bool, len: usize, there: usize) -> Vec<u8> {
        let header = Header { fin, opcode, mask: Some([1; 4]), len: len as u64 };
        let mut bytes = vec![0; header.encoded_len()];
        header.write(&mut bytes);
        bytes.resize(bytes.len() + there, 0);
        bytes
    }

    #[test]
    fn knows_what_is_held_in_whatever_pieces_it_comes() {
        use Opcode::{Binary, Continuation, Ping, Text};
        let stream: [(Vec<u8>, usize, bool); 7] = [
            (frame(Text, true, 5, 5), 10, true),
            (frame(Binary, false, 70_000, 70_000), 70_010, false),
            (frame(Ping, true, 125, 125), 70_010, false),
            (frame(Continuation, false, 0, 0), 70_010, false),
            (frame(Continuation, true, 30_000, 30_000), 200_000, true),
            (frame(Text, true, 9, 9), 200_000, true),
            (frame(Binary, true, 1 << 40, 50_000), 250_000, false),
        ];
        for piece_len in [1, 2, 3, 7, 1_000, 4_096, 1 << 20] {
            let budget = Budget::new(Some(1 << 20));
            let mut meter = Meter::new(budget.reservation(), &[]);
            for (bytes, held, at_boundary) in &stream {
                bytes.chunks(piece_len).for_each(|piece| meter.read(piece).expect("within the budget"));
                let charged = held.saturating_sub(FREE_LEN);
                assert_eq!(
                    (budget.held(), meter.is_at_message_boundary()),
                    (charged, *at_boundary),
                    "pieces of {piece_len}"
                );
            }
        }
    }

    #[test]
    fn is_not_led_astray_by_nonsense() {
        let budget = Budget::new(Some(100_000));
        let mut meter = Meter::new(budget.reservation(), &[]);
        meter.read(&[0xff; 50_000]).expect("within the budget");
        assert_eq!(budget.held(), 50_000 - FREE_LEN);
        let error = meter.read(&frame(Opcode::Text, true, 60_000, 60_000)).expect_err("over the budget");
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    }
}
