//! Standard streams for a server: collected by the test, or hostile in one of five ways.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, PipeReader, Read, pipe};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Where standard output or standard error goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sink {
    /// A pipe that the test reads.
    #[default]
    Collected,
    /// A pipe whose read end is closed: write(2) fails with `EPIPE`.
    BrokenPipe,
    /// A full device: write(2) fails with `ENOSPC`.
    Full,
    /// A full pipe whose reader does not read: write(2) blocks.
    Stalled,
    /// The same with `O_NONBLOCK`: write(2) fails with `EAGAIN`.
    WouldBlock,
    /// The descriptor is closed: write(2) fails with `EBADF`.
    Closed,
}

impl Sink {
    pub const HOSTILE: [Sink; 5] =
        [Sink::BrokenPipe, Sink::Full, Sink::Stalled, Sink::WouldBlock, Sink::Closed];

    /// The stream for a command, and a read end to keep open while the command runs.
    pub fn open(self) -> (Stdio, Option<PipeReader>) {
        match self {
            Sink::Collected => (Stdio::piped(), None),
            Sink::Closed => (Stdio::null(), None),
            Sink::Full => {
                let full = OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
                (full.into(), None)
            }
            Sink::BrokenPipe => {
                let (_, writer) = pipe().expect("a pipe");
                (writer.into(), None)
            }
            Sink::Stalled | Sink::WouldBlock => {
                let (reader, writer) = pipe().expect("a pipe");
                rustix::io::ioctl_fionbio(&writer, self == Sink::WouldBlock).expect("O_NONBLOCK");
                let now = Timespec { tv_sec: 0, tv_nsec: 0 };
                // A pipe that poll(2) reports as writable accepts PIPE_BUF bytes without blocking (pipe(7)).
                while poll(&mut [PollFd::new(&writer, PollFlags::OUT)], Some(&now)) == Ok(1) {
                    rustix::io::write(&writer, &[b'.'; 4096]).expect("room");
                }
                (writer.into(), Some(reader))
            }
        }
    }

    /// The command, run through a shell that closes the streams that are [`Sink::Closed`].
    pub fn closed(command: Command, stdout: Sink, stderr: Sink) -> Command {
        let close = |sink, how| if sink == Sink::Closed { how } else { "" };
        let script = format!(r#"exec "$@" {} {}"#, close(stdout, ">&-"), close(stderr, "2>&-"));
        if script.ends_with("  ") {
            return command;
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, "sh"]).arg(command.get_program()).args(command.get_args());
        shell
    }
}

/// The output of a process so far, read by a thread, so that the process never blocks on a full pipe.
pub(crate) struct Output(Arc<Mutex<(Vec<u8>, bool)>>);

impl Output {
    pub fn none() -> Output {
        Output(Arc::new(Mutex::new((vec![], true))))
    }

    pub fn collect(from: impl Read + Send + 'static) -> Output {
        let shared = Arc::new(Mutex::new((vec![], false)));
        let output = Output(Arc::clone(&shared));
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = vec![];
            while from.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
                shared.lock().unwrap_or_else(PoisonError::into_inner).0.append(&mut line);
            }
            shared.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        });
        output
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner).0).into_owned()
    }

    pub fn ended(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}
