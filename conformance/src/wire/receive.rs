//! Receiving: bytes, frames, and reassembled messages.

use super::{End, Peer, Received};
use crate::frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT, excerpt};
use rustix::event::PollFlags;
use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

impl Peer {
    /// Received bytes that are not parsed yet.
    pub(super) fn unparsed(&self) -> &[u8] {
        &self.inbox[self.consumed..]
    }

    /// Reads once, without blocking.
    pub(super) fn fill(&mut self) {
        if self.consumed > self.inbox.len() / 2 {
            self.inbox.drain(..self.consumed);
            self.consumed = 0;
        }
        let mut chunk = [0; 64 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.end = Some(End::Eof),
            Ok(len) => self.inbox.extend_from_slice(&chunk[..len]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.end = Some(End::Reset),
        }
    }

    /// Whether the connection's end has arrived. Does not block.
    pub fn has_ended(&mut self) -> bool {
        if !self.ready(PollFlags::IN, Duration::ZERO).is_empty() {
            self.fill();
        }
        self.end.is_some()
    }

    /// Waits for bytes or for the end of the connection. Returns whether bytes arrived.
    pub fn await_response(&mut self) -> bool {
        self.ready(PollFlags::IN, self.timeout);
        self.fill();
        !self.unparsed().is_empty()
    }

    /// Reads at most `max_len` bytes, without blocking.
    pub fn read_some(&mut self, max_len: usize) {
        let mut piece = vec![0; max_len];
        match self.stream.read(&mut piece) {
            Ok(0) => self.end = Some(End::Eof),
            Ok(len) => self.inbox.extend_from_slice(&piece[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.end = Some(End::Reset),
        }
    }

    /// Whether a whole message, a control frame, or the end of the connection has been read.
    pub fn has_message(&self) -> bool {
        let mut rest = self.unparsed();
        while let Ok(Some((frame, len))) = Frame::parse(rest) {
            if frame.fin {
                return true;
            }
            rest = &rest[len..];
        }
        self.end.is_some()
    }

    /// Waits for bytes or for the end of the connection, until `deadline`.
    ///
    /// # Panics
    /// After the deadline, with `expected`.
    #[track_caller]
    pub(super) fn fill_by(&mut self, deadline: Instant, expected: &str) {
        let left = deadline.saturating_duration_since(Instant::now());
        if self.ready(PollFlags::IN, left).is_empty() && left.is_zero() {
            self.fail(expected, format!("a timeout, after {}", excerpt(self.unparsed())));
        }
        self.fill();
    }

    /// Receives a whole message, a control frame, or the end of the connection.
    #[track_caller]
    pub fn receive(&mut self) -> Received {
        loop {
            let frame = match self.receive_frame() {
                Received::Frame(frame) => frame,
                end => return end,
            };
            match (self.begun.take(), frame.opcode) {
                (Some(mut message), CONTINUATION) => {
                    message.payload.extend_from_slice(&frame.payload);
                    message.fin = frame.fin;
                    self.begun = Some(message);
                }
                (None, TEXT | BINARY) => self.begun = Some(frame),
                (begun, CLOSE | PING | PONG) => {
                    self.begun = begun;
                    return Received::Frame(frame);
                }
                (Some(_), _) => self.fail("a continuation frame", frame),
                (None, _) => self.fail("the first frame of a message", frame),
            }
            if let Some(message) = self.begun.take_if(|message| message.fin) {
                return Received::Frame(message);
            }
        }
    }

    /// Receives a frame, or the end of the connection.
    #[track_caller]
    pub fn receive_frame(&mut self) -> Received {
        let deadline = Instant::now() + self.timeout;
        loop {
            match Frame::parse(self.unparsed()) {
                Err(error) => self.fail("a valid frame", error),
                Ok(Some((frame, len))) => {
                    self.consumed += len;
                    self.log(format!("receives {frame}"));
                    return Received::Frame(frame);
                }
                Ok(None) => {}
            }
            match self.end {
                Some(End::Eof) if !self.unparsed().is_empty() => {
                    self.fail("whole frames", format!("{}, then a FIN", excerpt(self.unparsed())))
                }
                Some(end) => return Received::End(end),
                None => self.fill_by(deadline, "a frame, or the end of the connection"),
            }
        }
    }
}
