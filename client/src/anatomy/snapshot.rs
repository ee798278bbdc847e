//! The memory of a server and of the kernel at one moment.

use crate::measure::Rest;
use crate::watch::{Kind, Slab, Watched, resident_bytes};
use anyhow::{Context, Result};
use procfs::{FromRead, Meminfo};
use std::collections::BTreeMap;
use std::path::Path;

/// Memory by kind: the parts of a connection are differences between two of these.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The server's resident memory by kind of mapping (smaps).
    pub user_bytes: BTreeMap<Kind, u64>,
    /// The server's resident memory (`Rss` in smaps_rollup).
    pub rss_bytes: u64,
    /// The server's page tables.
    pub page_table_bytes: u64,
    /// Kernel stacks of all threads of the machine.
    pub kernel_stack_bytes: u64,
    /// Pages of all slab caches.
    pub slab_bytes: u64,
    /// The slab caches one by one; `None` without root.
    pub slabs: Option<Vec<Slab>>,
    /// Page tables of all processes.
    pub all_page_table_bytes: u64,
}

impl Snapshot {
    /// Reads everything once the server is quiescent.
    ///
    /// # Errors
    /// Where the server has exited, or belongs to another user.
    pub fn take(pid: u32) -> Result<Self> {
        let server = Rest::of(&Watched::new(pid))?.process;
        let proc = Path::new("/proc");
        let meminfo = Meminfo::from_file(proc.join("meminfo")).context("cannot read /proc/meminfo")?;
        Ok(Self {
            user_bytes: resident_bytes(&proc.join(format!("{pid}/smaps")))?,
            rss_bytes: server.rss_bytes,
            page_table_bytes: server.page_table_bytes,
            kernel_stack_bytes: meminfo.kernel_stack.unwrap_or(0),
            slab_bytes: meminfo.slab,
            slabs: Slab::read_all(proc),
            all_page_table_bytes: meminfo.page_tables.unwrap_or(0),
        })
    }

    /// The kernel's pages that contain the parts, from /proc/meminfo.
    pub fn kernel_page_bytes(&self) -> u64 {
        self.slab_bytes + self.kernel_stack_bytes + self.all_page_table_bytes
    }
}
