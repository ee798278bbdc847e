//! Rows of styled text, measured and cut in terminal columns.

use crate::words::shown;
use unicode_width::UnicodeWidthChar;

/// What a piece of text means. The terminal's palette decides how that looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Dim,
    Strong,
    /// Rates and progress.
    Rate,
    /// Latencies.
    Time,
    /// Connections and memory.
    Amount,
    Bad,
}

impl Tone {
    /// The parameters of SGR (ECMA-48, 8.3.117); `None` for the default rendition.
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

/// Ends text that was cut.
const CUT: &str = "…";

/// One row of the terminal, as characters with their tones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row(Vec<(Tone, char)>);

impl Row {
    pub fn of(tone: Tone, text: impl AsRef<str>) -> Row {
        Row::default().and(tone, text)
    }

    /// Appends text without its control characters: a terminal would obey those in a server's name.
    pub fn and(mut self, tone: Tone, text: impl AsRef<str>) -> Row {
        self.0.extend(text.as_ref().chars().filter(|c| !c.is_control()).map(|c| (tone, c)));
        self
    }

    pub fn then(mut self, next: Row) -> Row {
        self.0.extend(next.0);
        self
    }

    /// Its columns on a terminal.
    pub fn width(&self) -> usize {
        width(&self.0)
    }

    /// Its columns as sent by [`Row::to_terminal`].
    pub fn sent_width(&self) -> usize {
        width(self.sent())
    }

    /// Cuts or pads the row so that it takes exactly `columns`, with `tail` at the right edge.
    pub fn with_end(self, tail: Row, columns: usize) -> Row {
        let tail = tail.clipped(columns);
        let left = columns - tail.width();
        self.clipped(left.saturating_sub(1)).padded(left).then(tail)
    }

    /// Pads the row with spaces on the right to at least `columns`.
    pub fn padded(self, columns: usize) -> Row {
        let blanks = columns.saturating_sub(self.width());
        self.and(Tone::Plain, " ".repeat(blanks))
    }

    /// Cuts the row to at most `columns`; an ellipsis marks the cut.
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

    /// The bytes for a terminal, without trailing spaces; SGR sequences only with `colour`.
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

    /// All but trailing spaces.
    fn sent(&self) -> &[(Tone, char)] {
        let end = self.0.iter().rposition(|(_, c)| *c != ' ').map_or(0, |last| last + 1);
        &self.0[..end]
    }
}

fn width(characters: &[(Tone, char)]) -> usize {
    characters.iter().map(|(_, c)| c.width().unwrap_or(0)).sum()
}

/// Cuts text to at most `columns`; an ellipsis marks the cut.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    Row::of(Tone::Plain, text).clipped(columns).0.into_iter().map(|(_, c)| c).collect()
}

/// Joins two blocks of rows, each cut to `columns`, with `between` in every row.
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
    fn rows_are_cut_to_the_width() {
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
    fn colour_is_optional_and_control_characters_are_dropped() {
        let row = Row::of(Tone::Bad, "3 failed").and(Tone::Plain, "  ");
        assert_eq!(row.to_terminal(true), "\x1b[1;31m3 failed\x1b[0m");
        assert_eq!(row.to_terminal(false), "3 failed");
        assert_eq!(Row::of(Tone::Plain, "a\x1b[2Jb\n").to_terminal(true), "a[2Jb");
    }

    #[test]
    fn blocks_are_joined_side_by_side() {
        let left = vec![Row::of(Tone::Plain, "one"), Row::of(Tone::Plain, "three")];
        let right = vec![Row::of(Tone::Plain, "two")];
        let rows: Vec<String> =
            side_by_side(left, right, 6, " │ ").iter().map(|row| row.to_terminal(false)).collect();
        assert_eq!(rows, ["one    │ two", "three  │"]);
    }
}
