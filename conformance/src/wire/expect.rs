//! Expectations: receive one specific thing, or panic with the history.

use super::{End, Peer, Received};
use crate::frame::{BINARY, CLOSE, Frame, PING, PONG, excerpt};
use crate::http::{Response, SAMPLE_ACCEPT};
use crate::wait::TIMEOUT;
use rustix::event::PollFlags;
use std::time::{Duration, Instant};

/// Frames.
impl Peer {
    /// Expects exactly this message or control frame.
    #[track_caller]
    pub fn expect(&mut self, expected: &Frame) {
        match self.receive() {
            Received::Frame(frame) if frame == *expected => {}
            other => self.fail(&expected.to_string(), other),
        }
    }

    /// Expects the echo of a message.
    #[track_caller]
    pub fn expect_echo(&mut self, sent: &Frame) {
        self.receive_echo(sent, false);
    }

    /// The same, and answers Pings before it.
    #[track_caller]
    pub fn expect_echo_among_pings(&mut self, sent: &Frame) {
        self.receive_echo(sent, true);
    }

    #[track_caller]
    fn receive_echo(&mut self, sent: &Frame, among_pings: bool) {
        let expected = format!("the echo of {sent}");
        let echo = loop {
            match self.receive() {
                Received::Frame(frame) if frame.opcode == sent.opcode => break frame.payload,
                Received::Frame(Frame { opcode: PING, payload, .. }) if among_pings => {
                    self.send_frame(&Frame::new(PONG, payload));
                }
                other => self.fail(&expected, other),
            }
        };
        if echo != sent.payload {
            let same = echo.iter().zip(&sent.payload).take_while(|(a, b)| a == b).count();
            self.fail(&expected, format!("{}, different from byte {same} on", excerpt(&echo)));
        }
    }

    /// Answers the Pings that have arrived. Expects nothing else to have arrived.
    #[track_caller]
    pub fn answer_pings(&mut self) {
        while !self.ready(PollFlags::IN, Duration::ZERO).is_empty() || !self.unparsed().is_empty() {
            match self.receive() {
                Received::Frame(Frame { opcode: PING, payload, .. }) => {
                    self.send_frame(&Frame::new(PONG, payload))
                }
                other => self.fail("a Ping, or nothing", other),
            }
        }
    }

    /// Performs the closing handshake like [`Peer::close`], and ignores Pings before the server's Close.
    #[track_caller]
    pub fn close_among_pings(mut self) {
        self.send_frame(&Frame::close(1000, ""));
        loop {
            match self.receive() {
                Received::Frame(Frame { opcode: PING, .. }) => {}
                Received::Frame(Frame { opcode: CLOSE, .. }) => break,
                other => self.fail("a Close", other),
            }
        }
        self.expect_fin();
    }

    /// Sends a message, and expects its echo.
    #[track_caller]
    pub fn round_trip(&mut self, message: &Frame) {
        self.send_frame(message);
        self.expect_echo(message);
    }

    /// Whether the server echoes a message in fragments while it arrives, instead of once it is complete.
    #[track_caller]
    pub fn streams_echoes(mut self) -> bool {
        self.send_frames(&[&Frame::new(BINARY, "a piece").without_fin(), &Frame::new(PING, "")]);
        let first = self.receive_frame();
        matches!(first, Received::Frame(Frame { opcode: BINARY, fin: false, .. }))
    }

    /// Expects a Pong with this payload.
    #[track_caller]
    pub fn expect_pong(&mut self, payload: impl AsRef<[u8]>) {
        self.expect(&Frame::new(PONG, payload));
    }

