//! What a server, and the machine under it, have at one moment.

use crate::measure::Rest;
use crate::watch::{Kind, Slab, Watched, resident_bytes};
use anyhow::{Context, Result};
use procfs::{FromRead, Meminfo};
use std::collections::BTreeMap;
use std::path::Path;

/// Everything that the parts of a connection are differences of.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The server's resident memory by what it is for.
    pub user_bytes: BTreeMap<Kind, u64>,
    /// The same as a whole, by another file: `Rss` in smaps_rollup.
    pub rss_bytes: u64,
    /// The server's page tables.
    pub page_table_bytes: u64,
    /// Stacks of all threads of the machine, in the kernel.
    pub kernel_stack_bytes: u64,
    /// All pages in slab caches.
    pub slab_bytes: u64,
    /// The caches one by one; `None` without the privilege.
    pub slabs: Option<Vec<Slab>>,
    /// Page tables of all processes.
    pub all_page_table_bytes: u64,
}

impl Snapshot {
    /// Takes it once the server is at rest.
    ///
    /// # Errors
    /// Where the server has gone, or belongs to another user.
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

    /// The pages of the kernel that parts are taken from, by /proc/meminfo.
    pub fn kernel_page_bytes(&self) -> u64 {
        self.slab_bytes + self.kernel_stack_bytes + self.all_page_table_bytes
    }
}
