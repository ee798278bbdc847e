//! Programs outside the workspace, as in a container: no cargo, and the servers next to the client.

use crate::local::{CLIENT, scratch, text};
use crate::stage::STAGES;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A directory outside the workspace with copies of these programs; removed when dropped.
struct Installed(PathBuf);

impl Installed {
    fn new(programs: &[&str]) -> Self {
        let directory = std::env::temp_dir().join(format!("client-installed-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        for program in programs {
            fs::copy(Path::new(CLIENT).with_file_name(program), directory.join(program)).expect("built");
        }
        Self(directory)
    }

    fn compare(&self, flags: &str) -> Output {
        let mut command = Command::new(self.0.join("client"));
        command.args(["compare", "--quick", "--quiet"]).args(flags.split_whitespace());
        command.current_dir(&self.0).env("PATH", "/nonexistent").env_remove("CARGO");
        command.output().expect("the client runs")
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn servers_next_to_the_client_are_compared_without_cargo() {
    let stage = STAGES[3];
    if !Path::new(CLIENT).with_file_name(stage).exists() {
        return conformance::note(&format!("{stage} is not built: run the tests of the whole workspace"));
    }
    let installed = Installed::new(&["client", stage]);
    let out = scratch("installed");
    let flags = format!("--rounds 1 --workload 1KiB --out {}", out.display());
    let compared = installed.compare(&format!("--stages 4 {flags}"));
    assert!(compared.status.success(), "{}", text(&compared.stderr));
    let results = fs::read_to_string(out.join("results.json")).expect("written");
    assert!(results.contains("\"command\": \"client compare --quick"), "{results}");

    let refused = installed.compare(&format!("--stages 3,4 {flags}"));
    let line = text(&refused.stderr);
    assert_eq!((refused.status.code(), line.lines().count()), (Some(1), 1), "{line}");
    assert!(line.contains(&format!("there is no {} next to this program", STAGES[2])), "{line}");
}
