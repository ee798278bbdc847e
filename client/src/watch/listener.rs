//! Checks that a process listens on a port: a mistyped `--pid` would measure another program.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Descriptors to read before the search ends: a process with more is evidently a server under load.
const MOST_DESCRIPTORS: usize = 200_000;

/// Whether a process listens on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listens {
    /// It does.
    Yes,
    /// Other processes do, and it does not.
    No,
    /// Its descriptors cannot be read, or the port belongs to another machine or network namespace.
    Unknown,
}

/// Whether the process with this id listens on `port`, on any address.
pub fn listens(pid: u32, port: u16) -> Listens {
    listens_under(Path::new("/proc"), pid, port)
}

fn listens_under(proc: &Path, pid: u32, port: u16) -> Listens {
    let namespace = |pid: &str| fs::read_link(proc.join(pid).join("ns/net")).ok();
    let own = namespace("self");
    // Another process, or the kernel, forwards a container's published port.
    if own.is_none() || namespace(&pid.to_string()) != own {
        return Listens::Unknown;
    }
    let sockets: HashSet<String> =
        ["self/net/tcp", "self/net/tcp6"].iter().flat_map(|file| listeners(&proc.join(file), port)).collect();
    if sockets.is_empty() {
        return Listens::Unknown;
    }
    holds(&proc.join(pid.to_string()), &sockets)
}

/// The inodes of the sockets that listen on a port, as links in /proc/PID/fd show them.
fn listeners(file: &Path, port: u16) -> Vec<String> {
    /// `TCP_LISTEN`. Listening sockets come first in the file.
    const LISTEN: &str = "0A";
    let Ok(file) = File::open(file) else { return Vec::new() };
    let port = format!(":{port:04X}");
    let lines = BufReader::new(file).lines().skip(1).map_while(Result::ok);
    let fields = lines.map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let listening = fields.take_while(|fields| fields.get(3).is_some_and(|state| state == LISTEN));
    let on_port = listening.filter(|fields| fields[1].ends_with(&port));
    on_port.filter_map(|fields| Some(format!("socket:[{}]", fields.get(9)?))).collect()
}

/// Whether any thread of a process has one of these open. Each thread may have its own descriptor table.
fn holds(process: &Path, sockets: &HashSet<String>) -> Listens {
    let Ok(tasks) = fs::read_dir(process.join("task")) else { return Listens::Unknown };
    let (mut seen, mut unread) = (0, false);
    for task in tasks.flatten() {
        let Ok(descriptors) = fs::read_dir(task.path().join("fd")) else {
            unread = true;
            continue;
        };
        for descriptor in descriptors.flatten() {
            match fs::read_link(descriptor.path()) {
                Ok(link) if link.to_str().is_some_and(|link| sockets.contains(link)) => return Listens::Yes,
                Ok(_) => seen += 1,
                Err(_) => unread = true,
            }
            if seen > MOST_DESCRIPTORS {
                return Listens::Unknown;
            }
        }
    }
    if unread { Listens::Unknown } else { Listens::No }
}

/// A warning that a process may not be the server on `port`; `None` if it is.
pub fn doubt(pid: u32, port: u16) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    match listens(pid, port) {
        Listens::Yes => None,
        Listens::No => Some(format!(
            "process {pid} ({}) does not listen on port {port}: its figures are not the server's",
            name.trim()
        )),
        Listens::Unknown => {
            Some(format!("cannot determine whether process {pid} ({}) is the server", name.trim()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::table::unshare_table;
    use rustix::event::{EventfdFlags, eventfd};
    use std::net::TcpListener;
    use std::os::fd::AsFd;
    use std::process::{self, Command, Stdio};
    use std::sync::mpsc;

    #[test]
    fn a_listening_process_is_distinguished_from_others() {
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = TcpListener::bind(address).expect("bind");
            let port = listener.local_addr().expect("address").port();
            assert_eq!(listens(process::id(), port), Listens::Yes);
            let mut other = Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat runs");
            let doubt = doubt(other.id(), port).expect("a warning");
            assert!(
                doubt.contains("(cat) does not listen") || doubt.contains("does not listen on port"),
                "{doubt}"
            );
            other.kill().expect("it runs");
            other.wait().expect("it has ended");
        }
        assert_eq!(listens(process::id(), 1), Listens::Unknown);
        assert_eq!(listens(4_000_000_000, 1), Listens::Unknown);
    }

    /// As in a stage's shards.
    #[test]
    fn a_listener_in_the_table_of_one_thread_is_found() {
        let (report, reported) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let shard = std::thread::spawn(move || {
            let kept = eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
            unshare_table(kept.as_fd()).expect("a table of its own");
            let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
            report.send(listener.local_addr().expect("address").port()).expect("a receiver");
            let _ = ended.recv();
        });
        let port = reported.recv().expect("a port");
        assert_eq!(listens(process::id(), port), Listens::Yes);
        drop(end);
        shard.join().expect("it ends");
    }
}
