//! A shard's accepting thread: it starts a thread per connection, and drains.

use crate::Flags;
use crate::connection::{self, Context};
use common::metrics::Rejected;
use common::{ACCEPT_PAUSE, Accepted, Shard, threads};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::thread;

/// Threads over the bound on open connections: for those that still shake hands, or ask for a page.
const HANDSHAKES: usize = 64;

/// A shard's accepting thread.
struct Server {
    context: Arc<Context>,
    /// Threads that this process may have.
    max_threads: u64,
}

/// Serves a shard until its drain is over.
pub fn serve(shard: Shard<Flags>) -> io::Result<()> {
    Server::new(shard).run()
}

impl Server {
    fn new(shard: Shard<Flags>) -> Server {
        let connections = threads::bound().connections.saturating_add(HANDSHAKES) as u64;
        let max_threads = connections.saturating_add(threads::in_this_process());
        Server { context: Arc::new(Context::new(shard)), max_threads }
    }

    fn run(&self) -> io::Result<()> {
        let shard = &self.context.shard;
        // Every thread keeps a sender and sends nothing: the receiver ends with the last of them.
        let (alive, ended) = mpsc::channel::<()>();
        loop {
            let mut fds = [shard.listener.as_fd(), shard.shutdown.as_fd()]
                .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            match poll(&mut fds, None::<&Timespec>) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if shard.shutdown.begun() {
                break;
            }
            match shard.accept(Ok) {
                Accepted::Connection(stream) => self.start(stream, alive.clone()),
                Accepted::Nobody => {}
                Accepted::Exhausted => thread::sleep(ACCEPT_PAUSE),
            }
        }
        drop(alive);
        self.drain(&ended);
        Ok(())
    }

    /// Starts a connection's thread; it shares this shard's descriptor table.
    fn start(&self, stream: TcpStream, alive: mpsc::Sender<()>) {
        // Shared, so that it can still be answered here if no thread can be started.
        let stream = Arc::new(stream);
        let (context, its_stream) = (self.context.clone(), stream.clone());
        let shard = &self.context.shard;
        // Those that are exiting count too: their stacks are still in the memory map, and without room there for the stack of its
        // signal handler a thread aborts the process.
        if threads::in_this_process() < self.max_threads {
            shard.metrics().tasks.fetch_add(1, Relaxed);
            let started = thread::Builder::new().stack_size(shard.flags.stack_size).spawn(move || {
                connection::open(&context, its_stream);
                context.shard.metrics().tasks.fetch_sub(1, Relaxed);
                drop(alive);
            });
            match started {
                Ok(_) => return,
                Err(error) => tracing::debug!("cannot start a thread: {error}"),
            }
            shard.metrics().tasks.fetch_sub(1, Relaxed);
        }
        // Where the peer has disconnected or is slow this fails, and the connection is just closed.
        let _ = shard.reject(&stream, Rejected::Threads);
    }

    /// Stops accepting, and waits until all threads have sent Close 1001 and ended.
    fn drain(&self, ended: &mpsc::Receiver<()>) {
        self.context.shard.stop_listening();
        // After the timeout, the rest end with the process.
        let _ = ended.recv_timeout(self.context.shard.config.drain_timeout);
    }
}
