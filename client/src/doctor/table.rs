//! The examination on the terminal, in 80 columns: the verdict, the stages, and the limits with those to raise first.

use super::verdict::{Check, Examination, StageVerdict, Verdict};
use crate::live::text::{Row, Tone};
use crate::report::format::count;

const WIDTH: usize = 79;
/// Columns of a verdict, of a limit's name, and of its current and its needed value.
const VERDICT: usize = 8;
const NAME: usize = 42;
const VALUE: usize = 14;

/// The verdict, and the tables of stages and limits.
pub fn render(examination: &Examination, colour: bool) -> String {
    let tone = if examination.fits { Tone::Amount } else { Tone::Bad };
    let between = if examination.tls { ", and HAProxy with TLS between them" } else { "" };
    let here = format!("Server and client on this machine{between}.");
    let mut rows: Vec<Row> =
        wrapped(&verdict(examination), WIDTH).iter().map(|line| Row::of(tone, line)).collect();
    rows.extend([Row::of(Tone::Dim, here), Row::default()]);
    rows.push(Row::of(Tone::Strong, format!("{:VERDICT$}{:<23}{:>13}  first limit", "", "stage", "holds")));
    rows.extend(examination.stages.iter().map(stage));
    let heading = format!("{:VERDICT$}{:<NAME$}{:>VALUE$}{:>VALUE$}", "", "limit", "current", "needed");
    rows.extend([Row::default(), Row::of(Tone::Strong, heading)]);
    let mut checks: Vec<&Check> = examination.checks.iter().collect();
    checks.sort_by_key(|check| match check.verdict {
        Verdict::Short => 0,
        Verdict::Note => 1,
        Verdict::Ok => 2,
    });
    rows.extend(checks.into_iter().flat_map(limit));
    rows.iter().map(|row| row.to_terminal(colour) + "\n").collect()
}

/// One sentence: which stages hold the connections, and what stops the others.
fn verdict(examination: &Examination) -> String {
    let connections = count(examination.connections as f64);
    let numbers = |fits: bool| {
        let stages = examination.stages.iter().filter(|stage| stage.fits == fits);
        let numbers: Vec<&str> = stages.filter_map(|stage| stage.stage.get(5..6)).collect();
        match &numbers[..] {
            [] => None,
            [one] => Some(format!("stage {one}")),
            [others @ .., last] => Some(format!("stages {} and {last}", others.join(", "))),
        }
    };
    let Some(most) = examination.stages.iter().max_by_key(|stage| stage.holds) else { return connections };
    match (numbers(true), numbers(false)) {
        (Some(fits), None) => format!("{connections} connections fit {fits}."),
        (Some(fits), Some(short)) => format!("{connections} connections fit {fits}, not {short}."),
        (None, _) => format!(
            "{connections} connections do not fit: {} stops {} at {}.",
            most.stopped_by,
            most.stage,
            holds(most)
        ),
    }
}

fn stage(stage: &StageVerdict) -> Row {
    let (tone, verdict) = if stage.fits { (Tone::Amount, "fits") } else { (Tone::Bad, "too few") };
    let (name, stopped_by) = (stage.stage, stage.stopped_by);
    let text = format!("{name:<23}{:>13}  {stopped_by}", holds(stage));
    Row::of(tone, format!("{verdict:VERDICT$}")).and(Tone::Plain, text)
}

fn limit(check: &Check) -> Vec<Row> {
    let (tone, verdict) = match check.verdict {
        Verdict::Ok => (Tone::Amount, "ok"),
        Verdict::Short => (Tone::Bad, "SHORT"),
        Verdict::Note => (Tone::Time, "note"),
    };
    // Some distributions set 2^63 - 1.
    let current = if check.current.chars().count() < VALUE { &check.current } else { "unlimited" };
    let text = format!("{:<NAME$}{current:>VALUE$}{:>VALUE$}", check.name, check.needed);
    let advice = check.advice.iter().flat_map(|advice| wrapped(advice, WIDTH - VERDICT));
    let advice = advice.map(|line| {
        let tone = if ["sysctl ", "ulimit "].iter().any(|command| line.starts_with(command)) {
            Tone::Strong
        } else {
            Tone::Dim
        };
        Row::of(Tone::Plain, " ".repeat(VERDICT)).and(tone, line)
    });
    let row = Row::of(tone, format!("{verdict:VERDICT$}")).and(Tone::Plain, text);
    [row].into_iter().chain(advice).collect()
}

/// The estimate, rounded down to three digits.
fn holds(stage: &StageVerdict) -> String {
    if stage.holds > u64::MAX / 1_000 {
        return "unlimited".into();
    }
    let step = 10u64.pow(stage.holds.max(1).ilog10().saturating_sub(2));
    count((stage.holds / step * step) as f64)
}

/// Lines of at most `width` characters, broken at spaces. A command starts a line of its own, so that it can be copied.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let text = text
        .replace(": sysctl", ":\nsysctl")
        .replace("or sysctl", "or\nsysctl")
        .replace(", sysctl", ",\nsysctl");
    let mut lines = Vec::new();
    for part in text.lines() {
        let mut line = String::new();
        for word in part.split(' ') {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}
