//! The kernel's slab caches: where sockets, files, threads and mappings are kept. They are counted for the whole machine.

use std::fs;
use std::path::Path;

/// A slab cache at one moment.
///
/// The kernel may keep objects of several kinds in one cache, where their sizes are alike: it then has the name of one of
/// them, and [`Slab::shared_with`] finds the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slab {
    /// The kernel's name for it.
    pub name: String,
    /// Objects in use.
    pub objects: u64,
    /// The size of one.
    pub object_bytes: u64,
}

/// Whose objects a cache has, of a server and a client on one machine that open connections to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Both ends have as many of them.
    BothEnds,
    /// Threads and memory mappings, which grow with connections at the server alone.
    Server,
    /// Connections that have closed (TIME_WAIT), or are not yet open: one server's would be counted for the next one.
    NoConnection,
}

/// Caches of threads and memory mappings. Not among them is `anon_vma_chain`, which is of threads as well, but in one cache
/// with `eventpoll_pwq` where the kernel merges caches: a thread has one of the first, each end in an epoll set one of the
/// second.
const SERVER_ALONE: [&str; 16] = [
    "task_struct",
    "signal_cache",
    "sighand_cache",
    "vm_area_struct",
    "vma_lock",
    "vmap_area",
    "maple_node",
    "anon_vma",
    "cred_jar",
    "pid",
    "pid_2",
    "files_cache",
    "fs_cache",
    "mm_struct",
    "task_delay_info",
    "io_context",
];

const OF_NO_CONNECTION: [&str; 4] =
    ["tw_sock_TCP", "tw_sock_TCPv6", "request_sock_TCP", "request_sock_TCPv6"];

/// Prefixes of object kinds of connections that share a cache with others.
const OF_CONNECTIONS: [&str; 2] = ["eventpoll_", "tcp_"];

impl Slab {
    /// All caches now; `None` where only root may read them.
    pub fn read_all(proc: &Path) -> Option<Vec<Self>> {
        Self::parse_all(&fs::read_to_string(proc.join("slabinfo")).ok()?)
    }

    /// The caches in a text such as /proc/slabinfo (slabinfo(5)); `None` of any other.
    pub fn parse_all(slabinfo: &str) -> Option<Vec<Self>> {
        let mut lines = slabinfo.lines();
        lines.next()?.strip_prefix("slabinfo - version: 2")?;
        lines.filter(|line| !line.starts_with('#')).map(Self::parse).collect()
    }

    /// `name active_objs num_objs objsize …`
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_whitespace();
        let name = fields.next()?.to_owned();
        let mut number = || fields.next()?.parse::<u64>().ok();
        let (objects, _, object_bytes) = (number()?, number()?, number()?);
        Some(Self { name, objects, object_bytes })
    }

    /// Other kinds of connection objects in this cache, such as `eventpoll_pwq`. In /sys/kernel/slab, kinds in one cache
    /// link to the same entry; empty without such links or without the directory.
    pub fn shared_with(&self, sys: &Path) -> Vec<String> {
        let directory = sys.join("kernel/slab");
        let target = |name: &str| fs::read_link(directory.join(name)).ok();
        let Some(own) = target(&self.name) else { return Vec::new() };
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names
            .filter(|name| OF_CONNECTIONS.iter().any(|start| name.starts_with(start)))
            .filter(|name| *name != self.name && target(name).as_ref() == Some(&own))
            .collect();
        names.sort();
        names
    }

    /// Bytes in objects that are in use.
    pub fn object_bytes_in_use(&self) -> u64 {
        self.objects * self.object_bytes
    }

    /// Whose objects these are.
    pub fn owner(&self) -> Owner {
        let name = self.name.as_str();
        if SERVER_ALONE.contains(&name) {
            Owner::Server
        } else if OF_NO_CONNECTION.contains(&name) {
            Owner::NoConnection
        } else {
            Owner::BothEnds
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const SLABINFO: &str = "\
slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor>
tw_sock_TCP          900    900    256   16    1 : tunables    0    0    0 : slabdata      2      2      0
TCP                   20     26   2368   13    8 : tunables    0    0    0 : slabdata      2      2      0
sock_inode_cache      20     95    832   19    4 : tunables    0    0    0 : slabdata      5      5      0
task_struct           10     12   9600    3    8 : tunables    0    0    0 : slabdata      4      4      0
";

    #[test]
    fn reads_caches_and_whose_they_are() {
        let slabs = Slab::parse_all(SLABINFO).expect("a slabinfo");
        assert_eq!(slabs[1], Slab { name: "TCP".into(), objects: 20, object_bytes: 2_368 });
        let owners: Vec<Owner> = slabs.iter().map(Slab::owner).collect();
        assert_eq!(owners, [Owner::NoConnection, Owner::BothEnds, Owner::BothEnds, Owner::Server]);
        assert_eq!(slabs[1].object_bytes_in_use(), 47_360);
        assert_eq!(Slab::parse_all("slabinfo - version: 2.1\nTCP x\n"), None);
        assert_eq!(Slab::parse_all("something else"), None);
    }
    #[test]
    fn names_what_is_in_the_same_cache() {
        let root = std::env::temp_dir().join(format!("client-slabs-{}", std::process::id()));
        let directory = root.join("kernel/slab");
        fs::create_dir_all(&directory).expect("a directory");
        for (name, target) in [
            ("anon_vma_chain", ":A-0000064"),
            ("eventpoll_pwq", ":A-0000064"),
            ("fs_cache", ":A-0000064"),
            ("eventpoll_epi", ":A-0000128"),
            ("tcp_bind_bucket", ":A-0000128"),
        ] {
            std::os::unix::fs::symlink(target, directory.join(name)).expect("a link");
        }
        let slab = |name: &str| Slab { name: name.into(), objects: 0, object_bytes: 0 };
        assert_eq!(slab("anon_vma_chain").shared_with(&root), ["eventpoll_pwq"]);
        assert_eq!(slab("eventpoll_epi").shared_with(&root), ["tcp_bind_bucket"]);
        assert!(slab("TCP").shared_with(&root).is_empty());
        fs::remove_dir_all(&root).expect("removed");
        assert!(slab("anon_vma_chain").shared_with(&root).is_empty());
    }
}
