//! Between a proxy's TCP connection and the server's handshake: CONNECT, and its answer.

use super::connect::send_request;
use super::handshake::Answer;
use super::shard::Shard;
use super::slots::State;
use rustix::io::Errno;

impl Shard {
    /// Sends the first request: CONNECT, if there is a proxy. False: the socket is not connected yet, or must be writable
    /// for the TLS handshake, which then begins.
    ///
    /// # Errors
    /// The call that failed, and its error.
    pub(super) fn begin_tunnel(&mut self, index: u32) -> Result<bool, (&'static str, Errno)> {
        match &self.setup.tunnel {
            Some(tunnel) => send_request(&mut self.slots[index], &tunnel.request, State::Tunnelling),
            None if self.tls.is_some() => self.note_connected(index).map(|()| false),
            None => self.begin_upgrade(index),
        }
    }

    /// Checks the proxy's answer, and begins the handshake through its tunnel. Returns the length of the answer's head.
    /// `None`: more of it is to come, or the connection is lost.
    #[cold]
    pub(super) fn tunnel_answered(&mut self, index: u32, bytes: &[u8]) -> Option<usize> {
        let tunnel = self.setup.tunnel.clone().expect("only a proxy has this state");
        match tunnel.judge(bytes, self.outcome.failures.first.is_none()) {
            Answer::Partial => self.keep_for_later(index, bytes),
            Answer::Refused(class, why) => self.lost(index, class, || why.clone()),
            Answer::Accepted(head_len) if self.tls.is_some() => {
                self.begin_tls(index);
                // A TLS server does not send first, but what it sends is its own.
                if self.slots[index].state == State::Securing && head_len < bytes.len() {
                    let now_ns = self.now_ns();
                    self.received_tls(index, &mut bytes[head_len..].to_vec(), now_ns);
                }
            }
            Answer::Accepted(head_len) => match self.begin_upgrade(index) {
                Ok(true) => return Some(head_len),
                // A connected socket whose send buffer is almost empty takes any request.
                Ok(false) => self.lost_in(index, "send", Errno::NOBUFS),
                Err((_, error)) => self.lost_in(index, "send", error),
            },
        }
        None
    }
}
