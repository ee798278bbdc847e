//! A shard's accepting thread: it starts a thread per connection, and drains.

use crate::{Flags, connection, threads};
use common::heartbeat::Heartbeat;
use common::metrics::Rejected;
use common::{ACCEPT_PAUSE, Accepted, Shard, websocket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tungstenite::protocol::WebSocketConfig;

/// How long the accepting thread itself waits for the request of a connection that it rejects.
const REJECT_TIMEOUT: Duration = Duration::from_millis(100);

/// Threads over the bound on open connections: for those that still shake hands, or ask for a page.
const HANDSHAKES: usize = 64;

/// What the threads of a shard share.
pub struct Server {
    pub shard: Shard<Flags>,
    pub websocket: WebSocketConfig,
    pub heartbeat: Heartbeat,
    /// Threads that may run in all shards.
    max_threads: u64,
}

/// Serves a shard until its drain is over.
pub fn serve(shard: Shard<Flags>) -> io::Result<()> {
    let server = Server {
        websocket: websocket::config(&shard.config, shard.flags.read_buffer),
        heartbeat: Heartbeat::new(&shard.config),
        max_threads: (threads::bound().connections + HANDSHAKES) as u64,
        shard,
    };
    Arc::new(server).run()
}

impl Server {
    fn run(self: Arc<Self>) -> io::Result<()> {
        // Every thread keeps a sender and sends nothing: the receiver ends with the last of them.
        let (alive, ended) = mpsc::channel::<()>();
        loop {
            let mut fds = [&self.shard.listener as &dyn std::os::fd::AsFd, &self.shard.shutdown]
                .map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN));
            match poll(&mut fds, None::<&Timespec>) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if self.shard.shutdown.begun() {
                break;
            }
            match self.shard.accept() {
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
    fn start(self: &Arc<Self>, stream: TcpStream, alive: mpsc::Sender<()>) {
        // Shared, so that it can still be answered here if no thread can be started.
        let stream = Arc::new(stream);
        let (server, its_stream) = (self.clone(), stream.clone());
        let metrics = self.shard.metrics();
        if self.shard.tasks() < self.max_threads {
            metrics.tasks.fetch_add(1, Relaxed);
            let started = thread::Builder::new().stack_size(self.shard.flags.stack_size).spawn(move || {
                connection::open(&server, its_stream);
                server.shard.metrics().tasks.fetch_sub(1, Relaxed);
                drop(alive);
            });
            match started {
                Ok(_) => return,
                Err(error) => tracing::debug!("cannot start a thread: {error}"),
            }
            metrics.tasks.fetch_sub(1, Relaxed);
        }
        // Where the peer has disconnected or is slow this fails, and the connection is just closed.
        let _ = self.reject(&stream);
    }

    /// Answers a connection without a thread: 503, but for `/health` and `/metrics`.
    fn reject(&self, mut stream: &TcpStream) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(REJECT_TIMEOUT))?;
        let mut head = [0; common::config::MAX_HEAD_LEN];
        let len = loop {
            match stream.read(&mut head) {
                // With a timeout set it is not restarted (signal(7)).
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        stream.write_all(&self.shard.reject(&head[..len], Rejected::Threads))
    }

    /// Stops accepting, and waits until all threads have sent Close 1001 and ended.
    fn drain(&self, ended: &mpsc::Receiver<()>) {
        self.shard.stop_listening();
        // After the timeout, the rest end with the process.
        let _ = ended.recv_timeout(self.shard.config.drain_timeout);
    }
}
