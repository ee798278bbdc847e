//! The server's process: starts it on free ports, sends it signals, waits for its exit, and kills it on drop.

use crate::cgroup::Group;
use crate::descriptors;
use crate::http::{Request, Response};
use crate::metrics::Metrics;
use crate::sink::{Output, Sink};
use crate::wait;
use crate::wire::Peer;
use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{Pid, Signal, kill_process};
use std::env;
use std::io::PipeReader;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

/// The path of the server under test.
pub(crate) struct Binary(pub &'static str);

/// How to start a server.
#[derive(Clone, Copy)]
pub(crate) struct Setup<'a> {
    pub flags: &'a [&'a str],
    /// Environment variables, added to those of the suite. Variables `WS_…` of the suite are removed.
    pub env: &'a [(&'a str, &'a str)],
    /// `RLIMIT_NOFILE`, soft and hard.
    pub nofile: Option<u32>,
    /// The control group to start it in.
    pub group: Option<&'a Group>,
    /// Whether to bind port 0 where `flags` do not name an address.
    pub own_ports: bool,
    pub stdout: Sink,
    pub stderr: Sink,
    /// A flag of env(1) that sets a signal's disposition, which the server would otherwise inherit from the suite.
    pub on_signal: Option<&'a str>,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Setup {
            flags: &[],
            env: &[],
            nofile: None,
            group: None,
            own_ports: true,
            stdout: Sink::Collected,
            stderr: Sink::Collected,
            on_signal: None,
        }
    }
}

impl Binary {
    /// Starts a server and waits until it is ready.
    #[track_caller]
    pub fn serve(&self, flags: &[&str]) -> Server {
        self.serve_with(Setup { flags, ..Setup::default() })
    }

    /// The same, with flags that admit `connections` ([`descriptors::flags_for`]).
    #[track_caller]
    pub fn serve_many(&self, connections: usize, flags: &[&str]) -> Server {
        let room = descriptors::flags_for(connections);
        self.serve(&room.iter().map(String::as_str).chain(flags.iter().copied()).collect::<Vec<_>>())
    }

    /// The same with a full [`Setup`].
    #[track_caller]
    pub fn serve_with(&self, setup: Setup<'_>) -> Server {
        Process::start(self, setup).ready()
    }

    /// The same where stdout is not collected, so that the addresses cannot be read from it.
    #[track_caller]
    pub fn serve_without_output(&self, setup: Setup<'_>) -> Server {
        let [addr, admin] = [Port::reserve(), Port::reserve()];
        let flags = ["--addr", &addr.text, "--admin-addr", &admin.text];
        let process = Process::start(self, Setup { flags: &[setup.flags, &flags].concat(), ..setup });
        wait::until("the server is ready", || {
            TcpStream::connect(addr.addr).map(drop).map_err(|error| error.to_string())
        });
        Server { process, addr: addr.addr, admin: admin.addr, ready_line: String::new() }
    }

    /// Starts two servers at once on the same address, and returns the one that serves and the one that failed.
    #[track_caller]
    pub fn serve_two_at_once(&self, flags: &[&str]) -> (Server, Finished) {
        let addr = Port::reserve();
        let setup = Setup { flags: &[flags, &["--addr", &addr.text]].concat(), ..Setup::default() };
        let mut both = [Process::start(self, setup), Process::start(self, setup)];
        let lost = wait::until("one of two servers ends", || {
            let ended =
                both.iter_mut().position(|process| process.child.try_wait().is_ok_and(|s| s.is_some()));
            ended.ok_or("both serve".to_string())
        });
        let [first, second] = both;
        let (mut loser, winner) = if lost == 0 { (first, second) } else { (second, first) };
        (winner.ready(), loser.finished())
    }

    /// Runs a command line with which the program should end by itself.
    #[track_caller]
    pub fn run(&self, setup: Setup<'_>) -> Finished {
        Process::start(self, setup).finished()
    }
}

/// A reserved port: a bound socket that does not listen keeps the kernel from assigning it to others.
struct Port {
    addr: SocketAddr,
    text: String,
    _socket: OwnedFd,
}

impl Port {
    fn reserve() -> Port {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        sockopt::set_socket_reuseaddr(&socket, true).expect("SO_REUSEADDR");
        rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
        let name = rustix::net::getsockname(&socket).expect("getsockname");
        let addr = SocketAddr::try_from(name).expect("an IP address");
        Port { addr, text: addr.to_string(), _socket: socket }
    }
}

/// Exit status and output of a program that ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The address after `scheme` in the ready line.
fn address(line: &str, scheme: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(scheme)?;
    rest.split(['/', ',', ' ']).next()?.parse().ok()
}

/// A running server.
pub(crate) struct Server {
    process: Process,
    /// The WebSocket address (`--addr`).
    pub addr: SocketAddr,
    /// The admin address (`--admin-addr`).
    pub admin: SocketAddr,
    /// The line on stdout that announces both. Empty if stdout was not collected.
    pub ready_line: String,
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// What it has written so far to stdout and to stderr.
    pub fn output(&self) -> [String; 2] {
        [self.process.stdout.text(), self.process.stderr.text()]
    }

