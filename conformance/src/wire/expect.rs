//! What a peer expects to hear.

use super::{End, Heard, Peer};
use crate::frame::{BINARY, CLOSE, Frame, PING, PONG, excerpt};
use crate::http::{Response, SAMPLE_ACCEPT};
use crate::wait::PATIENCE;
use rustix::event::PollFlags;
use std::time::{Duration, Instant};

/// Frames.
impl Peer {
    /// Hears exactly this message or control frame.
    #[track_caller]
    pub fn expect(&mut self, expected: &Frame) {
        match self.hear() {
            Heard::Frame(frame) if frame == *expected => {}
            other => self.fail(&expected.to_string(), other),
        }
    }

    /// Hears the echo of a message.
    #[track_caller]
    pub fn expect_echo(&mut self, sent: &Frame) {
        self.hear_echo(sent, false);
    }

    /// The same, among Pings that are answered.
    #[track_caller]
    pub fn expect_echo_among_pings(&mut self, sent: &Frame) {
        self.hear_echo(sent, true);
    }

    #[track_caller]
    fn hear_echo(&mut self, sent: &Frame, among_pings: bool) {
        let expected = format!("the echo of {sent}");
        let echo = loop {
            match self.hear() {
                Heard::Frame(frame) if frame.opcode == sent.opcode => break frame.payload,
                Heard::Frame(Frame { opcode: PING, payload, .. }) if among_pings => {
                    self.say(&Frame::new(PONG, payload));
                }
                other => self.fail(&expected, other),
            }
        };
        if echo != sent.payload {
            let same = echo.iter().zip(&sent.payload).take_while(|(a, b)| a == b).count();
            self.fail(&expected, format!("{}, other from byte {same} on", excerpt(&echo)));
        }
    }

    /// Answers the Pings that have come. Nothing else may have.
    #[track_caller]
    pub fn answer_pings(&mut self) {
        while !self.ready(PollFlags::IN, Duration::ZERO).is_empty() || !self.unheard().is_empty() {
            match self.hear() {
                Heard::Frame(Frame { opcode: PING, payload, .. }) => self.say(&Frame::new(PONG, payload)),
                other => self.fail("a Ping, or nothing", other),
            }
        }
    }

    /// Closes with the closing handshake, as [`Peer::close`] does; a Ping may still be on its way.
    #[track_caller]
    pub fn leave(mut self) {
        self.say(&Frame::close(1000, ""));
        loop {
            match self.hear() {
                Heard::Frame(Frame { opcode: PING, .. }) => {}
                Heard::Frame(Frame { opcode: CLOSE, .. }) => break,
                other => self.fail("a Close", other),
            }
        }
        self.expect_end();
    }

    /// Sends a message and hears its echo.
    #[track_caller]
    pub fn expect_echoes(&mut self, message: &Frame) {
        self.say(message);
        self.expect_echo(message);
    }

    /// Whether this server answers a message in fragments while it arrives. Others gather it first.
    #[track_caller]
    pub fn answers_in_pieces(mut self) -> bool {
        self.say_all(&[&Frame::new(BINARY, "a piece").more(), &Frame::new(PING, "")]);
        let first = self.hear_frame();
        matches!(first, Heard::Frame(Frame { opcode: BINARY, fin: false, .. }))
    }

    /// Hears a Pong with this payload.
    #[track_caller]
    pub fn expect_pong(&mut self, payload: impl AsRef<[u8]>) {
        self.expect(&Frame::new(PONG, payload));
    }

