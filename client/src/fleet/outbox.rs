//! What a connection has to send once its socket takes more.

/// What a socket has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub bytes: Vec<u8>,
    pub written: usize,
    /// Messages of the open loop that have come due since.
    pub owed: u32,
}
