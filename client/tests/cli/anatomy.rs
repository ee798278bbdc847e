//! `client anatomy` from outside: its findings for known stages, and one line per error.

use crate::stage::Stage;
use client::anatomy::{Anatomy, Share};
use std::net::TcpListener;
use std::process::{Command, Output};

fn anatomy(arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.arg("anatomy").args(arguments.split_whitespace()).output().expect("the client runs")
}

/// The anatomy of `connections` to a stage; `None` if it is not built.
fn of_stage(name: &'static str, connections: u64) -> Option<Anatomy> {
    // Enough shards: under a low limit on descriptors, one per core may not suffice.
    let stage = Stage::start(name, &["--max-connections", &connections.to_string()])?;
    let output =
        anatomy(&format!("--pid {} --url {} --connections {connections} --json -", stage.pid(), stage.url));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("in user space (smaps_rollup)"), "{said}");
    let anatomy: Anatomy = serde_json::from_slice(&output.stdout).expect("an anatomy");
    assert_eq!((anatomy.program.as_str(), anatomy.connections), (name, connections));
    let parts = anatomy.parts.iter().filter(|part| part.share == Share::User).map(|part| part.bytes);
    // Memory may grow between reading the two files.
    let off = (parts.sum::<f64>() - anatomy.user_bytes).abs() * connections as f64;
    assert!(off <= 64.0 * 4_096.0, "mappings add up to {off} bytes more or less than the whole: {anatomy:?}");
    Some(anatomy)
}

#[track_caller]
fn bytes(anatomy: &Anatomy, name: &str) -> f64 {
    let part = anatomy.parts.iter().find(|part| part.name.split(", ").any(|kind| kind == name));
    part.unwrap_or_else(|| panic!("no {name}: {anatomy:?}")).bytes
}

/// Whether each end has one socket, and sockets are a large part of the whole.
fn is_sockets(anatomy: &Anatomy) -> bool {
    let socket = anatomy.parts.iter().find(|part| part.name == "TCP");
    let objects = socket.and_then(|socket| socket.objects);
    objects.is_some_and(|objects| (0.9..1.1).contains(&objects))
        && socket.is_some_and(|socket| (0.4..0.8).contains(&(socket.bytes / anatomy.kernel_bytes)))
}

#[test]
fn stage_4_is_the_kernels_sockets() {
    for attempt in 1.. {
        let Some(anatomy) = of_stage("stage4-zero-buffer", 5_000) else { return };
        assert!(anatomy.user_bytes < 200.0, "{anatomy:?}");
        if is_sockets(&anatomy) || !rustix::process::geteuid().is_root() {
            return;
        }
        // Other processes may open and close sockets in the meantime: retry.
        assert!(attempt < 10, "{anatomy:?}");
    }
}

#[test]
fn stage_1_is_its_threads() {
    let Some(anatomy) = of_stage("stage1-thread-per-conn", 500) else { return };
    assert!(bytes(&anatomy, "stacks") > 4_096.0, "{anatomy:?}");
    assert!(bytes(&anatomy, "threads' stacks in the kernel") > 8_192.0, "{anatomy:?}");
}

#[test]
fn errors_are_one_line() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("bind");
    let me = std::process::id();
    for (arguments, exit_status, expected) in [
        (format!("--pid {me} --url ws://{closed}/echo"), 1, "refused"),
        ("--pid 4000000000".into(), 1, "cannot read process 4000000000"),
        (format!("--pid {me} --connections 900000000"), 1, "ask for at most"),
        (format!("--pid {me} --json /nowhere/x.json"), 1, "cannot write /nowhere/x.json"),
        ("--pid 0".into(), 2, "--pid"),
        ("".into(), 2, "--pid"),
    ] {
        let output = anatomy(&arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit_status), "{arguments}: {said}");
        assert!(said.contains(expected) && said.trim_end().lines().count() == 1, "{arguments}: {said}");
    }
}
