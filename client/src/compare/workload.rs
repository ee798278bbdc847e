//! Workloads by name: the default one, and closed loops of other messages over few connections, all of them active.

use crate::results::compare::Workload;
use clap::builder::PossibleValue;

/// The default workload: memory, level by level, and both loops with small messages.
pub const SMALL: &str = "small";
/// All workloads.
const ALL: &str = "all";

/// Name, connections, messages in flight per connection, bytes of payload per message.
const TABLE: [(&str, u64, u64, u64); 8] = [
    ("1KiB", 100, 1, 1 << 10),
    ("8KiB", 10, 1, 8 << 10),
    ("16KiB", 10, 1, 16 << 10),
    ("32KiB", 10, 1, 32 << 10),
    ("64KiB", 10, 1, 64 << 10),
    ("1MiB", 4, 1, 1 << 20),
    ("16x32B", 10, 16, 32),
    ("64x32B", 10, 64, 32),
];

/// The values of `--workload`, with their help.
pub fn names() -> Vec<PossibleValue> {
    let named = |name, help: String| PossibleValue::new(name).help(help);
    let mut names =
        vec![named(SMALL, "the default: memory, throughput and latency with 32-byte messages".into())];
    names.extend(TABLE.map(|(name, connections, in_flight, _)| {
        let in_flight = if in_flight > 1 {
            format!(", {in_flight} messages in flight per connection")
        } else {
            "".into()
        };
        named(name, format!("{connections} connections{in_flight}"))
    }));
    names.push(named(ALL, "all workloads".into()));
    names
}

/// Whether these names include the default workload.
pub fn has_small(names: &[String]) -> bool {
    names.iter().any(|name| name == SMALL || name == ALL)
}

/// The other workloads that these names include.
pub fn others(names: &[String]) -> Vec<Workload> {
    let asked = |of: &str| names.iter().any(|name| name == of || name == ALL);
    let table = TABLE.into_iter().filter(|(name, ..)| asked(name));
    table
        .map(|(name, connections, in_flight, payload_bytes)| Workload {
            name: name.into(),
            connections,
            in_flight,
            payload_bytes,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> (bool, Vec<String>) {
        let names: Vec<String> = text.split(',').map(str::to_owned).collect();
        (has_small(&names), others(&names).into_iter().map(|workload| workload.name).collect())
    }

    #[test]
    fn names_ask_for_what_they_say() {
        assert_eq!(asked("small"), (true, vec![]));
        assert_eq!(asked("64x32B,1KiB"), (false, vec!["1KiB".into(), "64x32B".into()]));
        let (small, all) = asked("all");
        assert!(small && all.len() == TABLE.len());
        for workload in others(&all) {
            let (count, unit) = workload.name.split_once('x').unwrap_or(("1", &workload.name));
            let bytes: bytesize::ByteSize = unit.parse().expect("a size");
            assert_eq!((count.parse(), bytes.as_u64()), (Ok(workload.in_flight), workload.payload_bytes));
        }
    }
}
