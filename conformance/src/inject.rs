//! Errors that system calls of a server return without having been made (strace(1), `inject`), for as long as it takes.

use crate::server::Server;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::thread;

/// Which calls are to fail.
pub(crate) enum Of {
    /// Those of this thread.
    Thread(u32),
    /// Those of all threads, and of those they start.
    Process(u32),
}

/// A tracer that makes calls fail until it is dropped.
pub(crate) struct Injection(Child);

impl Injection {
    /// Has calls fail from now on, `what` being for example `accept4:error=EMFILE`. `None`, and a line on stderr, where
    /// there is no strace, or it may not trace.
    pub fn start(of: Of, what: &str) -> Option<Injection> {
        let mut strace = Command::new("strace");
        match of {
            Of::Thread(thread) => strace.args(["-p", &thread.to_string()]),
            Of::Process(process) => strace.args(["-f", "-p", &process.to_string()]),
        };
        let (calls, _) = what.split_once(':').expect("calls, and what becomes of them");
        strace.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={what}"), "-o", "/dev/null"]);
        let spawned = strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut strace = match spawned {
            Ok(strace) => Injection(strace),
            Err(error) => return skip(&format!("cannot run strace: {error}")),
        };
        let mut messages = BufReader::new(strace.0.stderr.take().expect("piped"));
        let mut first = String::new();
        messages.read_line(&mut first).expect("what strace says first");
        if !first.contains(" attached") {
            return skip(&format!("strace is of no use here: {first}"));
        }
        // It tells of every thread, and would wait for a reader.
        thread::spawn(move || io::copy(&mut messages, &mut io::sink()));
        Some(strace)
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // It lets go of the server before it ends, and may have ended with it.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

/// The thread of a server's only shard, as long as no connection has a thread, which would bear its name.
pub(crate) fn shard_thread(server: &Server) -> u32 {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("tasks of a living server");
    let is_shard = |path: &std::path::Path| {
        fs::read_to_string(path.join("comm")).is_ok_and(|name| name.starts_with("shard-"))
    };
    let mut shards = tasks.flatten().map(|task| task.path()).filter(|path| is_shard(path));
    let shard = shards.next().expect("a thread called shard-0");
    assert!(shards.next().is_none(), "one shard, and no connection yet");
    shard.file_name().and_then(|id| id.to_str()?.parse().ok()).expect("a thread's number")
}

/// Says that a case could not be run.
pub(crate) fn skip<T>(why: &str) -> Option<T> {
    note(&format!("skipped: {}", why.trim_end()));
    None
}

/// Says something of a case, past the test harness, which shows nothing of what passes.
pub fn note(what: &str) {
    let name = thread::current().name().map(|name| format!(" ({name})")).unwrap_or_default();
    // There is nobody to tell where stderr is closed.
    let _ = io::stderr().write_all(format!("{what}{name}\n").as_bytes());
}
