//! What ends the wait of a task (stage 2): the drain, and timeouts that do not blame a peer for a runtime that stalled.

use crate::heartbeat::{Beat, Heartbeat};
use crate::pace::DrainPace;
use crate::quiet::Quiet;
use crate::shutdown::Shutdown;
use crate::untaken::Stall;
use std::future::poll_fn;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::time::{self, Sleep, sleep_until, timeout_at};

/// A timer that fires later than this shows that the runtime stalled: input that came meanwhile is still to be read.
const STALLED: Duration = Duration::from_millis(250);

/// Waits for a future at most `limit`, not counting stalls of the runtime. `None`: it timed out.
pub async fn in_time<T>(limit: Duration, mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    let mut end = time::Instant::now() + limit;
    loop {
        match timeout_at(end, future.as_mut()).await {
            Ok(output) => return Some(output),
            Err(_) if end.elapsed() > STALLED => end = time::Instant::now() + STALLED,
            Err(_) => return None,
        }
    }
}

/// A descriptor that can be awaited.
///
/// # Errors
/// The kernel's, where the runtime's poll set cannot take it (epoll_ctl(2)).
pub fn readable(fd: BorrowedFd<'_>) -> io::Result<AsyncFd<BorrowedFd<'_>>> {
    // SAFETY: the borrow keeps the descriptor open, under the same number, for as long as it is registered.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// Interrupts the tasks of a shard when its drain begins.
pub struct Interrupt {
    shutdown: Shutdown,
    tasks: Notify,
}

impl Interrupt {
    /// For the drain that `shutdown` begins.
    pub fn new(shutdown: Shutdown) -> Interrupt {
        Interrupt { shutdown, tasks: Notify::new() }
    }

    /// Wakes all tasks that wait for a future. The drain has begun.
    pub fn wake(&self) {
        self.tasks.notify_waiters();
    }

    /// The output of `serving`, or `None` if the drain begins first.
    ///
    /// The caller pins it: a future that is passed by value takes its room twice, as an argument and pinned.
    pub async fn unless_drained<T>(&self, serving: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        self.unless_closed(serving, |_| None).await
    }

    /// The same for an open connection, which is served until the drain closes it.
    pub async fn until_its_slot<T>(&self, serving: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        self.unless_closed(serving, |pace| Some(Box::pin(sleep_until(pace.slot().into())))).await
    }

    /// `begin_drain` returns a timer if there is time left when the drain begins.
    async fn unless_closed<T>(
        &self,
        mut serving: Pin<&mut impl Future<Output = T>>,
        begin_drain: impl Fn(&DrainPace) -> Option<Pin<Box<Sleep>>>,
    ) -> Option<T> {
        let mut woken = pin!(self.tasks.notified());
        let mut registered = false;
        let mut slot = None;
        poll_fn(|cx| {
            if let Poll::Ready(value) = serving.as_mut().poll(cx) {
                return Poll::Ready(Some(value));
            }
            let Some(pace) = self.shutdown.pace() else {
                // Once the notification has this task's waker, there is no need to look again before the drain.
                if registered {
                    return Poll::Pending;
                }
                registered = true;
                return woken.as_mut().poll(cx).map(|()| None);
            };
            if slot.is_none() {
                slot = begin_drain(pace);
            }
            slot.as_mut().map_or(Poll::Ready(None), |slot| slot.as_mut().poll(cx).map(|()| None))
        })
        .await
    }
}

/// How long no bytes have been received, and when to look at that again.
pub struct Silence {
    socket: RawFd,
    quiet: Option<Quiet>,
    /// One for the connection's life: a new one for each wait would wander through the heap.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    /// Of the connection of this socket.
    pub fn new(socket: RawFd) -> Silence {
        Silence { socket, quiet: None, timer: None }
    }

    /// What `receive` returns once it is ready, or what is due meanwhile: a Ping, or the end of the connection.
    #[inline]
    pub fn unless_due<T>(
        &mut self,
        heartbeat: &Heartbeat,
        mut receive: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> impl Future<Output = Result<T, Beat>> {
        poll_fn(move |cx| match receive(cx) {
            Poll::Ready(received) => {
                self.quiet = None;
                Poll::Ready(Ok(received))
            }
            Poll::Pending if heartbeat.is_on() => self.poll(*heartbeat, cx).map(Err),
            Poll::Pending => Poll::Pending,
        })
    }

    fn poll(&mut self, heartbeat: Heartbeat, cx: &mut Context<'_>) -> Poll<Beat> {
        loop {
            let (Some(quiet), Some(timer)) = (&mut self.quiet, &mut self.timer) else {
                self.quiet = Some(Quiet::begin(self.socket));
                self.wait(heartbeat);
                continue;
            };
            ready!(timer.as_mut().poll(cx));
            let late = timer.deadline().elapsed();
            let beat = if late > STALLED {
                quiet.forgive(late + STALLED);
                None
            } else {
                quiet.look(heartbeat)
            };
            self.wait(heartbeat);
            if let Some(beat) = beat {
                return Poll::Ready(beat);
            }
        }
    }

    /// Sets the timer to the next look.
    fn wait(&mut self, heartbeat: Heartbeat) {
        let Some(next) = self.quiet.as_ref().and_then(|quiet| quiet.next_look(heartbeat)) else { return };
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(next.into()),
            None => self.timer = Some(Box::pin(sleep_until(next.into()))),
        }
    }
}

/// Ends with [`io::ErrorKind::TimedOut`] when a peer has acknowledged no output for too long.
pub struct Stalled {
    socket: RawFd,
    stall: Stall,
    timer: Pin<Box<Sleep>>,
}

impl Stalled {
    /// This socket has just refused output, for which its peer has `limit`.
    pub fn begin(socket: RawFd, limit: Duration) -> Stalled {
        let stall = Stall::begin(limit);
        Stalled { socket, timer: Box::pin(sleep_until(stall.next_look().into())), stall }
    }
}

impl Future for Stalled {
    type Output = io::Error;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Stalled { socket, stall, timer } = &mut *self;
        loop {
            ready!(timer.as_mut().poll(cx));
            if let Err(error) = stall.look(*socket) {
                return Poll::Ready(error);
            }
            timer.as_mut().reset(stall.next_look().into());
        }
    }
}