    /// Scrapes the admin address.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        scrape(self.admin)
    }

    /// Scrapes until the sum of each of these metrics over all their series is as expected, and returns that scrape.
    #[track_caller]
    pub fn metrics_agree(&self, expected: &[(&str, usize)]) -> Metrics {
        let wanted = expected.iter().map(|(name, sum)| format!("{name} {sum}; ")).collect::<String>();
        wait::until(&wanted, || {
            let metrics = self.metrics();
            let wrong = expected.iter().filter(|(name, sum)| metrics.sum(name) != *sum as f64);
            let wrong = wrong.map(|(name, _)| format!("{name} {}; ", metrics.sum(name))).collect::<String>();
            if wrong.is_empty() { Ok(metrics) } else { Err(wrong) }
        })
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.process.child);
        kill_process(pid, signal).expect("signal a child");
    }

    /// Waits for it to end.
    #[track_caller]
    pub fn exit(&mut self) -> ExitStatus {
        self.process.exit()
    }

    pub fn runs(&mut self) -> bool {
        self.process.child.try_wait().expect("wait for a child").is_none()
    }
}

/// Sends a plain HTTP request, and returns the response.
#[track_caller]
pub(crate) fn get(addr: SocketAddr, path: &str) -> Response {
    let mut peer = Peer::open(addr);
    peer.send(&Request::new("GET", path).with("Connection", "close").bytes());
    peer.plain_response()
}

/// Scrapes an admin address.
#[track_caller]
pub(crate) fn scrape(admin: SocketAddr) -> Metrics {
    let response = get(admin, "/metrics");
    assert_eq!(response.status, 200, "status of /metrics on the admin address");
    Metrics::parse(&response.body).unwrap_or_else(|error| panic!("/metrics: {error}"))
}

/// A child process whose output is collected. It is killed on drop.
struct Process {
    child: Child,
    command: String,
    stdout: Output,
    stderr: Output,
    /// Read ends that are never read: closing them would change a stalled pipe into a broken one.
    _readers: [Option<PipeReader>; 2],
}

impl Process {
    fn start(binary: &Binary, setup: Setup<'_>) -> Process {
        let mut command = match (setup.nofile, setup.group) {
            (None, None) => Command::new(binary.0),
            (limit, group) => {
                let mut shell = Command::new("sh");
                let script = r#"[ -z "$0" ] || ulimit -n "$0"; echo $$ >"$1"; shift; exec "$@""#;
                shell.args(["-ec", script]).arg(limit.map_or(String::new(), |limit| limit.to_string()));
                shell.arg(group.map_or("/dev/null".into(), |group| group.path().join("cgroup.procs")));
                shell.arg(binary.0);
                shell
            }
        };
        command.args(setup.flags);
        // A flag of one stage selects a variant of that server, to which the suite applies as well.
        command.args(env::var("CONFORMANCE_FLAGS").unwrap_or_default().split_whitespace());
        let own = |flag: &&str| setup.own_ports && !setup.flags.contains(flag);
        for flag in ["--addr", "--admin-addr"].into_iter().filter(own) {
            command.args([flag, "127.0.0.1:0"]);
        }
        let mut command = Sink::closed(command, setup.stdout, setup.stderr);
        if let Some(flag) = setup.on_signal {
            let mut env = Command::new("env");
            env.arg(flag).arg(command.get_program()).args(command.get_args());
            command = env;
        }
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WS_")) {
            command.env_remove(name);
        }
        command.env_remove("GLIBC_TUNABLES");
        command.envs(setup.env.iter().copied());
        let ((stdout, no_reader), (stderr, nor_reader)) = (setup.stdout.open(), setup.stderr.open());
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = child.stdout.take().map_or(Output::none(), Output::collect);
        let stderr = child.stderr.take().map_or(Output::none(), Output::collect);
        Process { child, command: format!("{command:?}"), stdout, stderr, _readers: [no_reader, nor_reader] }
    }

    /// Waits for the ready line.
    #[track_caller]
    fn ready(self) -> Server {
        let ready_line = self.first_line();
        let [addr, admin] = ["ws://", "http://"].map(|scheme| address(&ready_line, scheme));
        let (Some(addr), Some(admin)) = (addr, admin) else {
            panic!("expected a line with ws://ADDR/echo and http://ADDR on stdout; got: {ready_line:?}")
        };
        Server { process: self, addr, admin, ready_line }
    }

    /// Waits for it to end.
    #[track_caller]
    fn finished(&mut self) -> Finished {
        let status = self.exit();
        Finished { code: status.code(), stdout: self.stdout.text(), stderr: self.stderr.text() }
    }

    /// Waits for the first line on stdout.
    #[track_caller]
    fn first_line(&self) -> String {
        wait::until("the ready line on stdout", || {
            // Check for the end first: then the text is complete.
            let ended = self.stdout.ended();
            let text = self.stdout.text();
            match text.split_once('\n') {
                Some((line, _)) => Ok(line.to_string()),
                None if ended => panic!("expected: a line on stdout; got: {text:?}, then the end"),
                None => Err(format!("{text:?}")),
            }
        })
    }

    #[track_caller]
    fn exit(&mut self) -> ExitStatus {
        let status = wait::until("the process ends", || {
            self.child.try_wait().expect("wait for a child").ok_or("still running".to_string())
        });
        wait::until("stdout and stderr end", || match self.stdout.ended() && self.stderr.ended() {
            true => Ok(()),
            false => Err("another process has them open".to_string()),
        });
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- {}\n--- stdout:\n{}--- stderr:", self.command, self.stdout.text());
            eprintln!("{}---", self.stderr.text());
        }
    }
}
