//! A server process: how it is started, when it is ready, how it is watched, and how it ends.

use super::{Start, Subject};
use crate::fleet::{Endpoint, Url};
use crate::report::format::time;
use crate::watch::Watched;
use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a server may take to be ready, and to exit.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    /// Where it echoes.
    pub endpoint: Endpoint,
    /// Where it serves `/metrics`; `None` for a server that is not a stage.
    pub admin: Option<SocketAddr>,
    /// The number of its shards; `None` for a server that is not a stage.
    pub shards: Option<u64>,
    last_words: LastWords,
}

impl Server {
    /// Starts it, and waits until it is ready.
    ///
    /// # Errors
    /// What kept it from starting, in one line.
    pub fn start(subject: &Subject, max_connections: u64) -> Result<Self> {
        Self::start_with(subject, max_connections, &[])
    }

    /// Starts it with these flags as well, if it is a stage.
    ///
    /// # Errors
    /// What kept it from starting, in one line.
    pub fn start_with(subject: &Subject, max_connections: u64, flags: &[String]) -> Result<Self> {
        match &subject.start {
            Start::Stage(binary) => {
                let most = max_connections.to_string();
                let mut command = Command::new(binary);
                command.args(["--addr", "127.0.0.1:0", "--max-connections", &most]);
                // A caller may want to look at the live page.
                if !flags.iter().any(|flag| flag.starts_with("--admin-addr")) {
                    command.args(["--admin-addr", "127.0.0.1:0"]);
                }
                command.args(flags);
                // The environment must not change what is measured. Warnings are quoted where it dies.
                command.env("WS_LOG", "warn");
                let missing = "cannot start it: build it first (cargo build --release --workspace)";
                let (mut child, lines, last_words) = spawn(&mut command).context(missing)?;
                match lines
                    .recv_timeout(TIMEOUT)
                    .ok()
                    .and_then(|line| Some((addresses(&line)?, shards(&line))))
                {
                    Some(((endpoint, admin), shards)) => {
                        Ok(Self { child, endpoint, admin: Some(admin), shards, last_words })
                    }
                    None => Err(not_ready(&mut child, &last_words)),
                }
            }
            Start::Peer(binary) => {
                let port = free_port()?;
                let missing = "cannot start it: build it first (omit --no-build)";
                let mut command = Command::new(binary);
                Self::start_other(command.arg(format!("127.0.0.1:{port}")), port, "/", missing)
            }
            Start::Other(words, path) => {
                let port = free_port()?;
                let fill = |word: &String| word.replace("{port}", &port.to_string());
                let mut command = Command::new(fill(&words[0]));
                command.args(words[1..].iter().map(fill));
                Self::start_other(&mut command, port, path, "cannot start it: is the command right?")
            }
        }
    }

    /// Starts a server that prints no line when it is ready: it is ready when it listens.
    fn start_other(command: &mut Command, port: u16, path: &str, missing: &'static str) -> Result<Self> {
        let (mut child, _, last_words) = spawn(command).context(missing)?;
        let Some(addr) = listening_on(&mut child, port) else {
            return Err(not_ready(&mut child, &last_words));
        };
        let url: Url = format!("ws://{addr}{path}").parse()?;
        Ok(Self { child, endpoint: url.resolve()?, admin: None, shards: None, last_words })
    }

