//! A socket with a read quantum.

use common::meter::Meter;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

/// A `Read`/`Write` adapter that reports `WouldBlock` once its read quantum is spent. tungstenite reads until it would block;
/// this reports it after a short read without another system call (epoll(7), question 9), and after `reads_left` reads, so
/// that other connections are served.
pub struct Socket {
    pub stream: TcpStream,
    /// Set while the connection is open: charges its input to `--buffer-budget`.
    pub meter: Option<Meter>,
    /// Whether bytes were received in this time slice, or unsent output was written.
    pub progressed: bool,
    /// Calls of read(2) that are left of the quantum; 0: there may be more input, for another time slice. `None`: no input is
    /// left until the next event.
    pub reads_left: Option<u16>,
    /// The peer has half-closed, so after a short read the end of file follows.
    eof: bool,
    /// The last write was short: the send buffer is full.
    full: bool,
}

impl Socket {
    pub fn new(stream: TcpStream) -> Socket {
        Socket { stream, meter: None, progressed: false, reads_left: None, eof: false, full: false }
    }

    /// Allows `reads` calls of read(2). `eof`: the peer has half-closed.
    pub fn begin_slice(&mut self, reads: u16, eof: bool) {
        self.eof |= eof;
        self.reads_left = Some(reads);
        self.progressed = false;
    }

    /// Whether it is at a message boundary in both directions.
    pub fn is_at_boundary(&self) -> bool {
        !self.full && self.meter.as_ref().is_some_and(Meter::is_at_message_boundary)
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(reads @ 1..) = self.reads_left else { return Err(ErrorKind::WouldBlock.into()) };
        let result = self.stream.read(buffer);
        self.progressed |= matches!(result, Ok(1..));
        let is_exhausted = match &result {
            Ok(len) => *len < buffer.len() && !self.eof,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        self.reads_left = (!is_exhausted).then_some(reads - 1);
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
