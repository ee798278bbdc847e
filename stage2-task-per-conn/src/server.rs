//! A shard's runtime: it accepts, spawns a task per connection, and drains.

use crate::Flags;
use crate::connection::{self, Context};
use crate::split;
use common::{ACCEPT_BATCH, ACCEPT_PAUSE, Accepted, Shard};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// A shard's runtime.
struct Server {
    context: Arc<Context>,
}

/// Serves a shard until its drain is over.
///
/// The runtime is made here, on the shard's thread: its waker's descriptor means something in this table only, and
/// nobody outside ever uses it.
pub fn serve(shard: Shard<Flags>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(Server::new(shard).run())
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
    fn new(shard: Shard<Flags>) -> Server {
        Server { context: Arc::new(Context::new(shard)) }
    }

    async fn run(&self) -> io::Result<()> {
        let listener = readable(self.context.shard.listener.as_fd())?;
        let shutdown = readable(self.context.shard.shutdown.as_fd())?;
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
    fn accept(&self, alive: &mpsc::Sender<()>) -> Batch {
        for _ in 0..ACCEPT_BATCH {
            let stream = match self.context.shard.accept() {
                Accepted::Connection(stream) => stream,
                Accepted::Nobody => return Batch::Empty,
                Accepted::Exhausted => return Batch::Exhausted,
            };
            let stream = match TcpStream::from_std(stream) {
                Ok(stream) => stream,
                Err(error) => {
                    self.context.shard.cannot_watch(&error);
                    return Batch::Exhausted;
                }
            };
            let (context, alive) = (self.context.clone(), alive.clone());
            tokio::spawn(async move {
                context.shard.metrics().tasks.fetch_add(1, Relaxed);
                open(&context, stream).await;
                context.shard.metrics().tasks.fetch_sub(1, Relaxed);
                drop(alive);
            });
        }
        Batch::Full
    }

    /// Stops accepting, has every task send Close 1001, and waits until all have ended.
    async fn drain(&self, ended: &mut mpsc::Receiver<()>) {
        self.context.shard.stop_listening();
        self.context.interrupt.wake();
        // After the timeout, the rest end with the process.
        let _ = timeout(self.context.shard.config.drain_timeout, ended.recv()).await;
    }
}

/// Serves a connection in one task, or in two.
async fn open(context: &Context, stream: TcpStream) {
    match context.shard.flags.tasks_per_conn {
        1 => connection::open(context, stream).await,
        _ => split::open(context, stream).await,
    }
}
