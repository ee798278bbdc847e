//! The examination as text, at most 100 columns wide.

use super::verdict::{Check, Examination, Verdict};
use crate::report::format::count;
use std::fmt::Write;

const WIDTH: usize = 98;

/// The tables of limits and stages.
pub fn render(examination: &Examination) -> String {
    let connections = count(examination.connections as f64);
    let between = if examination.tls { ", and HAProxy with TLS between them" } else { "" };
    let mut text = format!("{connections} connections, server and client on this machine{between}\n\n");
    let _ = writeln!(text, "{:<44} {:>16} {:>16}", "limit", "current", "needed");
    for check in &examination.checks {
        push_check(&mut text, check);
    }
    let _ = writeln!(text, "\n{:<26} {:>16}   first limit", "stage", "holds");
    for stage in &examination.stages {
        let verdict = if stage.fits { "fits" } else { "too few" };
        let _ = writeln!(
            text,
            "{:<26} {:>16}   {:<34} {verdict}",
            stage.stage,
            count(round(stage.holds) as f64),
            stage.stopped_by
        );
    }
    text
}

fn push_check(text: &mut String, check: &Check) {
    let verdict = match check.verdict {
        Verdict::Ok => "ok",
        Verdict::Short => "SHORT",
        Verdict::Note => "note",
    };
    let _ = writeln!(text, "{:<44} {:>16} {:>16}   {verdict}", check.name, check.current, check.needed);
    for line in check.advice.iter().flat_map(|advice| wrapped(advice, WIDTH - 6)) {
        let _ = writeln!(text, "      {line}");
    }
}

/// Rounds an estimate down to three digits.
fn round(holds: u64) -> u64 {
    let step = 10u64.pow(holds.max(1).ilog10().saturating_sub(2));
    holds / step * step
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
