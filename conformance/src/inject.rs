//! Injects errors into a server's system calls (strace(1), `inject`). A failed call is not executed.

use crate::notice::skip;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;

/// Whose calls fail.
pub(crate) enum Target {
    /// One thread, by its id.
    Thread(u32),
    /// All threads of a process, and those they start.
    Process(u32),
}

/// A running strace. Calls fail until it is dropped.
pub(crate) struct Injection(Child);

impl Injection {
    /// Starts injecting `fault`, for example `accept4:error=EMFILE`. `None`, with a notice, without strace or without
    /// permission to trace.
    pub fn start(target: Target, fault: &str) -> Option<Injection> {
        let mut strace = Command::new("strace");
        match target {
            Target::Thread(thread) => strace.args(["-p", &thread.to_string()]),
            Target::Process(process) => strace.args(["-f", "-p", &process.to_string()]),
        };
        let (calls, _) = fault.split_once(':').expect("CALLS:FAULT");
        strace.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={fault}"), "-o", "/dev/null"]);
        let spawned = strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut strace = match spawned {
            Ok(strace) => Injection(strace),
            Err(error) => return skip(&format!("cannot run strace: {error}")),
        };
        let mut messages = BufReader::new(strace.0.stderr.take().expect("piped"));
        let mut first = String::new();
        messages.read_line(&mut first).expect("the first line of strace");
        if !first.contains(" attached") {
            return skip(&format!("strace cannot attach: {first}"));
        }
        // strace writes a line per thread, and would block on a full pipe.
        thread::spawn(move || io::copy(&mut messages, &mut io::sink()));
        Some(strace)
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // strace detaches on SIGTERM. It may have ended already, together with the server.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}
