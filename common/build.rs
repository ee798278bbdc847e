//! Tells the programs which commit they are built from, for `ws_build_info`.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=../.git/HEAD");
    println!("cargo::rerun-if-changed=../.git/logs/HEAD");
    let commit = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    if let Ok(output) = commit
        && output.status.success()
    {
        println!("cargo::rustc-env=WS_COMMIT={}", String::from_utf8_lossy(&output.stdout).trim());
    }
}
