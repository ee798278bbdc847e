//! The records of one connection: what the socket has received goes in, what to send comes out.
//!
//! rustls's unbuffered connection works in the buffers of its caller, so an idle connection has none. Its buffered one
//! keeps a read buffer of 4 KiB from the first byte on.

use super::Client;
use super::fault::{answered_without_tls, explain};
use rustls::client::UnbufferedClientConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError};
use rustls::{Error, HandshakeKind};

/// What a record can add to its plaintext (RFC 8446, section 5.2; RFC 5246, section 6.2.3, with an explicit nonce).
const RECORD_OVERHEAD: usize = 32;
/// The most plaintext of a record.
const MAX_RECORD_LEN: usize = 16 * 1024;

/// One connection, as its client.
pub struct Stream {
    tls: UnbufferedClientConnection,
    /// The beginning of a record whose end has not arrived.
    begun: Vec<u8>,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The handshake needs more of the server's records.
    Handshaking,
    /// Plaintext can be sent.
    Open,
    /// The server has sent close_notify: no plaintext will follow.
    Closed,
}

impl Stream {
    /// A connection that has not sent anything. The first [`receive`](Stream::receive), of nothing, begins it.
    ///
    /// # Errors
    /// Without random bytes from the system.
    pub fn new(client: &Client) -> Result<Stream, Error> {
        let tls = UnbufferedClientConnection::new(client.config.clone(), client.name.clone())?;
        Ok(Stream { tls, begun: Vec::new() })
    }

    /// Handles received bytes, which may begin and end anywhere in a record, and are decrypted in place. Appends what
    /// they contain to `plaintext`, and the answers of the handshake to `records`, which are to be sent even if this
    /// fails: they have the alert then.
    ///
    /// # Errors
    /// What the server did wrong, or the alert that it sent.
    pub fn receive(
        &mut self,
        bytes: &mut [u8],
        plaintext: &mut Vec<u8>,
        records: &mut Vec<u8>,
    ) -> Result<Status, Error> {
        if self.begun.is_empty() {
            let (len, status) = drive(&mut self.tls, bytes, plaintext, &[], records);
            self.begun.extend_from_slice(&bytes[len..]);
            return status;
        }
        let mut begun = std::mem::take(&mut self.begun);
        begun.extend_from_slice(bytes);
        let (len, status) = drive(&mut self.tls, &mut begun, plaintext, &[], records);
        begun.drain(..len);
        if !begun.is_empty() {
            self.begun = begun;
        }
        status
    }

    /// Encrypts plaintext on an open connection, and appends its records to `records`.
    ///
    /// # Errors
    /// Where the keys of TLS 1.2 are exhausted.
    pub fn send(&mut self, plaintext: &[u8], records: &mut Vec<u8>) -> Result<(), Error> {
        let mut none = Vec::new();
        // The beginning of a record stays where it is: the connection remembers how far it has looked.
        let (len, status) = drive(&mut self.tls, &mut self.begun, &mut none, plaintext, records);
        self.begun.drain(..len);
        status.map(drop)
    }

    /// Appends close_notify to `records` (RFC 8446, section 6.1), if the handshake is over.
    pub fn close(&mut self, records: &mut Vec<u8>) {
        if let Ok(ConnectionState::WriteTraffic(mut open)) =
            self.tls.process_tls_records(&mut self.begun).state
        {
            // Fails only if the keys are exhausted: the connection ends anyway.
            let _ = grow(records, 0, |space| open.queue_close_notify(space));
        }
    }

    /// What is wrong, in one line, after this error.
    pub fn explain(&self, error: &Error) -> String {
        let without_tls = match error {
            Error::InvalidMessage(_) if self.tls.is_handshaking() => answered_without_tls(&self.begun),
            _ => None,
        };
        without_tls.unwrap_or_else(|| explain(error))
    }

    /// Whether the handshake has resumed an earlier session.
    pub fn is_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

/// Has a connection do what it can with `input`; once it is open, encrypts `message`. Returns the bytes of input used up.
fn drive(
    tls: &mut UnbufferedClientConnection,
    input: &mut [u8],
    plaintext: &mut Vec<u8>,
    message: &[u8],
    records: &mut Vec<u8>,
) -> (usize, Result<Status, Error>) {
    let (mut used, mut is_closed) = (0, false);
    loop {
        let status = tls.process_tls_records(&mut input[used..]);
        let mut len = status.discard;
        let over = match status.state {
            Err(error) => {
                alert(tls, &mut input[used + len..], records);
                Some(Err(error))
            }
            Ok(ConnectionState::ReadTraffic(mut received)) => {
                while let Some(Ok(record)) = received.next_record() {
                    len += record.discard;
                    plaintext.extend_from_slice(record.payload);
                }
                None
            }
            Ok(ConnectionState::EncodeTlsData(mut encoder)) => {
                let encoded = grow(records, 0, |space| encoder.encode(space));
                encoded.err().map(|error| Err(Error::General(error.to_string())))
            }
            Ok(ConnectionState::TransmitTlsData(encoded)) => {
                encoded.done();
                None
            }
            Ok(ConnectionState::PeerClosed) => {
                is_closed = true;
                None
            }
            Ok(ConnectionState::WriteTraffic(mut open)) => {
                let encrypted = match message {
                    [] => Ok(()),
                    _ => grow(records, sealed_len(message.len()), |space| open.encrypt(message, space)),
                };
                Some(encrypted.map(|()| Status::Open).map_err(|error| Error::General(error.to_string())))
            }
            // A client has no early data to read, and other states are over.
            Ok(_) => Some(Ok(Status::Handshaking)),
        };
        used += len;
        if let Some(status) = over {
            return (used, status.map(|status| if is_closed { Status::Closed } else { status }));
        }
    }
}

/// Appends the alert of a connection that has failed.
fn alert(tls: &mut UnbufferedClientConnection, input: &mut [u8], records: &mut Vec<u8>) {
    if let Ok(ConnectionState::EncodeTlsData(mut encoder)) = tls.process_tls_records(input).state {
        let _ = grow(records, 0, |space| encoder.encode(space));
    }
}

/// The most bytes that this much plaintext takes in records.
fn sealed_len(len: usize) -> usize {
    len + (len / MAX_RECORD_LEN + 1) * RECORD_OVERHEAD
}

/// Why a buffer was not written to.
trait TooSmall: Sized {
    /// The size that suffices, if the size was the reason.
    fn required(&self) -> Option<usize>;
}

impl TooSmall for EncodeError {
    fn required(&self) -> Option<usize> {
        match self {
            EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => Some(*required_size),
            EncodeError::AlreadyEncoded => None,
        }
    }
}

impl TooSmall for EncryptError {
    fn required(&self) -> Option<usize> {
        match self {
            EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => Some(*required_size),
            EncryptError::EncryptExhausted => None,
        }
    }
}

/// Appends what `write` writes: first to `len` bytes, then to as many as it requires.
fn grow<E: TooSmall>(
    records: &mut Vec<u8>,
    len: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Result<(), E> {
    let start = records.len();
    let mut space = len;
    loop {
        records.resize(start + space, 0);
        match write(&mut records[start..]) {
            Ok(written) => {
                records.truncate(start + written);
                return Ok(());
            }
            Err(error) => match error.required() {
                Some(required) if required > space => space = required,
                _ => {
                    records.truncate(start);
                    return Err(error);
                }
            },
        }
    }
}
