//! What `client anatomy --json` writes.

use serde::{Deserialize, Serialize};

/// The version of the JSON's layout.
pub const SCHEMA: u32 = 1;

/// What one connection costs a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Anatomy {
    /// [`SCHEMA`]
    pub schema: u32,
    /// When it was measured (RFC 3339, UTC).
    pub date: String,
    /// The command line.
    pub command: String,
    /// The server's process id.
    pub pid: u32,
    /// The name of its program's file.
    pub program: String,
    /// Why this may not be the server's process.
    #[serde(default)]
    pub doubt: Option<String>,
    /// Where it listens.
    pub url: String,
    /// Connections that were opened.
    pub connections: u64,
    /// The parts, in bytes per connection at the server's end.
    pub parts: Vec<Part>,
    /// Resident memory of the process per connection (`smaps_rollup`).
    pub user_bytes: f64,
    /// The sum of the kernel's parts.
    pub kernel_bytes: f64,
    /// Whether the parts explain all pages.
    pub check: Check,
}

/// A part of what a connection costs the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// What it is; for kernel objects, the name of their slab cache.
    pub name: String,
    /// How it is attributed to the server.
    pub share: Share,
    /// Objects per connection at the server's end; `None` where they are not counted.
    pub objects: Option<f64>,
    /// The size of one object.
    pub object_bytes: Option<u64>,
    /// Bytes per connection.
    pub bytes: f64,
}

/// How a part is attributed to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// Resident memory of the server's process.
    User,
    /// Kernel memory that is counted per process.
    Process,
    /// Kernel memory counted for the machine, of a kind that grows with the server alone: all of it.
    Server,
    /// Kernel memory counted for the machine, of a kind that both ends have alike: half of it.
    Half,
}

/// The kernel's parts, compared with the pages that the kernel took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// The kernel's parts at both ends, per connection.
    pub parts_bytes: f64,
    /// Growth of slab caches, kernel stacks and page tables per connection, from /proc/meminfo: whole pages, including what
    /// is free in them.
    pub pages_bytes: f64,
}
