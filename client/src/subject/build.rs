//! Building the stages and the peers.

use super::{Start, Subject, built, peers};
use crate::words;
use anyhow::{Context, Result, bail, ensure};
use std::io::IsTerminal;
use std::process::{Command, Stdio};

/// Builds the stages among these in this program's own profile, in one call of cargo. A program outside a workspace, such
/// as in a container, uses the binaries next to it.
///
/// # Errors
/// Where cargo is missing or fails, or there is no binary next to this program.
pub fn stages(subjects: &[Subject]) -> Result<()> {
    let packages: Vec<_> = subjects
        .iter()
        .filter_map(|subject| match &subject.start {
            Start::Stage(binary) => Some((subject.name.as_str(), binary)),
            _ => None,
        })
        .collect();
    if packages.is_empty() {
        return Ok(());
    }
    if !built::is_in_workspace() {
        for (name, binary) in packages {
            ensure!(binary.exists(), "there is no {name} next to this program, and no workspace to build it");
        }
        return Ok(());
    }
    let mut command = cargo_build();
    command.arg("--quiet").args(packages.iter().flat_map(|(name, _)| ["-p", name]));
    let status = command.stdin(Stdio::null()).status();
    let status =
        status.context("cannot run cargo to build the stages; if they are built, give --no-build")?;
    if !status.success() {
        bail!("cargo cannot build the stages: see above; run this in the workspace, or give --no-build");
    }
    for (name, binary) in packages {
        ensure!(binary.exists(), "cargo did not put {name} next to this program: run it with `cargo run`");
    }
    Ok(())
}

/// Builds the peers among these. The first build takes minutes, so cargo shows its progress on a terminal.
///
/// # Errors
/// Where cargo is missing or fails.
pub fn peers(subjects: &[Subject], quiet: bool) -> Result<()> {
    let peers = subjects.iter().filter(|subject| matches!(subject.start, Start::Peer(_)));
    let names: Vec<_> = peers.map(|subject| subject.name.as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let folder = peers::folder().map_err(anyhow::Error::msg)?;
    let mut command = cargo_build();
    command.arg("--locked").arg("--manifest-path").arg(folder.join("Cargo.toml"));
    command.arg("--target-dir").arg(folder.join("target"));
    command.args(names.iter().flat_map(|name| ["--bin", name]));
    if quiet || !std::io::stderr().is_terminal() {
        command.arg("--quiet");
    }
    if !quiet {
        words::progress("building the peers: the first build takes minutes");
    }
    let status = command.stdin(Stdio::null()).status();
    let status = status.context("cannot run cargo to build the peers; if they are built, give --no-build")?;
    ensure!(status.success(), "cargo cannot build the peers: see above; omit one, or give --no-build");
    Ok(())
}

/// `cargo build`, in the profile of this program.
fn cargo_build() -> Command {
    // `cargo run` sets this to its own path.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--profile", &built::profile()]);
    command
}
