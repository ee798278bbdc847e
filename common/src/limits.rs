//! The limit on descriptors, and how many shards it takes.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;

/// Descriptors of a table that no connection may take: standard streams, listener, epoll, and a reserve so that
/// refusals, `/health` and `/metrics` go on when the shard is full.
const RESERVE: usize = 96;

/// Raises the soft limit on descriptors to the hard one, as any process may, and returns it.
///
/// # Errors
/// The kernel's, as from setrlimit(2).
pub fn raise_nofile() -> io::Result<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.unwrap_or(u64::MAX))
}

/// Connections that a descriptor table of `nofile` holds.
pub fn table_capacity(nofile: usize) -> usize {
    nofile - RESERVE.min(nofile / 2 + nofile % 2)
}

/// Shards for `connections`, where each holds `capacity`.
///
/// The kernel deals connections out by a hash, so shards fill unevenly: with *n* in the mean, one in a million has
/// more than *n* + 5√*n* (the binomial's standard deviation is just under √*n*). That much is left free.
pub fn shards_needed(connections: usize, capacity: usize) -> usize {
    if connections <= capacity {
        return 1;
    }
    let slack = 5.0 * (capacity as f64).sqrt();
    let mean = (capacity as f64 - slack).max(1.0);
    (connections as f64 / mean).ceil() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_under_twenty_thousand() {
        assert_eq!(table_capacity(20_000), 19_904);
        assert_eq!(shards_needed(19_904, 19_904), 1);
        assert_eq!(shards_needed(1_000_000, 19_904), 53);
        assert_eq!(shards_needed(1_000_000, 1_048_480), 1);
        assert_eq!(table_capacity(1), 0);
        assert!(table_capacity(20) > 0);
    }
}
