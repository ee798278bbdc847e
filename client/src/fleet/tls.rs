//! The TLS connections of a shard, by slot: a slot has no room for them.

use super::results::{TlsTimes, shard_times_ns};
use crate::tls::{Client, Stream};
use hdrhistogram::Histogram;
use rustls::Error;

/// What a shard needs for `wss://`.
pub(super) struct Tls {
    client: Client,
    connections: Vec<Option<Box<Secured>>>,
    /// Decrypted input and encrypted output. Empty between uses, and kept for their capacity.
    pub(super) plaintext: Vec<u8>,
    pub(super) records: Vec<u8>,
    /// Times of the phase.
    tcp: Histogram<u32>,
    tls: Histogram<u32>,
    upgrade: Histogram<u32>,
    resumed: u64,
}

/// One connection.
pub(super) struct Secured {
    pub(super) stream: Stream,
    /// When its socket was connected, and when the TLS handshake was over.
    connected_ns: u64,
    pub(super) secured_ns: u64,
}

impl Tls {
    pub(super) fn new(client: Client) -> Tls {
        Tls {
            client,
            connections: Vec::new(),
            plaintext: Vec::new(),
            records: Vec::new(),
            tcp: shard_times_ns(),
            tls: shard_times_ns(),
            upgrade: shard_times_ns(),
            resumed: 0,
        }
    }

    /// Adds a connection whose socket is connected, if it is not known yet. See [`Stream::new`] for the error.
    pub(super) fn connected(&mut self, index: u32, connected_ns: u64) -> Result<(), Error> {
        let index = index as usize;
        if self.connections.len() <= index {
            self.connections.resize_with(index + 1, || None);
        }
        if self.connections[index].is_some() {
            return Ok(());
        }
        let stream = Stream::new(&self.client)?;
        self.connections[index] = Some(Box::new(Secured { stream, connected_ns, secured_ns: 0 }));
        Ok(())
    }

    /// The connection in this slot, if its socket has been connected.
    pub(super) fn get(&mut self, index: u32) -> Option<&mut Secured> {
        self.connections.get_mut(index as usize)?.as_deref_mut()
    }

    pub(super) fn remove(&mut self, index: u32) {
        if let Some(connection) = self.connections.get_mut(index as usize) {
            *connection = None;
        }
    }

    /// A connection has another slot now.
    pub(super) fn moved(&mut self, from: u32, to: u32) {
        self.connections.swap(from as usize, to as usize);
    }

    /// Frees the memory of slots from `len` on.
    pub(super) fn shrink_to(&mut self, len: usize) {
        self.connections.truncate(len);
        self.connections.shrink_to_fit();
    }

    /// Records the times of a connection that began at `began_ns` and is open.
    pub(super) fn opened(&mut self, index: u32, began_ns: u64, now_ns: u64) {
        let Some(&mut Secured { ref stream, connected_ns, secured_ns }) = self.get(index) else { return };
        let is_resumed = stream.is_resumed();
        self.tcp.saturating_record(connected_ns.saturating_sub(began_ns));
        self.tls.saturating_record(secured_ns.saturating_sub(connected_ns));
        self.upgrade.saturating_record(now_ns.saturating_sub(secured_ns));
        self.resumed += u64::from(is_resumed);
    }

    /// Returns the times since the last call, and resets them; `None` without any.
    pub(super) fn take_times(&mut self) -> Option<TlsTimes> {
        if self.tls.is_empty() {
            return None;
        }
        let mut times = TlsTimes { resumed: std::mem::take(&mut self.resumed), ..TlsTimes::default() };
        for (sum, part) in [
            (&mut times.tcp, &mut self.tcp),
            (&mut times.tls, &mut self.tls),
            (&mut times.upgrade, &mut self.upgrade),
        ] {
            for bin in part.iter_recorded() {
                sum.saturating_record_n(bin.value_iterated_to(), bin.count_at_value().into());
            }
            part.reset();
        }
        Some(times)
    }
}
