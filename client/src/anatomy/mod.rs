//! `client anatomy`: what one connection costs a server, part by part, in user space and in the kernel.
//!
//! The kernel does not attribute its memory to processes. So memory is read before and after connections are opened: in
//! the server's mappings, and in the kernel's slab caches, which are counted for the whole machine. The server runs on this
//! machine, so both ends of each connection are counted.

mod parts;
mod snapshot;
mod table;

pub use crate::results::anatomy::{Anatomy, Check, Part, SCHEMA, Share};

use crate::fleet::{Fleet, FleetConfig, Url};
use crate::load::fits;
use crate::measure::{Sampler, ensure_connected};
use crate::progress::{Bar, Goal, Look};
use crate::subject::command_line;
use crate::watch::{Watched, doubt};
use crate::{cli, file, words};
use anyhow::{Context, Result, bail};
use clap::Args;
use parts::parts;
use snapshot::Snapshot;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

/// Begins error lines.
const PROGRAM: &str = "client anatomy";

/// Connections that are opened, echo and are closed before anything is counted, so that one-time allocations are not.
const WARM_CONNECTIONS: u64 = 200;

/// Shows what the memory of a connection consists of, by opening some to a server on this machine
///
/// Exit status: 0 if all were opened and counted, 1 if not, 2 if a flag is wrong. Reading the kernel's caches one by one
/// takes root. Memory that other programs allocate or free meanwhile is counted as if it were the connections'.
#[derive(Args, Clone, Debug)]
#[command(next_line_help = true)]
pub struct AnatomyArgs {
    /// The server's process id
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: u32,

    /// The server's URL
    #[arg(long, default_value = "ws://127.0.0.1:8000/echo", value_name = "URL")]
    pub url: Url,

    /// Connections to open; with few, one-time allocations show in the figures
    #[arg(long, default_value = "10000", value_name = "N", value_parser = cli::count)]
    pub connections: u64,

    /// Write the results as JSON to this file, or to standard output if it is '-'
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Measures and reports. The exit status is 0 where all connections were opened, else 1.
pub fn run(args: &AnatomyArgs) -> ExitCode {
    match measure(args).and_then(|anatomy| deliver(args.json.as_deref(), &anatomy)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            words::complain(PROGRAM, &format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

impl AnatomyArgs {
    /// Fails for `wss://`: the sockets of a proxy between both ends would count as the server's.
    ///
    /// # Errors
    /// What to do, in one line.
    pub fn check(&self) -> Result<(), String> {
        if self.url.is_tls {
            return Err(
                "anatomy is for servers without TLS: give --url as ws://, at the server itself".into()
            );
        }
        Ok(())
    }
}

fn measure(args: &AnatomyArgs) -> Result<Anatomy> {
    let endpoint = args.url.clone().resolve()?;
    fits(&endpoint, &[], args.connections)?;
    let program = program(args.pid)?;
    args.json.iter().try_for_each(|file| file::check(file))?;
    let mut fleet = Fleet::start(FleetConfig {
        stop: cli::stop_on_ctrl_c(),
        ..FleetConfig::new(endpoint, args.connections.max(WARM_CONNECTIONS))
    })?;
    let mut bar =
        Bar::new(Look::new(false), "client anatomy".into(), Sampler::Process(Watched::new(args.pid)));
    ensure_connected(&fleet.connect_to(WARM_CONNECTIONS, None, &mut |_| ())?)?;
    fleet.echo_once(&mut |_| ())?;
    fleet.close_all(&mut |_| ())?;
    let before = Snapshot::take(args.pid)?;
    bar.begin("connecting", Goal::Connections(args.connections));
    let opened = fleet.connect_to(args.connections, None, &mut |progress| bar.tick(progress))?;
    bar.finish();
    if fleet.is_stopped() {
        bail!("interrupted before all connections were open");
    }
    ensure_connected(&opened)?;
    let after = Snapshot::take(args.pid)?;
    fleet.close_all(&mut |_| ())?;
    let (parts, check) = parts(&before, &after, opened.connected);
    Ok(Anatomy {
        schema: SCHEMA,
        date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        command: command_line(),
        pid: args.pid,
        program,
        doubt: doubt(args.pid, args.url.authority.port),
        url: args.url.to_string(),
        connections: opened.connected,
        user_bytes: (after.rss_bytes as f64 - before.rss_bytes as f64) / opened.connected as f64,
        kernel_bytes: parts.iter().filter(|part| part.share != Share::User).map(|part| part.bytes).sum(),
        parts,
        check,
    })
}

/// The file name of a process's program.
fn program(pid: u32) -> Result<String> {
    let path = fs::read_link(format!("/proc/{pid}/exe"))
        .with_context(|| format!("cannot read process {pid} (is this its id, and is it yours?)"))?;
    Ok(path.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

/// Writes the JSON and prints the table. False: the JSON could not be written, and an error was printed.
fn deliver(to_json: Option<&Path>, anatomy: &Anatomy) -> Result<bool> {
    let json = serde_json::to_string_pretty(anatomy)? + "\n";
    let results: Vec<_> = to_json.map(|file| (file, json)).into_iter().collect();
    let colour = |to_stdout| to_stdout && common::output::has_colour(&std::io::stdout());
    Ok(file::deliver(PROGRAM, &results, |to_stdout| table::render(anatomy, colour(to_stdout))))
}
