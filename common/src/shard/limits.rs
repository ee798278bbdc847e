//! The limit on descriptors, and how many shards it takes.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;

/// Descriptors of a table that no connection may take: standard streams, listener, epoll, and a reserve so that
/// refusals, `/health` and `/metrics` go on when the shard is full.
const RESERVE: usize = 96;

/// Threads, of a `limit`, that connections may not take where each takes one: they are for the shards, the admin server, a
/// client on the same machine, and other programs.
pub fn threads_kept(limit: u64) -> u64 {
    100.min(limit / 4)
}

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

/// Connections that `shards` hold however the kernel distributes them, where each has room for `capacity`.
///
/// The kernel deals connections out by a hash, so shards fill unevenly, and one is full while another has room. Of *n*
/// connections in the mean a shard has more than *n* + 5*s* once in a million times, where *s*² = *n*(1 − 1/shards) is the
/// binomial's variance.
pub fn connections_held(shards: usize, capacity: usize) -> usize {
    let five_sigma = 5.0 * (1.0 - 1.0 / shards as f64).sqrt();
    // n + five_sigma * sqrt(n) = capacity, solved for n.
    let mean = ((capacity as f64 + five_sigma * five_sigma / 4.0).sqrt() - five_sigma / 2.0).powi(2);
    // `capacity` always fits, even if one shard gets them all.
    capacity.max((shards as f64 * mean) as usize)
}

/// Shards for `connections`, where each has room for `capacity`: the least that hold them in any case.
pub fn shards_needed(connections: usize, capacity: usize) -> usize {
    let capacity = capacity.max(1);
    // Where each has room for one connection only, it takes 27 times as many shards.
    let (mut least, mut enough) = (1, connections.max(1).saturating_mul(27));
    while least < enough {
        let shards = least.midpoint(enough);
        if connections_held(shards, capacity) < connections { least = shards + 1 } else { enough = shards }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Xorshift;

    #[test]
    fn a_million_under_twenty_thousand() {
        assert_eq!(table_capacity(20_000), 19_904);
        assert_eq!(shards_needed(19_904, 19_904), 1);
        assert_eq!(shards_needed(1_000_000, 19_904), 53);
        assert_eq!(shards_needed(1_000_000, 1_048_480), 1);
        assert_eq!(shards_needed(0, 19_904), 1);
        assert!(shards_needed(usize::MAX, 1) > shards_needed(usize::MAX / 2, 19_904));
        assert_eq!(table_capacity(1), 0);
        assert!(table_capacity(20) > 0);
    }

    #[test]
    fn what_is_held_can_be_had() {
        assert_eq!(connections_held(1, 160), 160, "one shard gets them all");
        assert_eq!(connections_held(2, 160), 242);
        assert_eq!(connections_held(2, 19_904), 38_822);
        assert_eq!(connections_held(2, 1), 1, "both may meet in one");
        for capacity in [1, 10, 160, 928, 19_904, 1_048_480] {
            for connections in [1, 9, 320, 1_000, 39_808, 1_000_000] {
                let shards = shards_needed(connections, capacity);
                assert!(connections_held(shards, capacity) >= connections, "{connections} by {capacity}");
                assert!(shards == 1 || connections_held(shards - 1, capacity) < connections);
            }
        }
    }

    /// Deals connections out by a pseudorandom number, as the kernel does by its hash.
    #[test]
    fn no_shard_is_full_before_all_are_there() {
        let mut random = Xorshift::new(1);
        for (shards, capacity) in [(2, 160), (3, 160), (8, 928), (64, 160)] {
            for _ in 0..1_000 {
                let mut dealt = vec![0; shards];
                (0..connections_held(shards, capacity))
                    .for_each(|_| dealt[random.next_u64() as usize % shards] += 1);
                assert!(dealt.iter().all(|&held| held <= capacity), "{shards} shards of {capacity}");
            }
        }
    }
}
