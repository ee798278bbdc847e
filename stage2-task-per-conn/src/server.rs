//! A shard's runtime: it accepts, spawns a task per connection, and drains.

use crate::Flags;
use crate::connection::{self, Context};
use common::timer::readable;
use common::{ACCEPT_BATCH, ACCEPT_PAUSE, Accepted, Shard};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
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

impl Server {
    fn new(shard: Shard<Flags>) -> Server {
        Server { context: Arc::new(Context::new(shard)) }
    }

    async fn run(&self) -> io::Result<()> {
        let shard = &self.context.shard;
        let listener = readable(shard.listener.as_fd())?;
        let shutdown = readable(shard.shutdown.as_fd())?;
        // Every task keeps a sender and sends nothing: the receiver ends with the last of them.
        let (alive, mut ended) = mpsc::channel::<()>(1);
        loop {
            let mut backlog = tokio::select! {
                backlog = listener.readable() => backlog?,
                _ = shutdown.readable() => break,
            };
            for _ in 0..ACCEPT_BATCH {
                match shard.accept(TcpStream::from_std) {
                    Accepted::Connection(stream) => self.start(stream, alive.clone()),
                    Accepted::Nobody => {
                        backlog.clear_ready();
                        break;
                    }
                    Accepted::Exhausted => {
                        sleep(ACCEPT_PAUSE).await;
                        break;
                    }
                }
            }
            tokio::task::yield_now().await;
        }
        drop(alive);
        self.drain(&mut ended).await;
        Ok(())
    }

    /// Starts a connection's task.
    fn start(&self, stream: TcpStream, alive: mpsc::Sender<()>) {
        let context = self.context.clone();
        tokio::spawn(async move {
            context.shard.metrics().tasks.fetch_add(1, Relaxed);
            connection::open(&context, stream).await;
            context.shard.metrics().tasks.fetch_sub(1, Relaxed);
            drop(alive);
        });
    }

    /// Stops accepting, has every task send Close 1001, and waits until all have ended.
    async fn drain(&self, ended: &mut mpsc::Receiver<()>) {
        self.context.shard.stop_listening();
        self.context.interrupt.wake();
        // After the timeout, the rest end with the process.
        let _ = timeout(self.context.shard.config.drain_timeout, ended.recv()).await;
    }
}
