//! The machine that a result is of.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a measurement ran.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    /// The processor, as it names itself.
    pub cpu: String,
    /// Cores that the client may run on, which the servers share with it.
    pub cores: usize,
    /// Memory in all.
    pub memory_bytes: u64,
    /// The kernel's name and release.
    pub kernel: String,
    /// The limits that connections meet, by name, as `doctor` read them.
    pub limits: BTreeMap<String, String>,
}
