//! What a server says of itself: metrics, pages, log; and what it reads of its machine for that.

pub mod buckets;
pub mod cgroup;
pub mod colours;
pub mod families;
pub mod kernel;
pub mod latency;
pub mod memory;
pub mod metrics;
pub mod output;

pub(crate) mod admin;
pub(crate) mod heap;
pub(crate) mod live;
pub(crate) mod log;
pub(crate) mod process;
