//! TLS between the sockets of a shard and its frames. With `ws://` none of this runs.

use super::class::Class;
use super::shard::Shard;
use super::slots::{CLOSE_SEEN, State};
use crate::tls::{Status, explain};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use rustls::Error;
use std::mem;

const OVER_TLS: &str = "the connections are over TLS";

impl Shard {
    /// Notes when a socket was connected, if it is by now: sending nothing then succeeds.
    ///
    /// # Errors
    /// The call that failed, and its error.
    pub(super) fn note_connected(&mut self, index: u32) -> Result<(), (&'static str, Errno)> {
        match send(self.slots[index].socket(), &[], SendFlags::NOSIGNAL) {
            Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(("connect", error)),
            Ok(_) => {
                let now_ns = self.now_ns();
                // A failure recurs where the handshake starts.
                let _ = self.tls.as_mut().expect(OVER_TLS).connected(index, now_ns);
                Ok(())
            }
        }
    }

    /// The socket is connected, or the tunnel open: starts the TLS handshake.
    pub(super) fn begin_tls(&mut self, index: u32) {
        let now_ns = self.now_ns();
        self.slots[index].state = State::Securing;
        match self.tls.as_mut().expect(OVER_TLS).connected(index, now_ns) {
            Ok(()) => self.received_tls(index, &mut [], now_ns),
            Err(error) => self.lost(index, Class::Tls, || explain(&error)),
        }
    }

    /// Handles received bytes, which may begin and end anywhere in a record. They are decrypted in place.
    #[inline(never)]
    pub(super) fn received_tls(&mut self, index: u32, bytes: &mut [u8], now_ns: u64) {
        if self.slots[index].state == State::Tunnelling {
            return self.received(index, bytes, now_ns);
        }
        let tls = self.tls.as_mut().expect(OVER_TLS);
        let mut plaintext = mem::take(&mut tls.plaintext);
        let mut records = mem::take(&mut tls.records);
        let stream = &mut tls.get(index).expect("its socket is connected").stream;
        let mut status = stream.receive(bytes, &mut plaintext, &mut records);
        if status == Ok(Status::Open) && self.slots[index].state == State::Securing {
            status = self.secured(index, &mut records);
        }
        match status {
            Ok(_) if records.is_empty() => {}
            Ok(_) => drop(self.send_or_keep(index, &records)),
            // An alert, to a server that may have closed the connection.
            Err(_) => drop(self.send_now(index, &records)),
        }
        records.clear();
        self.tls.as_mut().expect(OVER_TLS).records = records;
        if !plaintext.is_empty() && self.slots[index].state != State::Free {
            self.received(index, &plaintext, now_ns);
        }
        plaintext.clear();
        self.tls.as_mut().expect(OVER_TLS).plaintext = plaintext;
        match status {
            _ if self.slots[index].state == State::Free => {}
            Ok(Status::Handshaking | Status::Open) => {}
            Ok(Status::Closed) => self.closed_tls(index),
            Err(error) => self.failed_tls(index, &error),
        }
    }

    /// The TLS handshake is over: the request of the opening handshake follows in the same segment.
    fn secured(&mut self, index: u32, records: &mut Vec<u8>) -> Result<Status, Error> {
        let now_ns = self.now_ns();
        let secured = self.tls.as_mut().expect(OVER_TLS).get(index).expect("its handshake is over");
        secured.secured_ns = now_ns;
        self.slots[index].state = State::Upgrading;
        secured.stream.send(&self.setup.handshake.request, records).map(|()| Status::Open)
    }

    /// Encrypts and sends a frame. False: the connection is lost.
    #[inline(never)]
    pub(super) fn send_tls(&mut self, index: u32, frame: &[u8]) -> bool {
        let tls = self.tls.as_mut().expect(OVER_TLS);
        let mut records = mem::take(&mut tls.records);
        let sealed = tls.get(index).expect("the connection is open").stream.send(frame, &mut records);
        let sent = match sealed {
            Ok(()) => self.send_or_keep(index, &records),
            Err(error) => {
                self.failed_tls(index, &error);
                false
            }
        };
        records.clear();
        self.tls.as_mut().expect(OVER_TLS).records = records;
        sent
    }

    /// The server has sent close_notify, and will not send more. It is answered (RFC 5246, section 7.2.1).
    #[cold]
    fn closed_tls(&mut self, index: u32) {
        let mut records = Vec::new();
        if let Some(secured) = self.tls.as_mut().expect(OVER_TLS).get(index) {
            secured.stream.close(&mut records);
        }
        // The server may have closed the socket too.
        let _ = self.send_now(index, &records);
        // After a Close frame the server closes the socket first: see `ended`.
        if self.slots[index].state != State::Closing {
            self.ended(index);
        }
    }

    #[cold]
    fn failed_tls(&mut self, index: u32, error: &Error) {
        if self.slots[index].has(CLOSE_SEEN) {
            return self.ended(index);
        }
        if !self.refused_so_far(index) {
            let secured = self.tls.as_mut().expect(OVER_TLS).get(index);
            let why = secured.map_or_else(|| explain(error), |secured| secured.stream.explain(error));
            self.lost(index, Class::Tls, || why.clone());
        }
    }
}
