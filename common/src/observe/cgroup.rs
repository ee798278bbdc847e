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
    v1: Files,
    v2: Files,
}

/// Where a group tells its limit, and what is taken of it.
#[derive(Clone, Copy)]
struct Files {
    limit: &'static str,
    in_use: &'static str,
    /// What of it the kernel takes back before it kills anybody: fields of a further file.
    reclaimable: Option<(&'static str, [&'static str; 2])>,
}

/// The tightest limit on processes and threads, where the proc and sys file systems are at these paths.
pub fn pids(proc: &Path, sys: &Path) -> Option<Share> {
    let files = Files { limit: "pids.max", in_use: "pids.current", reclaimable: None };
    tightest(proc, sys, &Kind { controller: "pids", v1: files, v2: files })
}

/// The tightest limit on memory, in bytes.
///
/// A group is charged for the files that it has read, a build's above all. Their pages are given back when memory runs
/// short, and so do not count as in use.
pub fn memory(proc: &Path, sys: &Path) -> Option<Share> {
    let files = |limit, in_use, pages| Files { limit, in_use, reclaimable: Some(("memory.stat", pages)) };
    // In version 1 only the fields with `total_` count the groups within.
    let v1 =
        files("memory.limit_in_bytes", "memory.usage_in_bytes", ["total_inactive_file", "total_active_file"]);
    let v2 = files("memory.max", "memory.current", ["inactive_file", "active_file"]);
    tightest(proc, sys, &Kind { controller: "memory", v1, v2 })
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
fn shares(mount: &Path, group: &str, files: Files) -> impl Iterator<Item = Share> {
    let own = mount.join(group.trim_start_matches('/'));
    let directories: Vec<PathBuf> =
        own.ancestors().take_while(|directory| directory.starts_with(mount)).map(Path::to_path_buf).collect();
    directories.into_iter().filter_map(move |directory| {
        let number = |name: &str| fs::read_to_string(directory.join(name)).ok()?.trim().parse::<u64>().ok();
        // Version 1 writes "none" as the largest multiple of a page, version 2 as "max", which is no number.
        let limit = number(files.limit).filter(|&limit| limit < 1 << 60)?;
        let reclaimable = files.reclaimable.map_or(0, |(file, names)| sum(&directory.join(file), names));
        Some(Share { limit, in_use: number(files.in_use).unwrap_or(0).saturating_sub(reclaimable) })
    })
}

/// The sum of these fields of a file with a name and a number on each line; 0 where it cannot be read.
fn sum(file: &Path, names: [&str; 2]) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let fields = text.lines().filter_map(|line| line.split_once(' '));
    let named = fields.filter(|(name, _)| names.contains(name));
    named.filter_map(|(_, number)| number.trim().parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A /proc and a /sys/fs/cgroup of these files; removed when dropped.
    struct Fake(PathBuf);

    impl Fake {
        fn new(name: &str, files: &[(&str, &str)]) -> Fake {
            let fake = Fake(std::env::temp_dir().join(format!("cgroup-{name}-{}", std::process::id())));
            for (file, text) in files {
                let file = fake.0.join(file);
                fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
                fs::write(file, text).expect("written");
            }
            fake
        }

        fn read(&self, limit: fn(&Path, &Path) -> Option<Share>) -> Option<(u64, u64)> {
            let share = limit(&self.0.join("proc"), &self.0.join("sys"))?;
            Some((share.limit, share.in_use))
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_tightest_of_all_groups_around_counts() {
        let fake = Fake::new(
            "pids",
            &[
                ("proc/self/cgroup", "8:pids:/outer/inner\n0::/\n"),
                ("sys/fs/cgroup/pids/outer/inner/pids.max", "5000\n"),
                ("sys/fs/cgroup/pids/outer/inner/pids.current", "10\n"),
                ("sys/fs/cgroup/pids/outer/pids.max", "300\n"),
                ("sys/fs/cgroup/pids/outer/pids.current", "40\n"),
            ],
        );
        assert_eq!(fake.read(pids), Some((300, 40)));
        assert_eq!(fake.read(memory), None);
    }

    #[test]
    fn files_that_were_read_are_not_in_use() {
        let v2 = Fake::new(
            "v2",
            &[
                ("proc/self/cgroup", "0::/one\n"),
                ("sys/fs/cgroup/one/memory.max", "1000\n"),
                ("sys/fs/cgroup/one/memory.current", "990\n"),
                ("sys/fs/cgroup/one/memory.stat", "anon 90\ninactive_file 600\nactive_file 200\n"),
            ],
        );
        assert_eq!(v2.read(memory), Some((1_000, 190)));
        let v1 = Fake::new(
            "v1",
            &[
                ("proc/self/cgroup", "4:memory:/one\n"),
                ("sys/fs/cgroup/memory/one/memory.limit_in_bytes", "1000\n"),
                ("sys/fs/cgroup/memory/one/memory.usage_in_bytes", "990\n"),
                ("sys/fs/cgroup/memory/one/memory.stat", "inactive_file 7\ntotal_inactive_file 700\n"),
            ],
        );
        assert_eq!(v1.read(memory), Some((1_000, 290)));
    }
}
