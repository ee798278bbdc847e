//! `client doctor` with simulated /proc and /sys.

use super::*;
use std::fs;
use std::path::{Path, PathBuf};

/// A /proc and a /sys with known values; removed when dropped.
struct Fake(PathBuf);

impl Fake {
    fn new(name: &str) -> Self {
        let fake = Self(std::env::temp_dir().join(format!("client-doctor-{name}-{}", std::process::id())));
        for (path, text) in ORDINARY {
            fake.put(path, text);
        }
        let zeros = [
            "Buffers",
            "Cached",
            "SwapCached",
            "Active",
            "Inactive",
            "SwapTotal",
            "SwapFree",
            "Dirty",
            "Writeback",
            "Mapped",
            "Slab",
            "VmallocTotal",
            "VmallocUsed",
            "VmallocChunk",
            "Committed_AS",
        ];
        let zeros: String = zeros.iter().map(|field| format!("{field}: 0 kB\n")).collect();
        fake.put(
            "proc/meminfo",
            &format!("MemTotal: 25000000 kB\nMemFree: 24000000 kB\nMemAvailable: 24000000 kB\n{zeros}"),
        );
        fake.nofile(20_000);
        fake
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("written");
    }

    fn nofile(&self, limit: u64) {
        let line = |name: &str, value: &str| {
            // The kernel prints no unit for these two.
            let unit = if name.contains("priority") { "" } else { "units" };
            format!("{name:<26}{value:<21}{value:<21}{unit}\n")
        };
        let names = [
            "Max cpu time",
            "Max file size",
            "Max data size",
            "Max stack size",
            "Max core file size",
            "Max resident set",
            "Max processes",
            "Max open files",
            "Max locked memory",
            "Max address space",
            "Max file locks",
            "Max pending signals",
            "Max msgqueue size",
            "Max nice priority",
            "Max realtime priority",
            "Max realtime timeout",
        ];
        let value =
            |name: &str| if name == "Max open files" { limit.to_string() } else { "unlimited".into() };
        let lines: String = names.iter().map(|name| line(name, &value(name))).collect();
        let header = format!("{:<26}{:<21}{:<21}Units\n", "Limit", "Soft Limit", "Hard Limit");
        self.put("proc/self/limits", &format!("{header}{lines}"));
    }

    fn machine(&self) -> Machine {
        Machine::read(&Roots { proc: self.0.join("proc"), sys: self.0.join("sys") })
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const ORDINARY: [(&str, &str); 14] = [
    ("proc/loadavg", "0.10 0.20 0.30 2/60 1234\n"),
    (
        "proc/net/sockstat",
        "sockets: used 11\nTCP: inuse 1 orphan 0 tw 0 alloc 1 mem 450\nUDP: inuse 0 mem 0\n",
    ),
    ("proc/self/cgroup", "0::/\n"),
    ("proc/sys/fs/nr_open", "1048576\n"),
    ("proc/sys/fs/file-max", "9223372036854775807\n"),
    ("proc/sys/fs/file-nr", "400\t0\t9223372036854775807\n"),
    ("proc/sys/fs/epoll/max_user_watches", "5491533\n"),
    ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
    ("proc/sys/net/ipv4/tcp_mem", "287901\t383869\t575802\n"),
    ("proc/sys/net/ipv4/tcp_max_syn_backlog", "2048\n"),
    ("proc/sys/net/core/somaxconn", "4096\n"),
    ("proc/sys/kernel/threads-max", "192731\n"),
    ("proc/sys/kernel/pid_max", "32768\n"),
    ("proc/sys/vm/max_map_count", "65530\n"),
];

fn find<'a>(examination: &'a Examination, name: &str) -> &'a Check {
    examination
        .checks
        .iter()
        .find(|check| check.name.starts_with(name))
        .unwrap_or_else(|| panic!("no check of {name}"))
}

fn holds(examination: &Examination, stage: usize) -> (u64, &'static str) {
    let verdict = &examination.stages[stage - 1];
    (verdict.holds, verdict.stopped_by)
}

#[test]
fn a_million_fits_stage_4_under_a_limit_of_twenty_thousand() {
    let examination = examine(&Fake::new("ordinary").machine(), 1_000_000, None);
    assert!(examination.fits && examination.stages[3].fits && !examination.stages[0].fits);
    assert_eq!(holds(&examination, 1), (16_132, "vm.max_map_count"));
    assert_eq!(holds(&examination, 4).1, "fs.epoll.max_user_watches");
    let nofile = find(&examination, "nofile, hard");
    assert_eq!((nofile.current.as_str(), nofile.verdict), ("20,000", Verdict::Ok));
    assert!(nofile.advice.as_ref().is_some_and(|advice| advice.contains("53 shards")), "{nofile:?}");
    let ports = find(&examination, "net.ipv4.ip_local_port_range");
    assert_eq!((ports.current.as_str(), ports.verdict), ("28,232 ports", Verdict::Note));
    let maps = find(&examination, "vm.max_map_count");
    assert_eq!((maps.name.as_str(), maps.verdict), ("vm.max_map_count (stage 1)", Verdict::Short));
    assert_eq!(maps.advice.as_deref(), Some("sysctl -w vm.max_map_count=4100000"));
    assert_eq!(find(&examination, "net.netfilter").current, "not loaded");
    assert_eq!(find(&examination, "net.ipv4.tcp_mem").needed, "2,000,450");
    assert_eq!(find(&examination, "net.core.somaxconn").verdict, Verdict::Ok);
}

