//! Splits work among the shards.

/// Splits `more` so that the shards end up with equal numbers.
pub(super) fn fill_up(live: &[u64], more: u64) -> Vec<u64> {
    let mut order: Vec<usize> = (0..live.len()).collect();
    // The fullest first: what it has above its share reduces the share of the others.
    order.sort_by_key(|&shard| std::cmp::Reverse(live[shard]));
    let (mut total, mut left) = (live.iter().sum::<u64>() + more, live.len() as u64);
    let mut added = vec![0; live.len()];
    for shard in order {
        let level = live[shard].max(total.div_ceil(left));
        added[shard] = level - live[shard];
        (total, left) = (total - level, left - 1);
    }
    added
}

/// Takes `wanted` from the shards, as evenly as their numbers allow.
pub(super) fn drain_from(live: &[u64], wanted: u64) -> Vec<u64> {
    let mut order: Vec<usize> = (0..live.len()).collect();
    order.sort_by_key(|&shard| live[shard]);
    let (mut wanted, mut left) = (wanted, live.len() as u64);
    let mut taken = vec![0; live.len()];
    for shard in order {
        taken[shard] = live[shard].min(wanted.div_ceil(left));
        (wanted, left) = (wanted - taken[shard], left - 1);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_filled_to_the_same_level() {
        assert_eq!(fill_up(&[0, 0, 0], 10), [4, 3, 3]);
        assert_eq!(fill_up(&[5, 0, 1], 3), [0, 2, 1]);
        assert_eq!(fill_up(&[5, 5], 0), [0, 0]);
        for more in 0..100 {
            assert_eq!(fill_up(&[7, 0, 31, 2], more).iter().sum::<u64>(), more);
        }
    }

    #[test]
    fn active_connections_are_taken_evenly_and_within_what_shards_have() {
        assert_eq!(drain_from(&[10, 10], 7), [4, 3]);
        assert_eq!(drain_from(&[10, 1, 10], 12), [6, 1, 5]);
        assert_eq!(drain_from(&[3, 0], 100), [3, 0]);
    }
}
