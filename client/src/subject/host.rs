//! The machine that a result is of.

use crate::doctor::{self, Verdict};
use crate::results::Machine;
use std::fs;
use std::thread::available_parallelism;

/// This machine and its limits.
pub fn machine() -> Machine {
    let here = doctor::Machine::here();
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    // Only the limits are used, and they do not depend on the number of connections.
    let checks = doctor::examine(&here, 1, None).checks;
    let limits = checks.into_iter().filter(|check| check.verdict != Verdict::Short).filter_map(|check| {
        let name = check.name.split(" (").next().unwrap_or(&check.name).to_owned();
        (!name.contains("memory")).then_some((name, check.current))
    });
    Machine {
        cpu: cpu(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
        cores: available_parallelism().map_or(1, usize::from),
        memory_bytes: here.memory_bytes,
        kernel: format!("{} {}", read("ostype").trim(), read("osrelease").trim()),
        limits: limits.collect(),
    }
}

/// The processor's name: `model name` on x86, `Model` or nothing on others.
fn cpu(cpuinfo: &str) -> String {
    let field = |wanted: &str| {
        let fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        fields.into_iter().find(|(name, _)| name.trim() == wanted).map(|(_, value)| value.trim().to_owned())
    };
    field("model name").or_else(|| field("Model")).unwrap_or_else(|| std::env::consts::ARCH.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_processor() {
        assert_eq!(cpu("processor\t: 0\nmodel name\t: AMD EPYC\nmodel name\t: other\n"), "AMD EPYC");
        assert_eq!(cpu("processor\t: 0\nModel\t\t: Raspberry Pi 4\n"), "Raspberry Pi 4");
        assert_eq!(cpu(""), std::env::consts::ARCH);
    }

    #[test]
    fn this_machine_has_a_kernel_and_limits() {
        let machine = machine();
        assert!(machine.kernel.starts_with("Linux ") && machine.cores > 0 && machine.memory_bytes > 0);
        assert!(machine.limits.contains_key("nofile, hard limit"), "{:?}", machine.limits);
    }
}
