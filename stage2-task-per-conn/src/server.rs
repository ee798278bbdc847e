//! A shard's runtime: it accepts, spawns a task per connection, and drains.

use crate::{Flags, connection};
use common::heartbeat::Heartbeat;
use common::{ACCEPT_BATCH, ACCEPT_PAUSE, Accepted, Shard, websocket};
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// What the tasks of a shard share.
pub struct Server {
    pub shard: Shard<Flags>,
    pub websocket: WebSocketConfig,
    pub heartbeat: Heartbeat,
    stop: Notify,
}

/// Serves a shard until its drain is over.
///
/// The runtime is made here, on the shard's thread: its waker's descriptor means something in this table only, and
/// nobody outside ever uses it.
pub fn serve(shard: Shard<Flags>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let server = Server {
        websocket: websocket::config(&shard.config, shard.flags.read_buffer),
        heartbeat: Heartbeat::new(&shard.config),
        shard,
        stop: Notify::new(),
    };
    runtime.block_on(Arc::new(server).run())
}

/// A descriptor that can be awaited.
fn readable(fd: BorrowedFd<'_>) -> io::Result<AsyncFd<BorrowedFd<'_>>> {
    // SAFETY: the borrow keeps the descriptor open, under the same number, for as long as it is registered.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// How a batch of accepts ended.
enum Batch {
    /// It was full; more connections may wait.
    Full,
    /// None wait.
    Empty,
    /// No descriptors or memory left.
    Exhausted,
}

impl Server {
    async fn run(self: Arc<Self>) -> io::Result<()> {
        let listener = readable(self.shard.listener.as_fd())?;
        let shutdown = readable(self.shard.shutdown.as_fd())?;
        // Every task keeps a sender and sends nothing: the receiver ends with the last of them.
        let (alive, mut ended) = mpsc::channel::<()>(1);
        loop {
            let mut backlog = tokio::select! {
                backlog = listener.readable() => backlog?,
                _ = shutdown.readable() => break,
            };
            match self.accept(&alive) {
                Batch::Full => tokio::task::yield_now().await,
                Batch::Empty => backlog.clear_ready(),
                Batch::Exhausted => sleep(ACCEPT_PAUSE).await,
            }
        }
        drop(alive);
        self.drain(&mut ended).await;
        Ok(())
    }

    /// Accepts a batch of connections.
    fn accept(self: &Arc<Self>, alive: &mpsc::Sender<()>) -> Batch {
        for _ in 0..ACCEPT_BATCH {
            let stream = match self.shard.accept() {
                Accepted::Connection(stream) => stream,
                Accepted::Nobody => return Batch::Empty,
                Accepted::Exhausted => return Batch::Exhausted,
            };
            let stream = match TcpStream::from_std(stream) {
                Ok(stream) => stream,
                Err(error) => {
                    self.shard.cannot_watch(&error);
                    return Batch::Exhausted;
                }
            };
            let (server, alive) = (self.clone(), alive.clone());
            tokio::spawn(async move {
                server.shard.metrics().tasks.fetch_add(1, Relaxed);
                connection::open(&server, stream).await;
                server.shard.metrics().tasks.fetch_sub(1, Relaxed);
                drop(alive);
            });
        }
        Batch::Full
    }

    /// The output of `serving`, or `None` if the drain begins first.
    ///
    /// The caller pins it: a future that is passed by value takes its room twice, as an argument and pinned.
    pub async fn unless_drained<T>(&self, mut serving: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        let mut stop = pin!(self.stop.notified());
        let mut registered = false;
        poll_fn(|cx| {
            if let Poll::Ready(value) = serving.as_mut().poll(cx) {
                return Poll::Ready(Some(value));
            }
            // Once the notification has this task's waker, there is no need to look again before the drain.
            let begun = self.shard.shutdown.begun();
            if registered && !begun {
                return Poll::Pending;
            }
            registered = true;
            if begun { Poll::Ready(None) } else { stop.as_mut().poll(cx).map(|()| None) }
        })
        .await
    }

    /// Stops accepting, has every task send Close 1001, and waits until all have ended.
    async fn drain(&self, ended: &mut mpsc::Receiver<()>) {
        self.shard.stop_listening();
        self.stop.notify_waiters();
        // After the timeout, the rest end with the process.
        let _ = timeout(self.shard.config.drain_timeout, ended.recv()).await;
    }
}
