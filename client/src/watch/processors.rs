//! CPU time of the whole machine: what neither server nor client used, other processes did.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// Busy time of all CPUs since boot, including time that the hypervisor gave to other machines (steal); `None` if
/// /proc/stat does not have it.
pub fn busy(proc: &Path) -> Option<Duration> {
    let ticks = busy_ticks(&fs::read_to_string(proc.join("stat")).ok()?)?;
    Some(Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64))
}

/// The sum of `user nice system irq softirq steal` in the `cpu` line, in ticks: without `idle` and `iowait`.
fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
    (ticks.len() >= 4).then(|| ticks[..3].iter().chain(ticks[4..].iter().skip(1).take(3)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_iowait_are_excluded() {
        let stat = "cpu  1 20 300 1000000 2000000 4000 50000 600000 7 7\ncpu0 0 0 0 0\n";
        assert_eq!(busy_ticks(stat), Some(654_321));
        assert_eq!(busy_ticks("cpu  1 20 300 4\n"), Some(321));
        assert_eq!(busy_ticks("intr 1 2 3\n"), None);
        assert_eq!(busy_ticks("cpu  1\n"), None);
    }

    #[test]
    fn reads_this_machine() {
        assert!(busy(Path::new("/proc")).is_some_and(|time| time > Duration::ZERO));
    }
}
