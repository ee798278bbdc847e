//! What the command lines of all subcommands share: parsers of values, Ctrl-C, and the width of the terminal.

use crate::fleet::{Ramp, Url};
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Set by the first SIGINT or SIGTERM.
static STOP: AtomicBool = AtomicBool::new(false);

/// Installs a handler: the first SIGINT (Ctrl-C) or SIGTERM sets the returned flag, a second one ends the process at once.
pub fn stop_on_ctrl_c() -> &'static AtomicBool {
    extern "C" fn stop(_signal: libc::c_int) {
        STOP.store(true, Relaxed);
    }
    let handler: extern "C" fn(libc::c_int) = stop;
    // SAFETY: the handler only stores to an atomic, which is safe in the middle of anything (signal-safety(7)); a
    // zeroed sigaction with its handler set is valid, and lives through the calls.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_RESETHAND | libc::SA_RESTART;
        for signal in [libc::SIGINT, libc::SIGTERM] {
            libc::sigaction(signal, &action, ptr::null_mut());
        }
    }
    &STOP
}

/// Whether SIGINT or SIGTERM was received.
pub fn is_stopping() -> bool {
    STOP.load(Relaxed)
}

/// The columns of the terminal at standard output; `None` where there is no terminal.
pub fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

/// Wraps the lines of a text to the width of the terminal at standard output, between words; returns it unchanged where
/// there is no terminal.
pub fn fitted(text: &str) -> String {
    match columns() {
        Some(columns) => text.lines().map(|line| broken(line, columns) + "\n").collect(),
        None => text.to_owned(),
    }
}

/// A line wrapped to this many columns; what continues an indented row of a summary is indented to its values.
fn broken(row: &str, columns: usize) -> String {
    /// The column of the values in a summary.
    const VALUES: usize = 15;
    let indent = if row.starts_with("  ") { VALUES } else { 0 };
    let (mut done, mut column) = (String::new(), 0);
    for word in row.split_inclusive(' ') {
        let width = word.trim_end().chars().count();
        if column + width > columns && column > indent {
            done.truncate(done.trim_end().len());
            done += &format!("\n{:indent$}", "");
            column = indent;
        }
        done += word;
        column += word.chars().count();
    }
    done
}

/// A parser of sizes of up to `most` bytes, such as 32 or 4KiB.
///
/// # Errors
/// What is wrong with it, for clap to show.
pub fn size_to(most: bytesize::ByteSize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| match digits(text).parse::<bytesize::ByteSize>() {
        Ok(size) if size <= most => Ok(size.as_u64() as usize),
        Ok(_) => Err(format!("more than {most}")),
        Err(_) => Err("not a size such as 32, 4KiB or 1MiB".into()),
    }
}

/// Parses the path of a request line.
///
/// # Errors
/// What is wrong with it, for clap to show.
pub fn path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("a path begins with a slash: /{text}"));
    }
    match format!("ws://127.0.0.1{text}").parse::<Url>() {
        Ok(_) => Ok(text.into()),
        Err(error) => Err(error.to_string()),
    }
}

/// A number without the separators `_` and `,`.
fn digits(text: &str) -> String {
    text.replace(['_', ','], "")
}

/// Parses a whole number above zero, with `_` or `,` as separators: `1_000_000`.
///
/// # Errors
/// What is wrong with it, for clap to show.
pub fn count(text: &str) -> Result<u64, String> {
    match digits(text).parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(count) => Ok(count),
        Err(_) => Err("not a whole number such as 20000 or 1_000_000".into()),
    }
}

/// A parser like [`count`], of numbers up to `most`.
pub fn count_to(most: u64) -> impl Fn(&str) -> Result<u64, String> + Clone {
    move |text| match count(text)? {
        many if many > most => Err(format!("more than {most}")),
        count => Ok(count),
    }
}

