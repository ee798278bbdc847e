//! Redraws rows below the cursor of a terminal, without the alternate screen.

use super::text::Row;
use crate::cli;
use crate::words::shown;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::getpgrp;
use rustix::termios::{
    LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr,
};
use std::fs::File;
use std::io::{ErrorKind, Write, stderr};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Begin and end synchronized output (DEC private mode 2026); terminals without it ignore both.
const FRAME: (&str, &str) = ("\x1b[?2026h", "\x1b[?2026l");
/// Erase to the end of the line and of the screen (ECMA-48: EL, ED).
const ERASE_LINE: &str = "\x1b[K";
const ERASE_BELOW: &str = "\x1b[J";

/// How long [`Screen::clear`] waits for a terminal that accepts no output, such as one stopped by Ctrl-S.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The view on standard error. Dropping it erases the view.
pub(crate) struct Screen {
    /// Columns of each row on the screen. The cursor is at the start of the line below them.
    drawn: Vec<usize>,
    colour: bool,
    /// The terminal, opened again for `O_NONBLOCK`: on standard error it would apply to every process that shares it.
    terminal: Option<File>,
    /// The rest of the last frame. Frames are skipped until the terminal has accepted it.
    unsent: Vec<u8>,
    /// The terminal's modes to restore. ECHO is off meanwhile: an Enter would shift every row.
    before: Option<Termios>,
}

impl Screen {
    /// `None` unless standard error is a terminal with cursor control (`TERM` is set, and not `dumb`).
    pub fn open() -> Option<Screen> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
        if dumb || !isatty(stderr()) {
            return None;
        }
        let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let terminal = open("/proc/self/fd/2", flags, Mode::empty()).ok().map(File::from);
        let colour = common::output::has_colour(&stderr());
        Some(Screen { drawn: Vec::new(), colour, terminal, unsent: Vec::new(), before: None })
    }

    /// Columns and rows for a frame that neither wraps nor scrolls; of 80 by 24 if the size is unknown.
    pub fn room(&self) -> (usize, usize) {
        let (columns, rows) = size().unwrap_or((80, 24));
        (columns.saturating_sub(1), rows.saturating_sub(1))
    }

    /// Replaces the view. Skips the frame if the terminal has not accepted the last one.
    pub fn draw(&mut self, rows: &[Row]) {
        self.hide_typing();
        self.write("", rows);
    }

    /// Replaces the view with a line that stays. The next frame is drawn below it.
    pub fn print_above(&mut self, line: &str) {
        self.write(&format!("{}{ERASE_LINE}\r\n", shown(line)), &[]);
    }

    /// Erases the view and restores the terminal's modes. Blocks for at most a second.
    pub fn clear(&mut self) {
        if !self.drawn.is_empty() {
            let deadline = Instant::now() + FLUSH_TIMEOUT;
            while !self.flush() && Instant::now() < deadline {
                sleep(FLUSH_TIMEOUT / 50);
            }
            self.write("", &[]);
        }
        self.show_typing();
    }

    /// Writes what is left of the last frame without blocking; `true` if nothing is left.
    fn flush(&mut self) -> bool {
        while !self.unsent.is_empty() {
            let sent = match &mut self.terminal {
                Some(terminal) => terminal.write(&self.unsent),
                None => stderr().lock().write(&self.unsent),
            };
            match sent {
                Ok(0) => return false,
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The terminal reads nothing; the load must not block on it.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                // The terminal has hung up; the load continues.
                Err(_) => self.unsent.clear(),
            }
        }
        true
    }

    fn write(&mut self, above: &str, rows: &[Row]) {
        if !self.flush() {
            return;
        }
        let (columns, most) = self.room();
        let mut text = String::from(FRAME.0);
        text += &up(&self.drawn, columns + 1);
        text += above;
        self.drawn.clear();
        for row in rows.iter().take(most) {
            let row = row.clone().clipped(columns);
            text += &row.to_terminal(self.colour);
            text += ERASE_LINE;
            text += "\r\n";
            self.drawn.push(row.sent_width());
        }
        text += ERASE_BELOW;
        text += FRAME.1;
        self.unsent = text.into_bytes();
        self.flush();
    }

    /// Turns ECHO off, and on again after a first Ctrl-C: a second one ends the process and restores nothing.
    fn hide_typing(&mut self) {
        if cli::is_stopping() {
            return self.show_typing();
        }
        // In the background, tcsetattr stops the process (SIGTTOU), and the modes belong to the foreground job.
        if self.before.is_none() && is_in_foreground() {
            self.before = tcgetattr(stderr()).ok();
            if let Some(mut modes) = self.before.clone() {
                modes.local_modes &= !LocalModes::ECHO;
                let _ = tcsetattr(stderr(), OptionalActions::Now, &modes);
            }
        }
    }

    fn show_typing(&mut self) {
        if let Some(modes) = self.before.take().filter(|_| is_in_foreground()) {
            let _ = tcsetattr(stderr(), OptionalActions::Now, &modes);
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Columns and rows of the terminal on standard error; `None` if it is none, or reports a size of zero.
pub(crate) fn size() -> Option<(usize, usize)> {
    let size = tcgetwinsize(stderr()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then(|| (size.ws_col.into(), size.ws_row.into()))
}

fn is_in_foreground() -> bool {
    tcgetpgrp(stderr()).is_ok_and(|group| group == getpgrp())
}

/// Moves the cursor to the start of the view. A terminal that has become narrower has wrapped its rows.
fn up(drawn: &[usize], columns: usize) -> String {
    let lines: usize = drawn.iter().map(|width| width.div_ceil(columns.max(1)).max(1)).sum();
    if lines == 0 { "\r".into() } else { format!("\r\x1b[{lines}A") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_rows_count_as_several_lines() {
        assert_eq!(up(&[], 80), "\r");
        assert_eq!(up(&[79, 0, 12], 80), "\r\x1b[3A");
        assert_eq!(up(&[79, 0, 12], 40), "\r\x1b[4A");
        assert_eq!(up(&[80, 79, 41], 40), "\r\x1b[6A");
    }
}
