//! How stages 1 to 3 set up tungstenite, and what they do about its errors.

use crate::config::Config;
use crate::event_loop::Next;
use crate::frame::{CloseCode, MAX_CONTROL_LEN};
use crate::metrics::Closed;
use std::io::ErrorKind;
use tungstenite::error::{CapacityError, Error, ProtocolError};
use tungstenite::protocol::{CloseFrame, WebSocketConfig};

/// A connection's limits: messages of `--max-message-size`, read in pieces of `read_buffer` bytes.
/// However small that is, control frames of any length that they may have are taken.
/// What is written goes out at once; tungstenite's default is to keep up to 128 KiB until it is flushed.
pub fn config(config: &Config, read_buffer: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(read_buffer)
        .write_buffer_size(0)
        .max_message_size(Some(config.max_message_size))
        .max_frame_size(Some(config.max_message_size.max(MAX_CONTROL_LEN)))
}

/// A Close frame with this code.
pub fn close_frame(code: CloseCode) -> CloseFrame {
    CloseFrame { code: (code as u16).into(), reason: Default::default() }
}

/// The reason to count for a tungstenite error, and the close code to send, if any.
pub fn closed_by(error: &Error) -> (Closed, Option<CloseCode>) {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => (Closed::Normal, None),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => (Closed::Eof, None),
        Error::Protocol(_) => (Closed::Protocol, Some(CloseCode::Protocol)),
        Error::Utf8(_) => (Closed::Protocol, Some(CloseCode::InvalidData)),
        Error::Io(error) if error.kind() == ErrorKind::QuotaExceeded => {
            (Closed::Overload, Some(CloseCode::TryAgainLater))
        }
        // Ours, for a peer that takes nothing. The kernel's, for one that has vanished, has a number.
        Error::Io(error) if error.kind() == ErrorKind::TimedOut && error.raw_os_error().is_none() => {
            (Closed::Idle, None)
        }
        Error::Capacity(CapacityError::MessageTooLong { .. }) => (Closed::Protocol, Some(CloseCode::TooBig)),
        _ => (Closed::Reset, None),
    }
}

/// What becomes of a connection that does not block, after a tungstenite error: the reason to count and the close code to send.
///
/// # Errors
/// What becomes of it where no Close frame is to be sent.
pub fn next_after(error: &Error) -> Result<(Closed, CloseCode), Next> {
    match (closed_by(error), error) {
        ((reason, Some(code)), _) => Ok((reason, code)),
        ((Closed::Normal, None), _) => Err(Next::Linger(Closed::Normal)),
        (_, Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Err(Next::Wait),
        ((reason, None), _) => Err(Next::Remove(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn what_becomes_of_a_connection_follows_from_the_error() {
        let io = |kind: ErrorKind| Error::Io(kind.into());
        for (error, next) in [
            (io(ErrorKind::WouldBlock), Err(Next::Wait)),
            (io(ErrorKind::BrokenPipe), Err(Next::Remove(Closed::Reset))),
            (io(ErrorKind::TimedOut), Err(Next::Remove(Closed::Idle))),
            (Error::Io(io::Error::from_raw_os_error(libc::ETIMEDOUT)), Err(Next::Remove(Closed::Reset))),
            (io(ErrorKind::QuotaExceeded), Ok((Closed::Overload, CloseCode::TryAgainLater))),
            (Error::ConnectionClosed, Err(Next::Linger(Closed::Normal))),
            (ProtocolError::ResetWithoutClosingHandshake.into(), Err(Next::Remove(Closed::Eof))),
            (ProtocolError::MaskedFrameFromServer.into(), Ok((Closed::Protocol, CloseCode::Protocol))),
        ] {
            assert_eq!(next_after(&error), next, "{error:?}");
        }
    }
}