    /// For reading its memory and processor time.
    pub fn watched(&self) -> Watched {
        Watched::new(self.child.id())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails if it has died.
    ///
    /// # Errors
    /// How it ended, and the last line that it wrote on standard error.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => Err(death(status, &self.last_words)),
            None => Ok(()),
        }
    }

    /// Returns `outcome`, unless the server has died meanwhile.
    ///
    /// # Errors
    /// How the server ended, which explains more than the connections it reset; else the error of `outcome`.
    pub fn outlived<T>(&mut self, outcome: Result<T>) -> Result<T> {
        /// The kernel closes a process's connections before its parent can wait for it.
        const DEATH_TAKES: Duration = Duration::from_secs(2);
        let deadline = Instant::now() + DEATH_TAKES;
        while outcome.is_err() && Instant::now() < deadline && self.child.try_wait()?.is_none() {
            thread::sleep(Duration::from_millis(5));
        }
        self.check_alive()?;
        outcome
    }

    /// Sends SIGTERM, waits for the server to exit, and returns how it did, such as `exit 0`.
    ///
    /// # Errors
    /// Where it has died before, or does not exit in time; then it is killed.
    pub fn stop(mut self) -> Result<String> {
        self.check_alive()?;
        signal(&self.child, Signal::TERM);
        let deadline = Instant::now() + TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(ending(status));
            }
            thread::sleep(Duration::from_millis(5));
        }
        bail!("it did not end within {} of SIGTERM, and was killed", time(TIMEOUT.as_secs_f64()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only for a process that has exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

type Spawned = (Child, Receiver<String>, LastWords);

/// Starts a process that is killed with this one. Threads read its output, so that it never blocks on a full pipe.
fn spawn(command: &mut Command) -> Result<Spawned> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Ctrl-C signals the terminal's process group: only this program must get it, and then stop the server itself.
    command.process_group(0);
    let end_with_parent =
        || rustix::process::set_parent_process_death_signal(Some(Signal::TERM)).map_err(Into::into);
    // SAFETY: runs between fork and exec, and makes a single system call, which needs no lock and no memory.
    unsafe { command.pre_exec(end_with_parent) };
    let mut child = command.spawn()?;
    let (send, lines) = mpsc::channel();
    read_lines(child.stdout.take(), move |line| {
        // The receiver is dropped once the server is ready.
        let _ = send.send(line);
    });
    let last = Arc::new(Mutex::new(String::new()));
    let said = last.clone();
    let reader = read_lines(child.stderr.take(), move |line| {
        *said.lock().unwrap_or_else(PoisonError::into_inner) = line
    });
    Ok((child, lines, LastWords { last, reader }))
}

/// The last line that a server wrote on standard error.
struct LastWords {
    last: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl LastWords {
    /// The line, once the process has exited. Waits for the end of its output, which a child of its own may keep open.
    fn after_exit(&self) -> String {
        let deadline = Instant::now() + Duration::from_millis(500);
        while self.reader.as_ref().is_some_and(|reader| !reader.is_finished()) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        self.last.lock().unwrap_or_else(PoisonError::into_inner).trim().to_owned()
    }
}

fn read_lines(
    stream: Option<impl Read + Send + 'static>,
    mut take: impl FnMut(String) + Send + 'static,
) -> Option<JoinHandle<()>> {
    let stream = stream?;
    Some(thread::spawn(move || BufReader::new(stream).lines().map_while(Result::ok).for_each(&mut take)))
}

/// The addresses in a stage's ready line: `… ws://IP:PORT/echo, admin http://IP:PORT, …`.
fn addresses(line: &str) -> Option<(Endpoint, SocketAddr)> {
    let word = |start: &str| line.split([' ', ',']).find(|word| word.starts_with(start));
    let url: Url = word("ws://")?.parse().ok()?;
    let admin = word("http://")?.trim_start_matches("http://").parse().ok()?;
    Some((url.resolve().ok()?, admin))
}

/// The number in the same line: `…, 53 shards, …`.
fn shards(line: &str) -> Option<u64> {
    line.split(", ").find_map(|part| part.trim_end_matches('s').strip_suffix(" shard")?.parse().ok())
}

/// A port that is free at the moment, on both loopback addresses.
fn free_port() -> Result<u16> {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
        let port = listener.local_addr()?.port();
        let in_use = |error: std::io::Error| error.kind() == ErrorKind::AddrInUse;
        if !TcpListener::bind((Ipv6Addr::LOCALHOST, port)).is_err_and(in_use) {
            return Ok(port);
        }
    }
}

/// Waits until a connection succeeds, and returns its address: a server that listens on `localhost` may do so in
/// one family only. `None` where the process exits first, or times out.
fn listening_on(child: &mut Child, port: u16) -> Option<SocketAddr> {
    let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let addrs = loopback.map(|address| SocketAddr::new(address, port));
    let deadline = Instant::now() + TIMEOUT;
    while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
        if let Some(&addr) = addrs.iter().find(|addr| TcpStream::connect(addr).is_ok()) {
            return Some(addr);
        }
        thread::sleep(Duration::from_millis(10));
    }
    None
}

fn not_ready(child: &mut Child, last_words: &LastWords) -> anyhow::Error {
    // A process closes its output a moment before it exits.
    thread::sleep(Duration::from_millis(50));
    match child.try_wait() {
        Ok(Some(status)) => death(status, last_words),
        _ => {
            let _ = child.kill();
            let _ = child.wait();
            anyhow!("it was not ready after {}", time(TIMEOUT.as_secs_f64()))
        }
    }
}

fn death(status: ExitStatus, last_words: &LastWords) -> anyhow::Error {
    let advice = match status.signal() {
        Some(9) => " (killed: was memory short? see dmesg, and client doctor)",
        _ => "",
    };
    match last_words.after_exit().as_str() {
        "" => anyhow!("it died: {}{advice}", ending(status)),
        said => anyhow!("it died: {}{advice}, saying: {said}", ending(status)),
    }
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no status".into(),
    }
}

fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // The process has not been reaped, so its id is not reused.
        let _ = kill_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(words: &str) -> Subject {
        let words = words.split(' ').map(str::to_owned).collect();
        Subject { name: "x".into(), start: Start::Other(words, "/".into()), capacity: None }
    }

    #[test]
    fn finds_the_addresses_in_the_line() {
        let line = "stage4-zero-buffer 0.1.0: ws://127.0.0.1:40123/echo, admin http://127.0.0.1:40124, 2 shards, at most 39000";
        let (endpoint, admin) = addresses(line).expect("both");
        let Endpoint { url, .. } = &endpoint;
        assert_eq!((endpoint.addrs()[0].port(), url.path.as_str(), admin.port()), (40_123, "/echo", 40_124));
        assert_eq!(shards(line), Some(2));
        assert!(addresses("listening").is_none() && shards("listening").is_none());
    }

    #[test]
    fn a_server_that_cannot_start_is_named() {
        let error = Server::start(&subject("/nonexistent/server {port}"), 10).err().expect("an error");
        assert!(format!("{error:#}").contains("is the command right"), "{error:#}");
        let error = Server::start(&subject("false"), 10).err().expect("an error");
        assert_eq!(format!("{error:#}"), "it died: exit 1");
        let stage =
            Subject { name: "x".into(), start: Start::Stage("/nonexistent/stage".into()), capacity: None };
        let error = Server::start(&stage, 10).err().expect("an error");
        assert!(format!("{error:#}").contains("build it first"), "{error:#}");
    }
}
