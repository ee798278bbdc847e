//! A blocking socket that can be interrupted.
//!
//! A thread in read(2) notices nothing else: no drain, no timeout. So it waits in poll(2), for its socket and for the
//! drain's eventfd, and then reads without blocking.

use common::meter::Meter;
use common::shutdown::{Shutdown, Slot};
use common::untaken::Stall;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A socket that blocks, as far as its thread can tell.
pub struct Socket {
    stream: Arc<TcpStream>,
    shutdown: Shutdown,
    slot: Slot,
    /// Set once the connection is open: what is read is charged to `--buffer-budget`.
    pub meter: Option<Meter>,
    /// When to stop waiting for input. `None`: never.
    pub read_by: Option<Instant>,
    /// How long to wait for a peer that acknowledges nothing. `None`: for ever.
    pub write_timeout: Option<Duration>,
    /// Whether the drain interrupts a read.
    pub heeds_drain: bool,
}

impl Socket {
    pub fn new(stream: Arc<TcpStream>, shutdown: Shutdown) -> Socket {
        Socket {
            stream,
            shutdown,
            slot: Slot::default(),
            meter: None,
            read_by: None,
            write_timeout: None,
            heeds_drain: true,
        }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Waits until the socket is readable.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] at the deadline, [`ErrorKind::WouldBlock`] when the drain closes the connection and no
    /// input is pending; after both, reading can go on.
    fn wait_readable(&mut self) -> io::Result<()> {
        let fds = [self.stream.as_fd(), self.shutdown.as_fd()];
        let mut fds = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        if !self.heeds_drain {
            return wait(&mut fds[..1], self.read_by);
        }
        if !self.shutdown.begun() {
            wait(&mut fds, self.read_by)?;
        }
        let is_open = self.meter.is_some();
        let Some(until) = self.slot.until(&self.shutdown, is_open, self.read_by) else { return Ok(()) };
        self.slot.end(wait(&mut fds[..1], Some(until)))
    }

    /// Waits until the socket is writable.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] where the peer acknowledges nothing within [`Socket::write_timeout`].
    fn wait_writable(&self) -> io::Result<()> {
        let mut stall = self.write_timeout.map(Stall::begin);
        let mut fds = [PollFd::from_borrowed_fd(self.stream.as_fd(), PollFlags::OUT)];
        loop {
            match (wait(&mut fds, stall.as_ref().map(Stall::next_look)), &mut stall) {
                (Err(error), Some(stall)) if error.kind() == ErrorKind::TimedOut => {
                    stall.look(self.stream.as_raw_fd())?;
                }
                (result, _) => return result,
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait_readable()?;
        let len = (&*self.stream).read(buffer)?;
        if let Some(meter) = &mut self.meter {
            meter.read(&buffer[..len])?;
        }
        Ok(len)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match (&*self.stream).write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait_writable()?,
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// poll(2), until one is ready.
fn wait(fds: &mut [PollFd<'_>], until: Option<Instant>) -> io::Result<()> {
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left =
            left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        match poll(fds, left.as_ref()) {
            Ok(0) => return Err(ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
