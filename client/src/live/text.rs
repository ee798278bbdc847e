//! Rows of text in tones, which a terminal shows as colours, or not.

use crate::words::shown;
use unicode_width::UnicodeWidthChar;

/// What a piece of text is; the terminal's own palette says how that looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Dim,
    Strong,
    /// Rates, and how far a phase has come.
    Rate,
    /// Latencies.
    Time,
    /// Connections and memory.
    Amount,
    Bad,
}

impl Tone {
    /// The parameter of SGR (ECMA-48, 8.3.117).
    fn sgr(self) -> Option<&'static str> {
        match self {
            Tone::Plain => None,
            Tone::Dim => Some("2"),
            Tone::Strong => Some("1"),
            Tone::Rate => Some("36"),
            Tone::Time => Some("33"),
            Tone::Amount => Some("32"),
            Tone::Bad => Some("1;31"),
        }
    }
}

/// Marks what was cut off.
const CUT: &str = "…";

/// One row of the terminal: its characters, each in a tone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row(Vec<(Tone, char)>);

impl Row {
    /// A row of one piece.
    pub fn of(tone: Tone, text: impl AsRef<str>) -> Row {
        Row::default().and(tone, text)
    }

    /// The row with another piece at its end, without what a terminal would obey: a name may hold it.
    pub fn and(mut self, tone: Tone, text: impl AsRef<str>) -> Row {
        self.0.extend(text.as_ref().chars().filter(|c| !c.is_control()).map(|c| (tone, c)));
        self
    }

    /// The row with another behind it.
    pub fn then(mut self, next: Row) -> Row {
        self.0.extend(next.0);
        self
    }

    /// The columns that it takes.
    pub fn width(&self) -> usize {
        width(&self.0)
    }

    /// The columns that it takes on a terminal, where the blanks at its end are not sent.
    pub fn sent_width(&self) -> usize {
        width(self.sent())
    }

    /// The row with `tail` at its end, filled up with blanks so that both take `columns`.
    pub fn with_end(self, tail: Row, columns: usize) -> Row {
        let tail = tail.clipped(columns);
        let left = columns - tail.width();
        self.clipped(left.saturating_sub(1)).padded(left).then(tail)
    }

    /// The row, filled up with blanks to `columns`.
    pub fn padded(self, columns: usize) -> Row {
        let blanks = columns.saturating_sub(self.width());
        self.and(Tone::Plain, " ".repeat(blanks))
    }

    /// As much of the row as `columns` hold; what was cut off is marked.
    pub fn clipped(self, columns: usize) -> Row {
        if self.width() <= columns {
            return self;
        }
        let mut taken = 0;
        let fits = |(_, c): &(Tone, char)| {
            taken += c.width().unwrap_or(0);
            taken < columns
        };
        let fitting = Row(self.0.into_iter().take_while(fits).collect());
        fitting.and(Tone::Dim, if columns == 0 { "" } else { CUT })
    }

    /// The row as it is sent to a terminal, without the blanks at its end.
    pub fn to_terminal(&self, colour: bool) -> String {
        let mut text = String::new();
        for piece in self.sent().chunk_by(|one, next| one.0 == next.0) {
            let plain: String = piece.iter().map(|(_, c)| c).collect();
            let plain = shown(&plain);
            match piece[0].0.sgr().filter(|_| colour) {
                Some(sgr) => text += &format!("\x1b[{sgr}m{plain}\x1b[0m"),
                None => text += &plain,
            }
        }
        text
    }

    fn sent(&self) -> &[(Tone, char)] {
        let end = self.0.iter().rposition(|(_, c)| *c != ' ').map_or(0, |last| last + 1);
        &self.0[..end]
    }
}

fn width(characters: &[(Tone, char)]) -> usize {
    characters.iter().map(|(_, c)| c.width().unwrap_or(0)).sum()
}

/// The text, in at most so many columns; what was cut off is marked.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    Row::of(Tone::Plain, text).clipped(columns).0.into_iter().map(|(_, c)| c).collect()
}

/// Two columns of rows, each of so many columns of the terminal, with `between` in every row.
pub(crate) fn side_by_side(left: Vec<Row>, right: Vec<Row>, columns: usize, between: &str) -> Vec<Row> {
    let rows = left.len().max(right.len());
    let (mut left, mut right) = (left.into_iter(), right.into_iter());
    let pair = |_| {
        let row = left.next().unwrap_or_default().clipped(columns).padded(columns);
        row.and(Tone::Dim, between).then(right.next().unwrap_or_default().clipped(columns))
    };
    (0..rows).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_to_the_columns_there_are() {
        let row = || Row::of(Tone::Strong, "echoing").and(Tone::Dim, " 端末 now");
        let plain = |row: Row| row.to_terminal(false);
        assert_eq!((row().width(), plain(row())), (16, "echoing 端末 now".into()));
        assert_eq!(plain(row().clipped(16)), "echoing 端末 now");
        // A wide character is not cut in two.
        assert_eq!(plain(row().clipped(11)), "echoing 端…");
        assert_eq!(plain(row().clipped(10)), "echoing …");
        assert_eq!(plain(row().clipped(3)), "ec…");
        assert_eq!(plain(row().clipped(0)), "");
        for width in 0..20 {
            assert!(row().clipped(width).width() <= width);
            assert_eq!(row().with_end(Row::of(Tone::Dim, "0:07"), width).width(), width);
        }
    }

    #[test]
    fn colour_is_sent_where_it_is_wanted_and_a_name_commands_nothing() {
        let row = Row::of(Tone::Bad, "3 failed").and(Tone::Plain, "  ");
        assert_eq!(row.to_terminal(true), "\x1b[1;31m3 failed\x1b[0m");
        assert_eq!(row.to_terminal(false), "3 failed");
        assert_eq!(Row::of(Tone::Plain, "a\x1b[2Jb\n").to_terminal(true), "a[2Jb");
    }

    #[test]
    fn columns_stand_side_by_side() {
        let left = vec![Row::of(Tone::Plain, "one"), Row::of(Tone::Plain, "three")];
        let right = vec![Row::of(Tone::Plain, "two")];
        let rows: Vec<String> =
            side_by_side(left, right, 6, " │ ").iter().map(|row| row.to_terminal(false)).collect();
        assert_eq!(rows, ["one    │ two", "three  │"]);
    }
}
