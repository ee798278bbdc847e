//! A tokio socket that is metered, and times out when its peer acknowledges nothing (stage 2).

use crate::meter::Meter;
use crate::timer::Stalled;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The socket of an open connection.
///
/// # Errors
/// A read fails with [`io::ErrorKind::QuotaExceeded`] where `--buffer-budget` has too little left ([`Meter::read`]), a write
/// with [`io::ErrorKind::TimedOut`] where the peer acknowledges nothing within [`Metered::write_timeout`].
pub struct Metered {
    stream: TcpStream,
    meter: Meter,
    /// How long to wait for a peer that acknowledges nothing. `None`: for ever.
    pub write_timeout: Option<Duration>,
    /// Set while output waits for that.
    stalled: Option<Box<Stalled>>,
}

impl Metered {
    /// What is read from `stream` is charged by `meter`.
    pub fn new(stream: TcpStream, meter: Meter, write_timeout: Option<Duration>) -> Metered {
        Metered { stream, meter, write_timeout, stalled: None }
    }

    /// The socket without its meter.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }
}

impl AsRawFd for Metered {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

impl AsyncRead for Metered {
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

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = Pin::new(&mut self.stream).poll_write(cx, bytes) {
            self.stalled = None;
            return Poll::Ready(result);
        }
        let (Some(limit), socket) = (self.write_timeout, self.as_raw_fd()) else { return Poll::Pending };
        let stalled = self.stalled.get_or_insert_with(|| Box::new(Stalled::begin(socket, limit)));
        Pin::new(&mut **stalled).poll(cx).map(Err)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Budget, FREE_LEN};
    use std::future::poll_fn;
    use tokio::net::TcpListener;

    /// A peer, and a metered socket whose budget is all used up.
    async fn pair() -> (TcpStream, Metered) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let peer = TcpStream::connect(listener.local_addr().expect("its address")).await;
        let (stream, _) = listener.accept().await.expect("the other end");
        let meter = Meter::new(Budget::new(Some(0)).reservation(), &[]);
        (peer.expect("a connection"), Metered::new(stream, meter, Some(Duration::from_millis(200))))
    }

    async fn read(socket: &mut Metered, bytes: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(bytes);
        poll_fn(|cx| Pin::new(&mut *socket).poll_read(cx, &mut buffer)).await?;
        Ok(buffer.filled().len())
    }

    #[tokio::test]
    async fn a_read_over_the_budget_fails() {
        let (peer, mut socket) = pair().await;
        // FIN, binary | MASK, a length in 16 bits | 0xffff | key, and the beginning of the payload
        let frame = [&[0x82, 0xfe, 0xff, 0xff, 0, 0, 0, 0], &[0; 2 * FREE_LEN][..]].concat();
        peer.writable().await.expect("an open connection");
        assert_eq!(peer.try_write(&frame).expect("room for it"), frame.len());
        assert_eq!(read(&mut socket, &mut [0; FREE_LEN]).await.expect("what is free"), FREE_LEN);
        let error = read(&mut socket, &mut [0; FREE_LEN]).await.expect_err("over the budget");
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
    }

    #[tokio::test]
    async fn a_write_that_nobody_reads_times_out() {
        let (_peer, mut socket) = pair().await;
        let error = loop {
            let write = poll_fn(|cx| Pin::new(&mut socket).poll_write(cx, &[0; 65_536]));
            if let Err(error) = write.await {
                break error;
            }
        };
        assert_eq!((error.kind(), error.raw_os_error()), (io::ErrorKind::TimedOut, None));
    }
}