#[test]
fn a_proxy_with_tls_takes_memory_files_and_watches() {
    let fake = Fake::new("tls");
    fake.put("proc/sys/fs/file-nr", "1000\t0\t50000\n");
    let (plain, tls) = (
        examine(&fake.machine(), 10_000, Some(4)),
        verdict::examine_with(&fake.machine(), 10_000, Some(4), true),
    );
    assert!(holds(&tls, 1).0 < holds(&plain, 1).0);
    assert!(
        table::render(&tls, false)
            .contains("\nServer and client on this machine, and HAProxy with TLS between")
    );
    assert!(!serde_json::to_string(&plain).expect("JSON").contains("tls"));
}

#[test]
fn tracked_connections_are_limited_by_the_conntrack_table() {
    let fake = Fake::new("conntrack");
    fake.put("proc/sys/net/netfilter/nf_conntrack_max", "65536\n");
    fake.put("proc/sys/net/netfilter/nf_conntrack_count", "0\n");
    assert_eq!(find(&examine(&fake.machine(), 100_000, None), "net.netfilter").current, "not tracking");
    fake.put("proc/sys/net/netfilter/nf_conntrack_count", "36\n");
    let examination = examine(&fake.machine(), 100_000, None);
    assert_eq!(holds(&examination, 4), (64_500, "net.netfilter.nf_conntrack_max"));
    assert!(!examination.fits);
    let check = find(&examination, "net.netfilter.nf_conntrack_max");
    assert_eq!(check.verdict, Verdict::Short);
    assert_eq!(check.advice.as_deref(), Some("sysctl -w net.netfilter.nf_conntrack_max=110000"));
}

#[test]
fn a_small_table_is_the_limit_if_it_cannot_be_split() {
    let fake = Fake::new("table");
    fake.nofile(1_024);
    let mut machine = fake.machine();
    assert!(examine(&machine, 10_000, Some(4)).fits);
    machine.own_tables = false;
    let examination = examine(&machine, 10_000, Some(4));
    assert_eq!((examination.stages[0].holds, examination.fits), (928, false));
    assert_eq!(find(&examination, "descriptor tables").verdict, Verdict::Note);
}

#[test]
fn control_groups_of_both_versions_count() {
    let fake = Fake::new("cgroup");
    fake.put("proc/self/cgroup", "0::/outer/inner\n");
    fake.put("sys/fs/cgroup/outer/inner/pids.max", "max\n");
    fake.put("sys/fs/cgroup/outer/pids.max", "1100\n");
    fake.put("sys/fs/cgroup/outer/pids.current", "20\n");
    fake.put("sys/fs/cgroup/outer/inner/memory.max", "1000000000\n");
    fake.put("sys/fs/cgroup/outer/inner/memory.current", "631564544\n");
    fake.put("sys/fs/cgroup/outer/inner/memory.stat", "inactive_file 500000000\nactive_file 100000000\n");
    let examination = examine(&fake.machine(), 5_000, None);
    assert_eq!(holds(&examination, 1), (980, "pids.max of the control group"));
    // Kernel sockets at both ends count; the page cache does not.
    assert_eq!(holds(&examination, 4), (102_358, "memory of the control group"));
    fake.put("proc/self/cgroup", "8:pids:/group\n4:memory:/not/there\n0::/\n");
    fake.put("sys/fs/cgroup/pids/group/pids.max", "700\n");
    fake.put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    let examination = examine(&fake.machine(), 5_000, None);
    assert_eq!(holds(&examination, 1), (600, "pids.max of the control group"));
    assert_eq!(holds(&examination, 4).1, "fs.epoll.max_user_watches");
}

#[test]
fn unreadable_limits_are_no_limits() {
    let nowhere = Path::new("/nonexistent");
    let examination =
        examine(&Machine::read(&Roots { proc: nowhere.into(), sys: nowhere.into() }), 1_000, None);
    assert!(examination.fits);
    assert!(table::render(&examination, false).starts_with("1,000 connections fit stages 1, 2, 3 and 4."));
}

#[test]
fn the_table_fits_the_terminal_and_json_has_the_figures() {
    let fake = Fake::new("shown");
    fake.put("proc/sys/net/core/somaxconn", "128\n");
    // The longest name of a limit.
    fake.put("proc/sys/net/netfilter/nf_conntrack_max", "65536\n");
    fake.put("proc/sys/net/netfilter/nf_conntrack_count", "36\n");
    let examination = examine(&fake.machine(), 1_000_000_000, None);
    let table = table::render(&examination, false);
    assert!(table.starts_with("1,000,000,000 connections do not fit: "), "{table}");
    assert!(table.lines().all(|line| line.chars().count() < 80), "{table}");
    let verdicts =
        ["SHORT ", "note ", "ok "].map(|verdict| table.find(&format!("\n{verdict}")).expect(verdict));
    assert!(verdicts.is_sorted(), "limits to raise come first: {table}");
    assert!(table::render(&examination, true).starts_with("\x1b[1;31m1,000,000,000"), "in colour");
    assert!(table.contains("SHORT") && table.contains("sysctl -w net.core.somaxconn=4096"), "{table}");
    fake.put("proc/sys/net/netfilter/nf_conntrack_count", "0\n");
    assert_eq!(
        table::render(&examine(&fake.machine(), 100_000, None), false).lines().next(),
        Some("100,000 connections fit stages 2, 3 and 4, not stage 1.")
    );
    let json = serde_json::to_value(&examination).expect("JSON");
    assert_eq!(json["stages"][0]["stopped_by"], "vm.max_map_count");
    assert_eq!(json["checks"][0]["verdict"], "ok");
    assert_eq!(json["fits"], false);
}
