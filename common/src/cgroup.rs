//! The limits of control groups (cgroups(7)), version 1 and 2.

use procfs::FromRead;
use procfs::ProcessCGroups;
use std::fs;
use std::path::{Path, PathBuf};

/// A limit and how much of it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The limit.
    pub limit: u64,
    /// What is taken of it now.
    pub in_use: u64,
}

/// One kind of limit: its controller, and its files in each version.
struct Kind {
    controller: &'static str,
    v1: (&'static str, &'static str),
    v2: (&'static str, &'static str),
}

/// The tightest limit on processes and threads, where the proc and sys file systems are at these paths.
pub fn pids(proc: &Path, sys: &Path) -> Option<Share> {
    let files = ("pids.max", "pids.current");
    tightest(proc, sys, &Kind { controller: "pids", v1: files, v2: files })
}

/// The tightest limit on memory, in octets.
pub fn memory(proc: &Path, sys: &Path) -> Option<Share> {
    let v1 = ("memory.limit_in_bytes", "memory.usage_in_bytes");
    tightest(proc, sys, &Kind { controller: "memory", v1, v2: ("memory.max", "memory.current") })
}

/// The limit that leaves the least, of the group of this process and of all groups around it.
fn tightest(proc: &Path, sys: &Path, kind: &Kind) -> Option<Share> {
    let groups = ProcessCGroups::from_file(proc.join("self/cgroup")).ok()?;
    let mounted = sys.join("fs/cgroup");
    let of_group = |group: procfs::ProcessCGroup| {
        if group.hierarchy == 0 {
            return [mounted.clone(), mounted.join("unified")]
                .iter()
                .flat_map(|mount| shares(mount, &group.pathname, kind.v2))
                .collect::<Vec<_>>();
        }
        match group.controllers.iter().any(|controller| controller == kind.controller) {
            true => shares(&mounted.join(kind.controller), &group.pathname, kind.v1).collect(),
            false => Vec::new(),
        }
    };
    groups.into_iter().flat_map(of_group).min_by_key(|share| share.limit.saturating_sub(share.in_use))
}

/// The limits from a group up to the mount point. In a container the path may be the host's, and not there: then the
/// mount point is the container's own group.
fn shares(mount: &Path, group: &str, (limit, in_use): (&str, &str)) -> impl Iterator<Item = Share> {
    let own = mount.join(group.trim_start_matches('/'));
    let directories: Vec<PathBuf> =
        own.ancestors().take_while(|directory| directory.starts_with(mount)).map(Path::to_path_buf).collect();
    let read = |directory: &PathBuf| {
        let number = |name: &str| fs::read_to_string(directory.join(name)).ok()?.trim().parse::<u64>().ok();
        // Version 1 writes "none" as the largest multiple of a page, version 2 as "max", which is no number.
        let limit = number(limit).filter(|&limit| limit < 1 << 60)?;
        Some(Share { limit, in_use: number(in_use).unwrap_or(0) })
    };
    directories.iter().filter_map(read).collect::<Vec<_>>().into_iter()
}
