//! What is known before the first connection: limits that are too low, and how many connections a stage will hold.

use crate::doctor::{Check, Examination, Machine, Verdict, examine};
use crate::report::format::count;
use crate::subject::Subject;
use anyhow::Result;

/// Limits that only a thread per connection meets.
const OF_THREADS: [&str; 5] =
    ["vm.max_map_count", "kernel.threads-max", "kernel.pid_max", "pids.max of the control group", "nproc"];

/// What `client doctor` finds for one stage.
pub struct Forecast {
    /// The stage.
    pub subject: Subject,
    /// Connections to try for.
    pub goal: u64,
    /// Its estimated capacity, in connections.
    pub holds: u64,
    /// The limit that stops it there.
    pub stopped_by: String,
    /// Whether it is estimated to hold fewer than were asked for.
    pub short: bool,
    /// Findings, one line each.
    pub lines: Vec<String>,
}

impl Forecast {
    /// The forecast for `asked` connections to the stage of this number.
    ///
    /// # Errors
    /// Where the path of this program is unknown.
    pub fn new(stage: u8, asked: u64) -> Result<Self> {
        let machine = Machine::here();
        let subject = Subject::stage(stage, &machine)?;
        Ok(Self::of(subject, &examine(&machine, asked, Some(stage))))
    }

    fn of(subject: Subject, examination: &Examination) -> Self {
        let asked = examination.connections;
        let verdict = examination.stages.first();
        let (holds, stopped_by) =
            verdict.map_or((u64::MAX, "nothing"), |verdict| (verdict.holds, verdict.stopped_by));
        let short = holds < asked;
        let beyond = OF_THREADS.contains(&stopped_by);
        let stopped_by = examination.checks.iter().find(|check| check.name.starts_with(stopped_by)).map_or(
            stopped_by.to_owned(),
            // The machine's limits can be read by their names; a control group's only by its owner.
            |check| match stopped_by.contains("control group") {
                true => format!("{stopped_by}: {}", check.current),
                false => stopped_by.to_owned(),
            },
        );
        // Where threads run out, stage 1 rejects connections and shows where. Beyond another limit, above all memory, the
        // server or the machine hangs.
        let goal = match (short, beyond) {
            (false, _) => asked,
            (true, true) => asked.min(holds.saturating_add(holds / 10)),
            (true, false) => holds,
        };
        let mut lines: Vec<String> = examination.checks.iter().filter_map(line).collect();
        if short {
            let [holds, asked, goal] = [holds, asked, goal].map(|number| count(number as f64));
            lines.push(match beyond {
                true => format!(
                    "holds about {holds} of {asked}; trying {goal} to see where {stopped_by} stops it"
                ),
                false => format!("holds {holds} of {asked}; trying {goal}; stopped by: {stopped_by}"),
            });
        }
        Self { subject, goal: goal.max(1), holds, stopped_by, short, lines }
    }
}

/// A limit that is too low, or worth a note, in one line.
fn line(check: &Check) -> Option<String> {
    let verdict = match check.verdict {
        Verdict::Ok => return None,
        Verdict::Short => "short",
        Verdict::Note => "note",
    };
    let needed =
        if check.needed == "–" { String::new() } else { format!(", {} would be enough", check.needed) };
    let advice = check.advice.as_ref().map_or(String::new(), |advice| format!(": {advice}"));
    Some(format!("{verdict}: {} is {}{needed}{advice}", check.name, check.current))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{GROUP_MEMORY, StageVerdict};
    use crate::report::STAGES;
    use crate::subject::Start;

    fn forecast(stage: u8, holds: u64, stopped_by: &'static str) -> Forecast {
        let package = STAGES[usize::from(stage) - 1].package;
        let check = |verdict, advice: Option<&str>| Check {
            name: "net.core.somaxconn".into(),
            current: "128".into(),
            needed: "1,024".into(),
            verdict,
            advice: advice.map(str::to_owned),
        };
        let group =
            Check { name: GROUP_MEMORY.into(), current: "512 MiB".into(), ..check(Verdict::Ok, None) };
        let examination = Examination {
            tls: false,
            connections: 1_000_000,
            fits: holds >= 1_000_000,
            checks: vec![check(Verdict::Ok, None), check(Verdict::Note, Some("sysctl -w x=1")), group],
            stages: vec![StageVerdict { stage: package, fits: holds >= 1_000_000, holds, stopped_by }],
        };
        let subject =
            Subject { name: package.into(), start: Start::Stage("/nowhere".into()), capacity: None };
        Forecast::of(subject, &examination)
    }

    #[test]
    fn goes_for_what_the_machine_holds() {
        let memory = forecast(2, 700_000, "available memory");
        assert_eq!((memory.goal, memory.short), (700_000, true));
        assert_eq!(
            memory.lines.last().unwrap(),
            "holds 700,000 of 1,000,000; trying 700,000; stopped by: available memory"
        );
        let group = forecast(2, 60_000, "memory of the control group");
        assert_eq!(group.stopped_by, "memory of the control group: 512 MiB");
        assert_eq!(forecast(4, 2_000_000, "available memory").goal, 1_000_000);
    }

    #[test]
    fn lets_threads_run_out() {
        assert_eq!(forecast(1, 16_000, "vm.max_map_count").goal, 17_600);
        assert_eq!(forecast(1, 990_000, "vm.max_map_count").goal, 1_000_000);
        assert_eq!(forecast(1, 500_000, "available memory").goal, 500_000);
    }

    #[test]
    fn says_what_is_worth_knowing() {
        let lines = forecast(4, 2_000_000, "available memory").lines;
        assert_eq!(lines, ["note: net.core.somaxconn is 128, 1,024 would be enough: sysctl -w x=1"]);
    }
}
