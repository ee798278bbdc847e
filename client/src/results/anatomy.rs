//! What `client anatomy --json` writes.

use serde::{Deserialize, Serialize};

/// The version of the JSON's layout.
pub const SCHEMA: u32 = 1;

/// What one connection costs. The layout of `client anatomy --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Anatomy {
    /// [`SCHEMA`]
    pub schema: u32,
    /// When it was taken (RFC 3339, UTC).
    pub date: String,
    /// The command line.
    pub command: String,
    /// The server's process.
    pub pid: u32,
    /// The name of its program's file.
    pub program: String,
    /// What is doubtful about this being the server.
    #[serde(default)]
    pub doubt: Option<String>,
    /// Where it listens.
    pub url: String,
    /// Connections that were opened.
    pub connections: u64,
    /// The parts, in bytes for each connection at the server's end.
    pub parts: Vec<Part>,
    /// Resident memory of its process, by `smaps_rollup`, for each connection.
    pub user_bytes: f64,
    /// The kernel's parts together.
    pub kernel_bytes: f64,
    /// Whether the parts are all there is.
    pub check: Check,
}

/// A part of what a connection costs the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// What it is; of the kernel's objects, the name of their cache.
    pub name: String,
    /// How it is known to be the server's.
    pub share: Share,
    /// Objects that the server's end of a connection has, where they are counted.
    pub objects: Option<f64>,
    /// The size of one.
    pub object_bytes: Option<u64>,
    /// Bytes for each connection.
    pub bytes: f64,
}

/// How a part is known to be the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// Resident memory of its process.
    User,
    /// The kernel's memory, known to be for its process.
    Process,
    /// The kernel's memory, counted for the machine, of a kind that grows at the server alone.
    Server,
    /// The kernel's memory, counted for the machine, of a kind that both ends have as much of: half of it.
    Half,
}

/// Whether the kernel's parts are all that its pages were taken for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// The kernel's parts at both ends, for each connection.
    pub parts_bytes: f64,
    /// What slab caches, stacks in the kernel and page tables have grown by for each connection, by /proc/meminfo: in whole
    /// pages, with the room that is left in them.
    pub pages_bytes: f64,
}
