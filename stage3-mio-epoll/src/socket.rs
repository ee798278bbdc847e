//! A socket that knows its turn.

use common::meter::Meter;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

/// A non-blocking socket that is read for a turn. tungstenite reads until it would block; this says so after a short
/// read without asking the kernel again (epoll(7), question 9), and after so many reads, for the sake of the others.
pub struct Socket {
    stream: TcpStream,
    /// Set while the connection is open: what is read is charged to `--buffer-budget`.
    pub meter: Option<Meter>,
    /// Set when the peer has sent its last octet, so that the end is still to be read after a short read.
    pub eof: bool,
    reads_left: u16,
    drained: bool,
    /// Set while it has not taken all that there was to send.
    full: bool,
    heard: bool,
}

impl Socket {
    pub fn new(stream: TcpStream) -> Socket {
        Socket { stream, meter: None, eof: false, reads_left: 0, drained: true, full: false, heard: false }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Something can be read, so many times.
    pub fn begin_turn(&mut self, reads: u16) {
        self.reads_left = reads;
        self.drained = false;
        self.heard = false;
    }

    /// Whether anything came in this turn, or was taken of what waited.
    pub fn heard(&self) -> bool {
        self.heard
    }

    /// Whether there may be more to read, but not in this turn.
    pub fn turn_is_over(&self) -> bool {
        self.reads_left == 0 && !self.drained
    }

    /// Whether nothing is halfway: neither what the peer sends, nor what is sent to it.
    pub fn is_at_rest(&self) -> bool {
        !self.full && self.meter.as_ref().is_some_and(Meter::is_at_rest)
    }

    /// Sends all or fails.
    pub fn send_whole(&mut self, octets: &[u8]) -> io::Result<()> {
        if self.stream.write(octets)? < octets.len() { Err(ErrorKind::WriteZero.into()) } else { Ok(()) }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.drained || self.reads_left == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.reads_left -= 1;
        let result = self.stream.read(buffer);
        self.heard |= matches!(result, Ok(1..));
        self.drained = match &result {
            Ok(len) => *len < buffer.len() && !self.eof,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        if let (Ok(len), Some(meter)) = (&result, &mut self.meter) {
            meter.read(&buffer[..*len])?;
        }
        result
    }
}

impl Write for Socket {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let result = self.stream.write(octets);
        self.heard |= self.full && matches!(result, Ok(1..));
        self.full = !matches!(&result, Ok(len) if *len == octets.len());
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
