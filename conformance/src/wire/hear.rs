//! What a peer hears.

use super::{End, Heard, Peer};
use crate::frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT, excerpt};
use rustix::event::PollFlags;
use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

impl Peer {
    /// What has arrived and was not heard.
    pub(super) fn unheard(&self) -> &[u8] {
        &self.inbox[self.heard..]
    }

    /// Takes what has arrived.
    pub(super) fn fill(&mut self) {
        if self.heard > self.inbox.len() / 2 {
            self.inbox.drain(..self.heard);
            self.heard = 0;
        }
        let mut chunk = [0; 64 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.end = Some(End::Eof),
            Ok(len) => self.inbox.extend_from_slice(&chunk[..len]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.end = Some(End::Reset),
        }
    }

    /// Whether the server has ended the connection, as far as is known now.
    pub fn has_ended(&mut self) -> bool {
        if !self.ready(PollFlags::IN, Duration::ZERO).is_empty() {
            self.fill();
        }
        self.end.is_some()
    }

    /// Waits for an answer, or for the end; returns whether it is an answer.
    pub fn has_answer(&mut self) -> bool {
        self.ready(PollFlags::IN, self.patience);
        self.fill();
        !self.unheard().is_empty()
    }

    /// Reads so many bytes at most, if there are any.
    pub fn sip(&mut self, most: usize) {
        let mut piece = vec![0; most];
        match self.stream.read(&mut piece) {
            Ok(0) => self.end = Some(End::Eof),
            Ok(len) => self.inbox.extend_from_slice(&piece[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.end = Some(End::Reset),
        }
    }

    /// Whether a whole message or control frame is there to be heard, or the end.
    pub fn has_news(&self) -> bool {
        let mut unheard = self.unheard();
        while let Ok(Some((frame, len))) = Frame::take(unheard) {
            if frame.fin {
                return true;
            }
            unheard = &unheard[len..];
        }
        self.end.is_some()
    }

    /// Waits for bytes or the end, until `deadline`.
    #[track_caller]
    pub(super) fn fill_by(&mut self, deadline: Instant, expected: &str) {
        let left = deadline.saturating_duration_since(Instant::now());
        if self.ready(PollFlags::IN, left).is_empty() && left.is_zero() {
            self.fail(expected, format!("nothing more; so far {}", excerpt(self.unheard())));
        }
        self.fill();
    }

    /// The next whole message or control frame, or the end.
    #[track_caller]
    pub fn hear(&mut self) -> Heard {
        loop {
            let frame = match self.hear_frame() {
                Heard::Frame(frame) => frame,
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
                    return Heard::Frame(frame);
                }
                (Some(_), _) => self.fail("a continuation of the message before it", frame),
                (None, _) => self.fail("the first fragment of a message", frame),
            }
            if let Some(message) = self.begun.take_if(|message| message.fin) {
                return Heard::Frame(message);
            }
        }
    }

    /// The next frame, or the end.
    #[track_caller]
    pub fn hear_frame(&mut self) -> Heard {
        let deadline = Instant::now() + self.patience;
        loop {
            match Frame::take(self.unheard()) {
                Err(mistake) => self.fail("a frame of a sound server", mistake),
                Ok(Some((frame, len))) => {
                    self.heard += len;
                    self.tell(format!("hears {frame}"));
                    return Heard::Frame(frame);
                }
                Ok(None) => {}
            }
            match self.end {
                Some(End::Eof) if !self.unheard().is_empty() => {
                    self.fail("whole frames", format!("{}, then the end", excerpt(self.unheard())))
                }
                Some(end) => return Heard::End(end),
                None => self.fill_by(deadline, "a frame, or the end of the connection"),
            }
        }
    }
}
