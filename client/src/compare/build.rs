//! Building the stages, and naming what was built.

use super::plan::{Start, Subject};
use anyhow::{Context, Result, bail, ensure};
use std::process::{Command, Stdio};

/// Builds the stages among these as this program itself was built, in one call of cargo.
///
/// # Errors
/// Where cargo is missing or fails, or leaves a binary elsewhere than beside this program.
pub fn stages(subjects: &[Subject]) -> Result<()> {
    let packages: Vec<_> = subjects
        .iter()
        .filter_map(|subject| match &subject.start {
            Start::Stage(binary) => Some((subject.name.as_str(), binary)),
            Start::Other(..) => None,
        })
        .collect();
    if packages.is_empty() {
        return Ok(());
    }
    // `cargo run` names itself here.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.arg("build").arg("--quiet").args(packages.iter().flat_map(|(name, _)| ["-p", name]));
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let status = command.stdin(Stdio::null()).status();
    let status =
        status.context("cannot run cargo to build the stages; if they are built, give --no-build")?;
    if !status.success() {
        bail!("cargo cannot build the stages: see above; run this in the workspace, or give --no-build");
    }
    for (name, binary) in packages {
        ensure!(binary.exists(), "cargo did not put {name} beside this program: run it with `cargo run`");
    }
    Ok(())
}

/// The commit that the working directory is at, with `-dirty` where files differ from it.
pub fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|files| !files.is_empty());
    Some(if changed { format!("{commit}-dirty") } else { commit })
}
