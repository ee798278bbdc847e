//! A table on the terminal: one line per figure, one column per server or result.

use crate::live::text::cut;
use std::fmt::Write;

/// Four columns fit a terminal of 80.
const LABEL: usize = 36;
const COLUMN: usize = 11;

/// Lines of a label and its cells, in as many blocks, one below the other, as a terminal of this width takes; in one
/// where there is no terminal.
pub fn table(lines: &[(String, Vec<String>)], width: Option<usize>) -> String {
    let all = lines.iter().map(|(_, cells)| cells.len()).max().unwrap_or_default();
    let most = width.map_or(all, |width| width.saturating_sub(LABEL) / COLUMN).max(1);
    let mut table = String::new();
    for from in (0..all).step_by(most) {
        table += if from > 0 { "\n" } else { "" };
        for (label, cells) in lines {
            // A gap to the cell before remains.
            let cells = cells.iter().skip(from).take(most);
            let cells: String = cells.map(|cell| format!("{:>COLUMN$}", cut(cell, COLUMN - 1))).collect();
            // Writing to a string does not fail.
            let _ = writeln!(table, "{label:<LABEL$}{cells}");
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_goes_below() {
        let line = |label: &str, cells: [&str; 6]| (label.to_owned(), cells.map(str::to_owned).to_vec());
        let lines = [line("", ["a", "b", "c", "d", "e", "a-longer-name"]), line("Threads", ["5"; 6])];
        let shown = table(&lines, Some(80));
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        let blocks: Vec<&str> = shown.split("\n\n").collect();
        assert_eq!(blocks.len(), 2, "{shown}");
        assert!(blocks[1].contains("e a-longer-…\nThreads "), "{shown}");
        assert_eq!(table(&lines, None).lines().count(), 2);
        assert_eq!(table(&lines, Some(10)).split("\n\n").count(), 6);
        assert_eq!(table(&[], Some(80)), "");
    }
}
