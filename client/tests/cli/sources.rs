//! `--source-ip` with interfaces and IPv6, and names without a network, in network namespaces of this test. They take root.

use crate::local::{LOAD, client, output, scratch, text};
use client::run::RunReport;
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

/// Runs the test in a thread with a network of its own: loopback, and an interface `src0` with these addresses. What the
/// test starts is in it too. Prints a note instead without root or ip(8), and fails in CI, which has both.
fn in_a_network(addresses: &[&str], test: impl FnOnce() + Send) {
    let inside = || {
        // SAFETY: only this thread is moved, and no object of it depends on the network namespace it was in.
        if unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.is_err() {
            return false;
        }
        let ip = |words: &str| {
            Command::new("ip").args(words.split(' ')).status().is_ok_and(|status| status.success())
        };
        // A bridge, because not every kernel has dummy interfaces.
        let steps = ["set lo up", "add src0 type bridge", "set src0 addrgenmode none", "set src0 up"];
        let added = steps.iter().all(|step| ip(&format!("link {step}")));
        let add = |address: &&str| ip(&format!("address add {address} dev src0"));
        if added && addresses.iter().all(add) {
            test();
            return true;
        }
        false
    };
    if !thread::scope(|scope| scope.spawn(inside).join().expect("the test")) {
        assert!(std::env::var_os("CI").is_none(), "a network namespace requires root and ip(8)");
        conformance::note("skipped: a network namespace requires root and ip(8)");
    }
}

/// An echo server on all addresses, and the addresses of its peers.
fn server() -> (u16, Arc<Mutex<BTreeSet<IpAddr>>>) {
    let listener = TcpListener::bind("[::]:0").expect("bind");
    let (port, seen) = (listener.local_addr().expect("address").port(), Arc::default());
    let peers: Arc<Mutex<BTreeSet<IpAddr>>> = Arc::clone(&seen);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let peer = stream.peer_addr().map(|peer| peer.ip().to_canonical());
            peers.lock().expect("lock").extend(peer);
            thread::spawn(|| {
                let Ok(mut socket) = tungstenite::accept(stream) else { return };
                while let Ok(message) = socket.read() {
                    if message.is_binary() && socket.send(message).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (port, seen)
}

#[test]
fn an_interface_is_its_addresses_of_the_servers_family() {
    let addresses =
        ["10.98.0.2/24", "10.98.0.3/24", "169.254.7.2/16", "fd98::2/64 nodad", "fd98::3/64 nodad"];
    in_a_network(&[&addresses[..], &["fe80::2/64 nodad"]].concat(), || {
        let (port, seen) = server();
        let ran = |host: &str, sources: &str| {
            let run = format!(
                "run --url ws://{host}:{port}/ {LOAD} --shards 1 --quiet --source-ip {sources} --json -"
            );
            let ran = output(&run);
            let said = text(&ran.stderr);
            let report: RunReport = serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{said}"));
            assert_eq!((report.exit_status, report.failures.total()), (0, 0), "{host} {sources}: {said}");
            let peers = std::mem::take(&mut *seen.lock().expect("lock"));
            peers.iter().map(IpAddr::to_string).collect::<Vec<_>>()
        };
        assert_eq!(ran("10.98.0.2", "src0"), ["10.98.0.2", "10.98.0.3"]);
        assert_eq!(ran("[fd98::2]", "src0"), ["fd98::2", "fd98::3"]);
        assert_eq!(ran("[fd98::2]", "fd98::3"), ["fd98::3"]);
        assert_eq!(ran("127.0.0.1", "lo,127.0.0.7"), ["127.0.0.1", "127.0.0.7"]);
        assert!(ran("169.254.7.2", "src0").contains(&"169.254.7.2".to_owned()));
        assert_eq!(ran("[fe80::2]", "src0"), ["fe80::2"]);

        let unknown = output("run --source-ip src1");
        let said = text(&unknown.stderr);
        assert_eq!((unknown.status.code(), said.lines().count()), (Some(2), 1), "{said}");
        assert!(said.contains("src1") && said.contains("these have: lo, src0"), "{said}");
    });
}

/// Without any network, and with a resolver that does not answer.
#[test]
fn a_name_that_cannot_be_resolved_has_its_cause() {
    let cause = || {
        let mut client = client("run --url ws://echo.example:8000/ --quiet");
        let ran = client.env("RES_OPTIONS", "timeout:1 attempts:1").output().expect("the client runs");
        let said = text(&ran.stderr);
        assert_eq!((ran.status.code(), said.lines().count()), (Some(1), 1), "{said}");
        assert!(said.starts_with("client: dns: cannot resolve 'echo.example' ("), "{said}");
        said
    };
    in_a_network(&[], || {
        let said = cause();
        assert!(said.contains("(no network)") && said.contains("ip route"), "{said}");
    });
    in_a_network(&["10.98.0.2/24"], || {
        let added = Command::new("ip").args(["route", "add", "default", "dev", "src0"]).status();
        assert!(added.is_ok_and(|status| status.success()));
        let said = cause();
        assert!(said.contains("(no answer from a resolver)") && said.contains("/etc/resolv.conf"), "{said}");
    });
}

/// By the file of names, which only this process sees.
#[test]
fn a_name_whose_address_does_not_answer_is_explained_with_it() {
    in_a_network(&[], || {
        // SAFETY: only this thread is moved, and no object of it depends on the mounts it saw.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }.expect("root");
        let hosts = scratch("hosts");
        fs::write(&hosts, "127.0.0.3 one.example\n127.0.0.4 two.example\n127.0.0.5 two.example\n")
            .expect("a file");
        let mount =
            |words: &[&str]| Command::new("mount").args(words).status().is_ok_and(|status| status.success());
        assert!(
            mount(&["--make-rprivate", "/"])
                && mount(&["--bind", hosts.to_str().expect("text"), "/etc/hosts"])
        );
        let silent = TcpListener::bind("127.0.0.5:0").expect("bind");
        let port = silent.local_addr().expect("address").port();
        let on = |last: u8| SocketAddr::from(([127, 0, 0, last], port));
        for (name, parts) in [
            ("one", vec![format!("first: {}: connect: Connection refused", on(3))]),
            ("two", vec![format!("2 on {}", on(4)), format!("2 on {}", on(5)), "2 timeout (".to_owned()]),
        ] {
            let flags = "--connect-timeout 300ms --quiet --json -";
            let ran = output(&format!("run --url ws://{name}.example:{port}/ {LOAD} {flags}"));
            let said = text(&ran.stderr);
            let report: RunReport = serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{said}"));
            assert_eq!((ran.status.code(), report.failures.total()), (Some(1), 4), "{said}");
            let line = said.lines().find(|line| line.starts_with("client: ")).expect("a complaint");
            assert!(parts.iter().all(|part| line.contains(part)), "{line}");
        }
    });
}
