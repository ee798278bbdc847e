//! The live view on a pseudo-terminal, and its absence from any other output.

use crate::local::{CLIENT, echo_server};
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(20);

/// The client on a pseudo-terminal, and a terminal emulator that reads its output.
struct Terminal {
    /// The pseudo-terminal's master side: what is written to it is typed.
    keyboard: File,
    child: Child,
    output: Receiver<Vec<u8>>,
    sent: Vec<u8>,
    shown: vt100::Parser,
}

impl Terminal {
    fn start(arguments: &str, size: (u16, u16), environment: &[(&str, &str)]) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pty");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let name = ptsname(&master, Vec::new()).expect("its name");
        let tty = || {
            let file = open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty());
            Stdio::from(file.expect("the terminal"))
        };
        let (stdin, stdout, stderr) = (tty(), tty(), tty());
        let keyboard = File::from(master);
        resize(&keyboard, size);
        let (columns, rows) = nonzero(size);
        // A controlling terminal, so that Ctrl-C becomes SIGINT.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(CLIENT).args(arguments.split_whitespace());
        command
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("NO_COLOR")
            .envs(environment.iter().copied());
        let child = command.stdin(stdin).stdout(stdout).stderr(stderr).spawn().expect("setsid runs");
        drop(command);
        let (send, output) = mpsc::channel();
        let mut screen = keyboard.try_clone().expect("a second descriptor");
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Fails with EIO once no process has the terminal open.
            while let Ok(len) = screen.read(&mut buffer) {
                if send.send(buffer[..len].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal { keyboard, child, output, sent: Vec::new(), shown: vt100::Parser::new(rows, columns, 0) }
    }

    fn text(&self) -> String {
        self.shown.screen().contents()
    }

    /// Reads output until the screen is as expected.
    #[track_caller]
    fn wait_until(&mut self, expected: &str, is_shown: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        while !is_shown(&self.text()) {
            assert!(Instant::now() < deadline, "expected: {expected}\n{}", self.text());
            match self.output.recv_timeout(Duration::from_millis(100)) {
                Ok(bytes) => self.take(&bytes),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("ended before: {expected}\n{}", self.text()),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.shown.process(bytes);
        self.sent.extend_from_slice(bytes);
    }

    /// Whether the terminal echoes what is typed.
    fn echoes_typing(&self) -> bool {
        tcgetattr(&self.keyboard).expect("the terminal's modes").local_modes.contains(LocalModes::ECHO)
    }

    fn interrupt(&mut self) {
        self.keyboard.write_all(b"\x03").expect("typed");
    }

    /// Waits for the exit, and returns the status and the screen. Fails if the view or its modes are still there.
    #[track_caller]
    fn end(&mut self) -> (Option<i32>, String) {
        let status = self.child.wait().expect("it ends");
        // Until no process has the terminal open.
        while let Ok(bytes) = self.output.recv_timeout(TIMEOUT) {
            self.take(&bytes);
        }
        let (screen, left) = (self.shown.screen(), self.text());
        assert!(!screen.hide_cursor() && !screen.alternate_screen(), "{left}");
        assert!(self.echoes_typing(), "ECHO is on again");
        assert!(
            !left.contains(['━', '─', '█']) && !has_braille(&left),
            "nothing is left of the view: {left}"
        );
        (status.code(), left)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail only after the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn nonzero((columns, rows): (u16, u16)) -> (NonZero<u16>, NonZero<u16>) {
    (NonZero::new(columns).expect("columns"), NonZero::new(rows).expect("rows"))
}

fn resize(terminal: &File, (columns, rows): (u16, u16)) {
    let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("a size");
}

fn has_braille(text: &str) -> bool {
    text.contains(|c| ('\u{2801}'..='\u{28ff}').contains(&c))
}

/// The words of a summary, however it was wrapped.
fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn load(duration: &str) -> String {
    let address = echo_server("127.0.0.1:0");
    format!("run --url ws://{address}/echo --connections 20 --warmup 0s --duration {duration}")
}

#[test]
fn a_run_is_drawn_and_leaves_its_summary_alone() {
    let mut terminal = Terminal::start(&load("4s"), (80, 24), &[]);
    terminal.wait_until("plots of echoes and latency", |text| {
        ["echoing", "echoes/s", "latency      p50", "connections  20", " of 4 s"]
            .iter()
            .all(|part| text.contains(part))
            && has_braille(text)
    });
    assert!(!terminal.echoes_typing(), "an Enter would shift the view");
    let (status, left) = terminal.end();
    assert_eq!(status, Some(0), "{left}");
    let unwrapped = unwrapped(&left);
    for part in ["connections 20 of 20 in", "all verified", "failures none"] {
        assert!(unwrapped.contains(part), "{part} in {left}");
    }
    assert!(left.starts_with("ws://"), "nothing is above the summary: {left}");
    assert!(String::from_utf8_lossy(&terminal.sent).contains("\x1b[36m"), "in colours");
}

#[test]
fn each_phase_has_its_own_counts() {
    let address = echo_server("127.0.0.1:0");
    let run = |load: &str, phases: [(&[&str], &str); 2]| {
        let arguments = format!("run --url ws://{address}/echo --connections 50 --duration 1h {load}");
        let mut terminal = Terminal::start(&arguments, (80, 24), &[]);
        for (parts, none_of) in phases {
            let shows = |text: &str| parts.iter().all(|part| text.contains(part)) && !text.contains(none_of);
            terminal.wait_until("a phase", shows);
        }
        terminal.interrupt();
        assert_eq!(terminal.end().0, Some(0));
    };
    // After a second, an idle run has neither echoes nor times.
    let after_a_second: &[&str] = &["holding", "echoes/s     0, peak 0", "latency      –"];
    run("--scenario idle", [(&["holding"], "echoing"), (after_a_second, " 0 of ")]);
    let warming_up: &[&str] = &["warming up", "latency      –"];
    run("--warmup 1s --rate 1000", [(warming_up, "p50"), (&["echoing", "latency      p50"], "warming up")]);
}

#[test]
fn ctrl_c_ends_the_run_and_restores_the_terminal() {
    let mut terminal = Terminal::start(&load("1h"), (80, 24), &[]);
    terminal.wait_until("a plot", |text| text.contains("echoing") && has_braille(text));
    terminal.interrupt();
    let (status, left) = terminal.end();
    assert_eq!(status, Some(0), "{left}");
    let unwrapped = unwrapped(&left);
    assert!(unwrapped.contains("interrupted") && unwrapped.contains("20 of 20 in"), "{left}");
}

#[test]
fn the_view_follows_the_size_of_the_terminal() {
    let mut terminal = Terminal::start(&load("1h"), (80, 24), &[]);
    terminal.wait_until("two plots", |text| text.contains("\nlatency ") && has_braille(text));
    let once = |text: &str| text.matches("echoing").count() == 1;
    for (size, expected) in [((130, 40), true), ((130, 7), false), ((130, 3), false), ((200, 50), true)] {
        let columns = size.0;
        let (width, height) = nonzero(size);
        terminal.shown.screen_mut().set_size(height, width);
        resize(&terminal.keyboard, size);
        let whole = |text: &str| {
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
            once(text) && has_braille(text) == expected && (!expected || widest == usize::from(columns) - 1)
        };
        terminal.wait_until(&format!("a view of {size:?}"), whole);
    }
    terminal.interrupt();
    terminal.end();
}

#[test]
fn a_race_is_two_columns() {
    let [left, right] = [echo_server("127.0.0.1:0"), echo_server("127.0.0.1:0")];
    let arguments = format!("race ws://{left}/ ws://{right}/ --connections 20 --hold 0s --duration 4s");
    let mut terminal = Terminal::start(&arguments, (100, 30), &[]);
    terminal.wait_until("both", |text| {
        let both =
            |part: &str| text.lines().any(|line| line.matches(part).count() == 2 && line.contains(" │ "));
        ["echoing", "echoes/s", "latency      p50", "connections  20"].into_iter().all(both)
            && has_braille(text)
    });
    let (status, left) = terminal.end();
    assert_eq!(status, Some(0), "{left}");
    assert!(unwrapped(&left).contains("latency p99") && !left.contains('│'), "{left}");
}

#[test]
fn a_terminal_that_is_too_small_shows_one_line() {
    let mut terminal = Terminal::start(&load("1h"), (20, 24), &[]);
    terminal.wait_until("a line", |text| text.contains("echoing") && text.contains(" of "));
    assert!(terminal.text().trim().lines().count() == 1, "{}", terminal.text());
    terminal.interrupt();
    assert_eq!(terminal.end().0, Some(0));
}

#[test]
fn no_color_is_respected() {
    let mut terminal = Terminal::start(&load("1h"), (80, 24), &[("NO_COLOR", "1")]);
    terminal.wait_until("a plot", |text| text.contains("echoing") && has_braille(text));
    terminal.interrupt();
    assert_eq!(terminal.end().0, Some(0));
    // Every SGR sequence ends in m, and no other does.
    let sent = String::from_utf8_lossy(&terminal.sent).into_owned();
    let sgr =
        |rest: &&str| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m');
    assert_eq!(sent.split("\x1b[").skip(1).find(sgr), None);
}

#[test]
fn a_dumb_terminal_gets_lines() {
    let mut terminal = Terminal::start(&load("1h"), (80, 24), &[("TERM", "dumb")]);
    terminal.wait_until("a line", |text| text.contains("echoing: 20 connections, "));
    terminal.interrupt();
    assert_eq!(terminal.end().0, Some(0));
    assert!(!terminal.sent.contains(&0x1b));
}

#[test]
fn the_view_is_ascii_without_a_utf8_locale() {
    let mut terminal = Terminal::start(&load("20s"), (100, 30), &[("LC_ALL", "C")]);
    terminal.wait_until("a gauge, a plot and an axis", |shown| {
        // Latencies of microseconds or of milliseconds, as fast as this machine is.
        let has_axis = shown.contains(" us") || shown.contains(" ms");
        shown.contains("==") && shown.contains("--") && shown.contains("##") && has_axis
    });
    terminal.interrupt();
    let (status, left) = terminal.end();
    assert!(status == Some(0) && terminal.sent.is_ascii(), "{left}");
}

#[test]
fn nothing_is_drawn_without_a_terminal_or_with_quiet() {
    let output = Command::new(CLIENT).args(load("4s").split_whitespace()).output().expect("the client runs");
    assert!(output.status.success());
    let progress = String::from_utf8(output.stderr).expect("text");
    assert!(progress.starts_with("echoing: 20 connections, "), "{progress}");
    assert!(!progress.contains('\x1b') && !output.stdout.contains(&0x1b));

    let mut terminal = Terminal::start(&(load("1s") + " --quiet"), (80, 24), &[]);
    let (status, left) = terminal.end();
    assert!(status == Some(0) && left.starts_with("ws://"), "{left}");
    let sent = String::from_utf8_lossy(&terminal.sent);
    assert!(
        sent.contains("\r\n\r\n\x1b[32mAll ") && sent.ends_with("\x1b[0m\r\n"),
        "the last sentence is green: {sent}"
    );
    assert_eq!(sent.matches('\x1b').count(), 2, "nothing else was sent than the summary: {sent}");
}
