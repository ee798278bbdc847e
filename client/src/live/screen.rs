//! The lines of a terminal below the cursor, drawn over and over.

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

/// Draw the whole frame at once, where the terminal knows how (mode 2026, synchronized output); others ignore it.
const FRAME: (&str, &str) = ("\x1b[?2026h", "\x1b[?2026l");
/// Erase to the end of the line, and of the screen (ECMA-48: EL, ED).
const ERASE_LINE: &str = "\x1b[K";
const ERASE_BELOW: &str = "\x1b[J";

/// How long a terminal has to take the last frame before the view is given up: it may have been stopped (Ctrl-S).
const PATIENCE: Duration = Duration::from_secs(1);

/// What is drawn on standard error; nothing is left of it when this is dropped.
pub(crate) struct Screen {
    /// The columns of each row that is drawn. The cursor is at the start of the line below.
    drawn: Vec<usize>,
    colour: bool,
    /// The terminal, opened anew so as not to wait for it: `O_NONBLOCK` on standard error would be everyone's.
    terminal: Option<File>,
    /// What it has not taken yet of the last frame. Until it has, nothing is drawn.
    unsent: Vec<u8>,
    /// The terminal's modes as they were, while it does not show what is typed: an Enter would shift every row.
    before: Option<Termios>,
}

impl Screen {
    /// `None` where standard error is no terminal that can be drawn on.
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

    /// Columns and rows that a frame may take: none that would make the terminal wrap or scroll.
    pub fn room(&self) -> (usize, usize) {
        let (columns, rows) = size().unwrap_or((80, 24));
        (columns.saturating_sub(1), rows.saturating_sub(1))
    }

    /// Draws these rows in place of those before.
    pub fn draw(&mut self, rows: &[Row]) {
        self.hide_typing();
        self.write("", rows);
    }

    /// Writes a line that stays, above what is drawn.
    pub fn print_above(&mut self, line: &str) {
        self.write(&format!("{}{ERASE_LINE}\r\n", shown(line)), &[]);
    }

    /// Takes away what is drawn.
    pub fn clear(&mut self) {
        if !self.drawn.is_empty() {
            let patience = Instant::now() + PATIENCE;
            while !self.is_ready() && Instant::now() < patience {
                sleep(PATIENCE / 50);
            }
            self.write("", &[]);
        }
        self.show_typing();
    }

    /// Whether the terminal has taken the last frame.
    fn is_ready(&mut self) -> bool {
        while !self.unsent.is_empty() {
            let sent = match &mut self.terminal {
                Some(terminal) => terminal.write(&self.unsent),
                None => stderr().lock().write(&self.unsent),
            };
            match sent {
                Ok(0) => return false,
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Its reader does not read, and the load goes on.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                // A terminal that has gone takes nothing any more, and the load goes on.
                Err(_) => self.unsent.clear(),
            }
        }
        true
    }

    fn write(&mut self, above: &str, rows: &[Row]) {
        if !self.is_ready() {
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
        self.is_ready();
    }

    /// Has the terminal not show what is typed, until the user wants an end: a second Ctrl-C puts nothing back.
    fn hide_typing(&mut self) {
        if cli::is_stopping() {
            return self.show_typing();
        }
        // Of another's terminal the modes are not ours to set (and to try would stop this process).
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

/// Columns and rows of the terminal; `None` where it does not say.
pub(crate) fn size() -> Option<(usize, usize)> {
    let size = tcgetwinsize(stderr()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then(|| (size.ws_col.into(), size.ws_row.into()))
}

fn is_in_foreground() -> bool {
    tcgetpgrp(stderr()).is_ok_and(|group| group == getpgrp())
}

/// Goes to the start of the first row of what was drawn: a terminal that has become narrower has wrapped its rows.
fn up(drawn: &[usize], columns: usize) -> String {
    let lines: usize = drawn.iter().map(|width| width.div_ceil(columns.max(1)).max(1)).sum();
    if lines == 0 { "\r".into() } else { format!("\r\x1b[{lines}A") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_were_wrapped_count_as_what_they_take_now() {
        assert_eq!(up(&[], 80), "\r");
        assert_eq!(up(&[79, 0, 12], 80), "\r\x1b[3A");
        assert_eq!(up(&[79, 0, 12], 40), "\r\x1b[4A");
        assert_eq!(up(&[80, 79, 41], 40), "\r\x1b[6A");
    }
}