    /// Hears a Close with this code, whatever its reason, and then the end: a server is the one to close the TCP
    /// connection (RFC 6455, section 7.1.1).
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) {
        self.expect_close_of(&[code]);
    }

    /// The same with a choice of codes.
    #[track_caller]
    pub fn expect_close_of(&mut self, codes: &[u16]) {
        self.expect_close_frame(codes);
        self.expect_end();
    }

    /// Hears a Close with one of these codes.
    #[track_caller]
    pub fn expect_close_frame(&mut self, codes: &[u16]) {
        let expected = format!("a Close with code {codes:?}");
        match self.hear() {
            Heard::Frame(Frame { opcode: CLOSE, payload, .. })
                if payload.len() >= 2
                    && codes.contains(&u16::from_be_bytes([payload[0], payload[1]]))
                    && str::from_utf8(&payload[2..]).is_ok() => {}
            other => self.fail(&expected, other),
        }
    }

    /// Hears a Close with this code and the end, and Pings before.
    #[track_caller]
    pub fn expect_close_among_pings(&mut self, code: u16) {
        loop {
            match self.hear() {
                Heard::Frame(Frame { opcode: PING, .. }) => {}
                Heard::Frame(frame)
                    if frame.opcode == CLOSE && frame.payload.starts_with(&code.to_be_bytes()) =>
                {
                    return self.expect_end();
                }
                other => self.fail(&format!("a Close with code {code}"), other),
            }
        }
    }

    /// Hears the end of the connection, and that it is no reset, which may destroy what was sent before it.
    #[track_caller]
    pub fn expect_end(&mut self) {
        match self.hear() {
            Heard::End(End::Eof) => {}
            other => self.fail("the end of the connection (FIN)", other),
        }
    }

    /// Hears the end, whatever comes before it.
    #[track_caller]
    pub fn expect_end_at_last(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.end.is_none() {
            self.fill_by(deadline, "the end of the connection");
        }
        if self.end == Some(End::Reset) {
            self.fail("the end of the connection (FIN)", "a connection reset");
        }
    }
}

/// HTTP.
impl Peer {
    /// Hears a response's head.
    #[track_caller]
    pub fn response_head(&mut self) -> Response {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Response::take_head(self.unheard()) {
                Err(mistake) => self.fail("a sound response", mistake),
                Ok(Some((response, len))) => {
                    self.heard += len;
                    self.tell(format!("hears {response}"));
                    return response;
                }
                Ok(None) => {}
            }
            match self.end {
                Some(end) => self.fail("a response", Heard::End(end)),
                None => self.fill_by(deadline, "a response"),
            }
        }
    }

    /// Hears that the sample handshake was accepted (RFC 6455, section 4.2.2), with nothing it did not ask for.
    #[track_caller]
    pub fn upgraded(&mut self) -> Response {
        let response = self.response_head();
        let right = response.status == 101
            && response.says("Upgrade", "websocket")
            && response.says("Connection", "Upgrade")
            && response.says("Sec-WebSocket-Accept", SAMPLE_ACCEPT)
            && response.field("Sec-WebSocket-Extensions").is_none()
            && response.field("Sec-WebSocket-Protocol").is_none();
        if !right {
            let expected = format!("101, Upgrade: websocket, Connection: Upgrade, accept {SAMPLE_ACCEPT}");
            self.fail(&expected, response);
        }
        response
    }

    /// Hears a response that is no upgrade: as long as it says, and the last one on this connection.
    #[track_caller]
    pub fn plain_response(&mut self) -> Response {
        let mut response = self.response_head();
        self.expect_end_at_last();
        response.body = String::from_utf8_lossy(self.unheard()).into_owned();
        if !response.lists("Connection", "close") {
            self.fail("Connection: close", &response);
        }
        if !response.says("Content-Length", &self.unheard().len().to_string()) {
            self.fail("a Content-Length that is right", &response);
        }
        response
    }

    /// Hears the data of the next server-sent event (HTML, section 9.2.5), each of which comes in a chunk of its own.
    #[track_caller]
    pub fn event(&mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(len) = self.unheard().windows(2).position(|two| two == b"\n\n") {
                let event = String::from_utf8_lossy(&self.unheard()[..len]).into_owned();
                self.heard += len + 2;
                self.tell(format!("hears the event {event:?}"));
                match event.split_once("data: ") {
                    Some((_, data)) => return data.into(),
                    None => self.fail("an event with data", event),
                }
            }
            match self.end {
                Some(end) => self.fail("an event", Heard::End(end)),
                None => self.fill_by(deadline, "an event"),
            }
        }
    }

    /// Hears the response to a HEAD: a Content-Length, and no content (RFC 9110, section 9.3.2).
    #[track_caller]
    pub fn response_to_head(&mut self) -> Response {
        let response = self.response_head();
        self.expect_end_at_last();
        if !self.unheard().is_empty() {
            self.fail("no content", excerpt(self.unheard()));
        }
        if response.field("Content-Length").is_none_or(|len| len.parse::<usize>().is_err()) {
            self.fail("a Content-Length", &response);
        }
        response
    }
}