    /// Expects a Close with this code and any reason, then a FIN: the server closes the TCP connection first (RFC 6455,
    /// section 7.1.1).
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) {
        self.expect_close_of(&[code]);
    }

    /// The same with one of these codes.
    #[track_caller]
    pub fn expect_close_of(&mut self, codes: &[u16]) {
        self.expect_close_frame(codes);
        self.expect_fin();
    }

    /// Expects a Close with one of these codes.
    #[track_caller]
    pub fn expect_close_frame(&mut self, codes: &[u16]) {
        let expected = format!("a Close with code {codes:?}");
        match self.receive() {
            Received::Frame(Frame { opcode: CLOSE, payload, .. })
                if payload.len() >= 2
                    && codes.contains(&u16::from_be_bytes([payload[0], payload[1]]))
                    && str::from_utf8(&payload[2..]).is_ok() => {}
            other => self.fail(&expected, other),
        }
    }

    /// Expects a Close with this code, then a FIN, and ignores Pings before the Close.
    #[track_caller]
    pub fn expect_close_among_pings(&mut self, code: u16) {
        loop {
            match self.receive() {
                Received::Frame(Frame { opcode: PING, .. }) => {}
                Received::Frame(frame)
                    if frame.opcode == CLOSE && frame.payload.starts_with(&code.to_be_bytes()) =>
                {
                    return self.expect_fin();
                }
                other => self.fail(&format!("a Close with code {code}"), other),
            }
        }
    }

    /// Expects a FIN. A reset fails: it may discard what the server sent before.
    #[track_caller]
    pub fn expect_fin(&mut self) {
        match self.receive() {
            Received::End(End::Eof) => {}
            other => self.fail("the end of the connection (FIN)", other),
        }
    }

    /// Reads up to a FIN, without parsing what comes before it. A reset fails.
    #[track_caller]
    pub fn read_to_fin(&mut self) {
        let deadline = Instant::now() + TIMEOUT;
        while self.end.is_none() {
            self.fill_by(deadline, "the end of the connection (FIN)");
        }
        if self.end == Some(End::Reset) {
            self.fail("the end of the connection (FIN)", Received::End(End::Reset));
        }
    }
}

/// HTTP.
impl Peer {
    /// Receives a response head.
    #[track_caller]
    pub fn response_head(&mut self) -> Response {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match Response::parse_head(self.unparsed()) {
                Err(error) => self.fail("a valid response", error),
                Ok(Some((response, len))) => {
                    self.consumed += len;
                    self.log(format!("receives {response}"));
                    return response;
                }
                Ok(None) => {}
            }
            match self.end {
                Some(end) => self.fail("a response", Received::End(end)),
                None => self.fill_by(deadline, "a response"),
            }
        }
    }

    /// Expects that the sample handshake is accepted (RFC 6455, section 4.2.2), without an extension or a subprotocol.
    #[track_caller]
    pub fn expect_upgrade(&mut self) -> Response {
        let response = self.response_head();
        let right = response.status == 101
            && response.has("Upgrade", "websocket")
            && response.has("Connection", "Upgrade")
            && response.has("Sec-WebSocket-Accept", SAMPLE_ACCEPT)
            && response.field("Sec-WebSocket-Extensions").is_none()
            && response.field("Sec-WebSocket-Protocol").is_none();
        if !right {
            let expected = format!("101, Upgrade: websocket, Connection: Upgrade, accept {SAMPLE_ACCEPT}");
            self.fail(&expected, response);
        }
        response
    }

    /// Expects a plain response with a correct Content-Length, `Connection: close`, and then a FIN.
    #[track_caller]
    pub fn plain_response(&mut self) -> Response {
        let mut response = self.response_head();
        self.read_to_fin();
        response.body = String::from_utf8_lossy(self.unparsed()).into_owned();
        if !response.lists("Connection", "close") {
            self.fail("Connection: close", &response);
        }
        if !response.has("Content-Length", &self.unparsed().len().to_string()) {
            self.fail("a correct Content-Length", &response);
        }
        response
    }

    /// Receives the data of the next server-sent event (HTML Standard, section 9.2.5). Each comes in its own chunk.
    #[track_caller]
    pub fn event(&mut self) -> String {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            if let Some(len) = self.unparsed().windows(2).position(|two| two == b"\n\n") {
                let event = String::from_utf8_lossy(&self.unparsed()[..len]).into_owned();
                self.consumed += len + 2;
                self.log(format!("receives the event {event:?}"));
                match event.split_once("data: ") {
                    Some((_, data)) => return data.into(),
                    None => self.fail("an event with data", event),
                }
            }
            match self.end {
                Some(end) => self.fail("an event", Received::End(end)),
                None => self.fill_by(deadline, "an event"),
            }
        }
    }

    /// Expects the response to a HEAD request: a Content-Length, no content, then a FIN (RFC 9110, section 9.3.2).
    #[track_caller]
    pub fn response_to_head(&mut self) -> Response {
        let response = self.response_head();
        self.read_to_fin();
        if !self.unparsed().is_empty() {
            self.fail("no content", excerpt(self.unparsed()));
        }
        if response.field("Content-Length").is_none_or(|len| len.parse::<usize>().is_err()) {
            self.fail("a Content-Length", &response);
        }
        response
    }
}
