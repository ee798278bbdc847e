//! Where a server's words go: to the test that collects them, or to somebody who makes trouble.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, PipeReader, Read, pipe};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// What becomes of standard output or standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sink {
    /// The test reads it.
    #[default]
    Collected,
    /// A pipe of which the reader has gone: `EPIPE`.
    Gone,
    /// A full device: `ENOSPC`.
    Full,
    /// A full pipe of which the reader is there and does not read: a write waits.
    Stuck,
    /// The same where a write would wait: `EAGAIN`.
    WouldBlock,
    /// Closed when the server starts.
    Closed,
}

impl Sink {
    pub const HOSTILE: [Sink; 5] = [Sink::Gone, Sink::Full, Sink::Stuck, Sink::WouldBlock, Sink::Closed];

    /// What to give to a command, and what is to be kept as long as it runs.
    pub fn open(self) -> (Stdio, Option<PipeReader>) {
        match self {
            Sink::Collected => (Stdio::piped(), None),
            Sink::Closed => (Stdio::null(), None),
            Sink::Full => {
                let full = OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
                (full.into(), None)
            }
            Sink::Gone => {
                let (_, writer) = pipe().expect("a pipe");
                (writer.into(), None)
            }
            Sink::Stuck | Sink::WouldBlock => {
                let (reader, writer) = pipe().expect("a pipe");
                rustix::io::ioctl_fionbio(&writer, self == Sink::WouldBlock).expect("O_NONBLOCK");
                let now = Timespec { tv_sec: 0, tv_nsec: 0 };
                // A pipe that poll(2) calls writable takes so much without blocking (pipe(7), PIPE_BUF).
                while poll(&mut [PollFd::new(&writer, PollFlags::OUT)], Some(&now)) == Ok(1) {
                    rustix::io::write(&writer, &[b'.'; 4096]).expect("room");
                }
                (writer.into(), Some(reader))
            }
        }
    }

    /// The command, with its standard output and error closed as these say.
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

/// What a process writes, collected as it does, so that it never waits for a reader.
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
