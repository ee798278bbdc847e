//! Text for people, on standard output and standard error. A line that cannot be written never ends the program.
//!
//! `println!` and `eprintln!` panic where the reader is closed (`EPIPE`), the device is full (`ENOSPC`) or the write would
//! block (`EAGAIN`). Where the reader does not read, they block.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// What a pipe that poll(2) calls writable takes without blocking (pipe(7), `PIPE_BUF`).
const PIECE_LEN: usize = 4096;

/// How long a line waits for its reader, a shell's pipe as a rule, to make room.
const LINE_PATIENCE: Duration = Duration::from_secs(1);

/// Prints text that a person has asked for to standard output. It waits for a reader as slow as a pager. Text that cannot
/// be written is lost.
pub fn print(text: impl Display) {
    let _ = print_data(text);
}

/// Prints text that a program will read to standard output.
///
/// # Errors
/// The kernel's, but for `EPIPE`: a reader that closes early, as `head` does, has what it wants.
pub fn print_data(text: impl Display) -> io::Result<()> {
    match write_all(io::stdout(), text.to_string().as_bytes(), None) {
        Err(Errno::PIPE) => Ok(()),
        result => Ok(result?),
    }
}

/// Prints a line to standard output. It is lost where it cannot be written within a second.
pub fn line(text: impl Display) {
    let _ = write_line(io::stdout(), text, LINE_PATIENCE);
}

/// Prints a line about an error to standard error. It is lost where it cannot be written within a second.
pub fn complain(text: impl Display) {
    let _ = write_line(io::stderr(), text, LINE_PATIENCE);
}

/// Prints a line about progress to standard error. It is lost where it cannot be written at once.
pub fn progress(text: impl Display) {
    let _ = write_line(io::stderr(), text, Duration::ZERO);
}

/// Whether colours are wanted there: on a terminal that has them, and unless `NO_COLOR` is set (<https://no-color.org>).
pub fn has_colour(to: &impl IsTerminal) -> bool {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    to.is_terminal() && set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
}

fn write_line(to: impl AsFd, text: impl Display, timeout: Duration) -> Result<(), Errno> {
    write_all(to, format!("{text}\n").as_bytes(), Some(timeout))
}

/// Writes all within `timeout`, or blocks without one. It takes no lock, because a thread blocked in a write could hold
/// it. A line is still written in one piece, if it is no longer than PIPE_BUF (pipe(7)).
pub(crate) fn write_all(to: impl AsFd, mut bytes: &[u8], timeout: Option<Duration>) -> Result<(), Errno> {
    let begun = Instant::now();
    while !bytes.is_empty() {
        let left = timeout.map(|timeout| timeout.saturating_sub(begun.elapsed()));
        let poll_timeout = left.map(|left| Timespec::try_from(left).unwrap_or_default());
        match poll(&mut [PollFd::new(&to, PollFlags::OUT)], poll_timeout.as_ref()) {
            Ok(0) => return Err(Errno::TIMEDOUT),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error),
        }
        match rustix::io::write(&to, &bytes[..bytes.len().min(PIECE_LEN)]) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::io::{Read, pipe};
    use std::thread;

    #[test]
    fn what_cannot_be_written_is_an_error_and_no_panic() {
        let full = OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
        assert_eq!(write_line(&full, "lost", LINE_PATIENCE), Err(Errno::NOSPC));
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        assert_eq!(write_line(&writer, "lost", LINE_PATIENCE), Err(Errno::PIPE));
    }

    #[test]
    fn a_reader_that_does_not_read_is_waited_for_so_long_and_no_longer() {
        for nonblocking in [false, true] {
            let (reader, writer) = pipe().expect("a pipe");
            rustix::io::ioctl_fionbio(&writer, nonblocking).expect("O_NONBLOCK");
            let begun = Instant::now();
            let timeout = Duration::from_millis(20);
            while write_line(&writer, "x".repeat(1000), timeout).is_ok() {}
            assert_eq!(write_line(&writer, "x".repeat(1000), timeout), Err(Errno::TIMEDOUT));
            assert!((timeout * 2..timeout * 50).contains(&begun.elapsed()), "{:?}", begun.elapsed());
            drop(reader);
        }
    }

    #[test]
    fn a_slow_reader_gets_all_of_what_was_asked_for() {
        let (mut reader, writer) = pipe().expect("a pipe");
        rustix::io::ioctl_fionbio(&writer, true).expect("O_NONBLOCK");
        let text = (0..100_000).map(|line| format!("{line}\n")).collect::<String>();
        let reading = thread::spawn(move || {
            let mut read = String::new();
            reader.read_to_string(&mut read).expect("text");
            read
        });
        write_all(&writer, text.as_bytes(), None).expect("all is read");
        drop(writer);
        assert!(reading.join().expect("the reader") == text);
    }
}
