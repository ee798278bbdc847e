//! Counts a server's user-space instructions with `perf stat`: unlike times, they do not depend on the machine's
//! current speed.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::ErrorKind;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A running `perf stat` attached to a process.
#[derive(Debug)]
pub struct InstructionCount {
    perf: Child,
}

impl InstructionCount {
    /// Tries to count the instructions of `true`.
    ///
    /// # Errors
    /// The reason, for display, if they cannot be counted here.
    pub fn probe() -> Result<(), String> {
        let output = perf("instructions:u").args(["--", "true"]).output().map_err(no_perf)?;
        parse(&String::from_utf8_lossy(&output.stderr)).map(drop)
    }

    /// Starts to count; returns once the counter is running.
    ///
    /// # Errors
    /// The reason, for display, if perf does not start.
    pub fn start(pid: u32) -> Result<Self, String> {
        Self::of_event("instructions:u", pid)
    }

    fn of_event(event: &str, pid: u32) -> Result<Self, String> {
        let perf = perf(event).args(["-p", &pid.to_string()]).spawn().map_err(no_perf)?;
        let mut count = Self { perf };
        count.wait_until_attached();
        Ok(count)
    }

    /// Waits until perf has opened a counter or ended, at most two seconds: it signals readiness in no other way.
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
                // perf opens one counter per thread before it enables any; this covers the remaining ones.
                return sleep(Duration::from_millis(20));
            }
            sleep(Duration::from_millis(2));
        }
    }

    /// Stops counting and returns the count.
    ///
    /// # Errors
    /// The reason, for display, if there is none.
    pub fn finish(self) -> Result<f64, String> {
        if let Ok(id) = i32::try_from(self.perf.id())
            && let Some(pid) = Pid::from_raw(id)
        {
            // Fails if perf has already ended.
            let _ = kill_process(pid, Signal::INT);
        }
        let output = self.perf.wait_with_output().map_err(|error| format!("no output from perf: {error}"))?;
        parse(&String::from_utf8_lossy(&output.stderr))
    }
}

/// `perf stat` with comma-separated output on standard error.
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

/// The first field of the line that `perf stat -x,` writes, or its error message.
fn parse(output: &str) -> Result<f64, String> {
    let mut lines = output.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(line) = lines.next() else { return Err("no output from perf".into()) };
    match line.split(',').next().unwrap_or_default() {
        "<not supported>" => {
            Err("this machine has no instruction counter (common in virtual machines)".into())
        }
        "<not counted>" => Err("perf counted nothing".into()),
        count => count.parse().map_err(|_| match line {
            line if line.to_lowercase().contains("access") || line.contains("ermi") => {
                "perf is not permitted: see kernel.perf_event_paranoid".to_owned()
            }
            line => format!("perf: {line}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_output_of_perf() {
        assert_eq!(parse("1234567,,instructions:u,2002345678,100.00,,\n"), Ok(1_234_567.0));
        assert!(
            parse("<not supported>,,instructions:u,0,100.00,,\n")
                .unwrap_err()
                .contains("no instruction counter")
        );
        assert!(parse("<not counted>,,instructions:u,0,0.00,,\n").unwrap_err().contains("nothing"));
        assert!(parse("\n").is_err());
        assert!(parse("Error:\nAccess to performance monitoring is limited.").is_err());
        assert!(parse("No permission to enable instructions:u event.").unwrap_err().contains("paranoid"));
    }

    #[test]
    fn counts_a_process_or_gives_a_reason() {
        // If perf is missing or not permitted, this returns the reason at once; otherwise it counts this process.
        let count = InstructionCount::of_event("task-clock", std::process::id());
        let deadline = Instant::now() + Duration::from_millis(20);
        while Instant::now() < deadline {}
        match count.and_then(InstructionCount::finish) {
            Ok(milliseconds) => assert!(milliseconds > 0.0),
            Err(reason) => assert!(!reason.is_empty()),
        }
    }
}
