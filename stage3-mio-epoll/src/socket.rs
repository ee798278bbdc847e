//! A socket with a read quantum.

use common::meter::Meter;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

/// A `Read`/`Write` adapter that reports `WouldBlock` once its read quantum is spent. tungstenite reads until it would block;
/// this reports it after a short read without another system call (epoll(7), question 9), and after `reads_left` reads, so
/// that other connections are served.
pub struct Socket {
    stream: TcpStream,
    /// Set while the connection is open: charges its input to `--buffer-budget`.
    pub meter: Option<Meter>,
    /// The peer has half-closed, so after a short read the end of file follows.
    eof: bool,
    reads_left: u16,
    /// No input is left until the next event.
    exhausted: bool,
    /// The last write was short: the send buffer is full.
    full: bool,
    progressed: bool,
}

impl Socket {
    pub fn new(stream: TcpStream) -> Socket {
        Socket {
            stream,
            meter: None,
            eof: false,
            reads_left: 0,
            exhausted: true,
            full: false,
            progressed: false,
        }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Allows `reads` calls of read(2). `eof`: the peer has half-closed.
    pub fn begin_slice(&mut self, reads: u16, eof: bool) {
        self.eof |= eof;
        self.reads_left = reads;
        self.exhausted = false;
        self.progressed = false;
    }

    /// Whether bytes were received in this time slice, or unsent output was written.
    pub fn progressed(&self) -> bool {
        self.progressed
    }

    /// Whether there may be more input, for another time slice.
    pub fn quantum_is_spent(&self) -> bool {
        self.reads_left == 0 && !self.exhausted
    }

    /// Whether it is at a message boundary in both directions.
    pub fn is_at_boundary(&self) -> bool {
        !self.full && self.meter.as_ref().is_some_and(Meter::is_at_message_boundary)
    }

    /// Sends all or fails.
    pub fn send_whole(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.stream.write(bytes)? < bytes.len() { Err(ErrorKind::WriteZero.into()) } else { Ok(()) }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.exhausted || self.reads_left == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.reads_left -= 1;
        let result = self.stream.read(buffer);
        self.progressed |= matches!(result, Ok(1..));
        self.exhausted = match &result {
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
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.stream.write(bytes);
        self.progressed |= self.full && matches!(result, Ok(1..));
        self.full = !matches!(&result, Ok(len) if *len == bytes.len());
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
