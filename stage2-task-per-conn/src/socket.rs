//! A socket that is metered, and times out when its peer acknowledges nothing.

use common::meter::Meter;
use common::untaken::Stall;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep_until};

/// The socket of an open connection. What is read from it is charged to `--buffer-budget`.
pub struct Socket {
    stream: TcpStream,
    meter: Meter,
    /// How long to wait for a peer that acknowledges nothing. `None`: for ever.
    pub write_timeout: Option<Duration>,
    /// Set while output waits for that.
    stalled: Option<Box<Stalled>>,
}

struct Stalled {
    stall: Stall,
    timer: Pin<Box<Sleep>>,
}

impl Socket {
    pub fn new(stream: TcpStream, meter: Meter, write_timeout: Option<Duration>) -> Socket {
        Socket { stream, meter, write_timeout, stalled: None }
    }

    pub fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    pub fn into_stream(self) -> TcpStream {
        self.stream
    }
}

impl Socket {
    /// Ready when the peer has acknowledged nothing for too long.
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(limit) = self.write_timeout else { return Poll::Pending };
        let Stalled { stall, timer } = &mut **self.stalled.get_or_insert_with(|| {
            let stall = Stall::begin(limit);
            Box::new(Stalled { timer: Box::pin(sleep_until(stall.next_look().into())), stall })
        });
        loop {
            ready!(timer.as_mut().poll(cx));
            if let Err(error) = stall.look(self.stream.as_raw_fd()) {
                return Poll::Ready(error);
            }
            timer.as_mut().reset(stall.next_look().into());
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        Poll::Ready(self.meter.read(&buffer.filled()[before..]))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = Pin::new(&mut self.stream).poll_write(cx, bytes) {
            self.stalled = None;
            return Poll::Ready(result);
        }
        self.poll_stall(cx).map(Err)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
