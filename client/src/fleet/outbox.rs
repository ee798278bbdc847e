//! Unsent output of a connection.

/// Output that the socket could not take at once.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub bytes: Vec<u8>,
    /// How many of the bytes are sent.
    pub written: usize,
    /// Messages of the open loop that fell due in the meantime.
    pub owed: u32,
}