/// Parses a rate per second, from 0.001 to 1e9.
///
/// # Errors
/// What is wrong with it, for clap to show.
pub fn rate_per_s(text: &str) -> Result<f64, String> {
    match digits(text).parse::<f64>() {
        Ok(rate) if (1e-3..=1e9).contains(&rate) => Ok(rate),
        Ok(_) => Err("must be between 0.001 and 1e9 per second".into()),
        Err(_) => Err("not a number such as 2000 or 0.5".into()),
    }
}

/// Parses a rate that rises linearly, FROM..TO/TIME: `0..20000/60s`.
///
/// # Errors
/// What is wrong with it, for clap to show.
pub fn ramp(text: &str) -> Result<Ramp, String> {
    let parts = text.split_once("..").and_then(|(from, rest)| Some((from, rest.rsplit_once('/')?)));
    let Some((from, (to, time))) = parts else { return Err("not FROM..TO/TIME such as 0..20000/60s".into()) };
    let from_per_s = if digits(from).parse() == Ok(0.0) { 0.0 } else { rate_per_s(from)? };
    let (to_per_s, time) = (rate_per_s(to)?, positive_duration(time)?);
    if to_per_s <= from_per_s {
        return Err(format!("it does not rise: {to} is not above {from}"));
    }
    Ok(Ramp { from_per_s, to_per_s, time })
}

/// Parses a time of up to a year, such as 500ms, 30s or 2m.
///
/// # Errors
/// What is wrong with it, for clap to show.
pub fn duration(text: &str) -> Result<Duration, String> {
    let time = common::config::duration(&digits(text))?;
    if time.as_secs() > 31_536_000 { Err("longer than a year".into()) } else { Ok(time) }
}

/// Parses a time above zero, of up to a year.
///
/// # Errors
/// What is wrong with it, for clap to show.
pub fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be more than 0".into()),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words() {
        let line = "  latency      p50 6.68 ms, p99 25.3 ms";
        assert_eq!(broken(line, 80), line);
        assert_eq!(broken(line, 39), line);
        assert_eq!(broken(line, 38), "  latency      p50 6.68 ms, p99 25.3\n               ms");
        assert_eq!(broken("All 18,000 echoes right", 12), "All 18,000\nechoes right");
        assert_eq!(broken("", 10), "");
        assert_eq!(broken("no-place-to-break", 5), "no-place-to-break");
    }

    #[test]
    fn numbers_and_times() {
        assert_eq!(count("1_000,000"), Ok(1_000_000));
        assert!(count("0").is_err() && count("-1").is_err() && count("1e3").is_err() && count("").is_err());
        assert_eq!((count_to(1_000)("1_000"), count_to(1_000)("1001").is_err()), (Ok(1_000), true));
        assert_eq!(rate_per_s("20_000"), Ok(20_000.0));
        let rise = Ramp { from_per_s: 0.0, to_per_s: 20_000.0, time: Duration::from_secs(60) };
        assert_eq!((ramp("0..20_000/60s"), ramp("0.0..20000/1m")), (Ok(rise), Ok(rise)));
        for text in [
            "",
            "5",
            "0..5",
            "0/5s",
            "5..5/1s",
            "9..5/1s",
            "-1..5/1s",
            "0..0/1s",
            "0..5/0s",
            "nan..5/1s",
            "0..inf/1s",
        ] {
            assert!(ramp(text).is_err(), "{text}");
        }
        assert_eq!(duration("1_500ms"), Ok(Duration::from_millis(1_500)));
        let size = size_to(bytesize::ByteSize::kib(4));
        assert_eq!((size("4_096"), size("4KiB"), size("4097").is_err()), (Ok(4_096), Ok(4_096), true));
        assert!(["0", "-1", "nan", "inf", "fast"].iter().all(|text| rate_per_s(text).is_err()));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(positive_duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(
            positive_duration("0s").is_err() && duration("soon").is_err() && duration("900years").is_err()
        );
    }
}
