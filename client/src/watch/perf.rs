//! Counting a server's instructions in user space with `perf stat`: a figure that does not move with the machine's
//! speed of the minute.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::ErrorKind;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// `perf stat` at work on a process.
#[derive(Debug)]
pub struct InstructionCount {
    perf: Child,
}

impl InstructionCount {
    /// Tries on a process of its own whether instructions can be counted here.
    ///
    /// # Errors
    /// Why they cannot, in a few words.
    pub fn probe() -> Result<(), String> {
        let output = perf("instructions:u").args(["--", "true"]).output().map_err(no_perf)?;
        parse(&String::from_utf8_lossy(&output.stderr)).map(drop)
    }

    /// Begins to count; returns when counting has begun.
    ///
    /// # Errors
    /// Why this machine or this user cannot, in a few words.
    pub fn start(pid: u32) -> Result<Self, String> {
        Self::of_event("instructions:u", pid)
    }

    fn of_event(event: &str, pid: u32) -> Result<Self, String> {
        let perf = perf(event).args(["-p", &pid.to_string()]).spawn().map_err(no_perf)?;
        let mut count = Self { perf };
        count.wait_until_attached();
        Ok(count)
    }

    /// Waits until perf holds a counter, or has ended, or two seconds are over: it has no other sign of readiness.
    fn wait_until_attached(&mut self) {
        let descriptors = format!("/proc/{}/fd", self.perf.id());
        let deadline = Instant::now() + Duration::from_secs(2);
        let is_counter = |entry: fs::DirEntry| {
            fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == "anon_inode:[perf_event]")
        };
        while Instant::now() < deadline && matches!(self.perf.try_wait(), Ok(None)) {
            let attached =
                fs::read_dir(&descriptors).is_ok_and(|mut all| all.any(|entry| entry.is_ok_and(is_counter)));
            if attached {
                // One counter per thread is opened before any is enabled; this covers the rest of them.
                return sleep(Duration::from_millis(20));
            }
            sleep(Duration::from_millis(2));
        }
    }

    /// Ends the count, and returns it.
    ///
    /// # Errors
    /// Why there is none, in a few words.
    pub fn finish(self) -> Result<f64, String> {
        if let Ok(id) = i32::try_from(self.perf.id())
            && let Some(pid) = Pid::from_raw(id)
        {
            // It may have ended by itself, having nothing to count.
            let _ = kill_process(pid, Signal::INT);
        }
        let output = self.perf.wait_with_output().map_err(|error| format!("perf gave nothing: {error}"))?;
        parse(&String::from_utf8_lossy(&output.stderr))
    }
}

/// `perf stat`, with its figures separated by commas, on standard error.
fn perf(event: &str) -> Command {
    let mut command = Command::new("perf");
    command.args(["stat", "-x,", "-e", event]).env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn no_perf(error: std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "perf is not installed".into(),
        _ => format!("perf does not start: {error}"),
    }
}

/// The first field of the line that `perf stat -x,` writes, or what it says instead.
fn parse(output: &str) -> Result<f64, String> {
    let mut lines = output.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(line) = lines.next() else { return Err("perf gave nothing".into()) };
    match line.split(',').next().unwrap_or_default() {
        "<not supported>" => {
            Err("this machine has no counter of instructions (virtual machines often lack it)".into())
        }
        "<not counted>" => Err("perf counted nothing".into()),
        count => count.parse().map_err(|_| match line {
            line if line.to_lowercase().contains("access") || line.contains("ermi") => {
                "perf is not allowed here: see kernel.perf_event_paranoid".to_owned()
            }
            line => format!("perf says: {line}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_perf_writes() {
        assert_eq!(parse("1234567,,instructions:u,2002345678,100.00,,\n"), Ok(1_234_567.0));
        assert!(parse("<not supported>,,instructions:u,0,100.00,,\n").unwrap_err().contains("no counter"));
        assert!(parse("<not counted>,,instructions:u,0,0.00,,\n").unwrap_err().contains("nothing"));
        assert!(parse("\n").is_err());
        assert!(parse("Error:\nAccess to performance monitoring is limited.").is_err());
        assert!(parse("No permission to enable instructions:u event.").unwrap_err().contains("paranoid"));
    }

    #[test]
    fn counts_a_process_or_says_why_not() {
        // Where perf is missing or forbidden this ends at once, with a reason; else it counts this very process.
        let count = InstructionCount::of_event("task-clock", std::process::id());
        let deadline = Instant::now() + Duration::from_millis(20);
        while Instant::now() < deadline {}
        match count.and_then(InstructionCount::finish) {
            Ok(milliseconds) => assert!(milliseconds > 0.0),
            Err(reason) => assert!(!reason.is_empty()),
        }
    }
}
