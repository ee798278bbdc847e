//! Rows of text in tones, which a terminal shows as colours, or not.

use crate::words::shown;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

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

/// As much of a text as so many columns hold.
fn fitting(text: &str, columns: usize) -> &str {
    let mut taken = 0;
    let end = text.char_indices().find(|(_, c)| {
        taken += c.width().unwrap_or(0);
        taken > columns
    });
    end.map_or(text, |(end, _)| &text[..end])
}

/// The text, in at most so many columns; what was cut off is marked.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    match fitting(text, columns) {
        whole if whole.len() == text.len() => whole.into(),
        _ if columns == 0 => String::new(),
        _ => fitting(text, columns - 1).to_owned() + CUT,
    }
}

/// One row of the terminal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row(Vec<(Tone, String)>);

impl Row {
    /// A row of one piece.
    pub fn of(tone: Tone, text: impl Into<String>) -> Row {
        Row::default().and(tone, text)
    }

    /// The row with another piece at its end.
    pub fn and(mut self, tone: Tone, text: impl Into<String>) -> Row {
        self.0.push((tone, text.into()));
        self
    }

    /// The columns that it takes.
    pub fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.width()).sum()
    }

    /// The columns that it takes on a terminal, where the blanks at its end are not sent.
    pub fn sent_width(&self) -> usize {
        self.to_terminal(false).width()
    }

    /// The row with `tail` at its end, filled up with blanks so that both take `width` columns.
    pub fn with_end(self, tail: Row, width: usize) -> Row {
        let tail = tail.clipped(width);
        let mut row = self.clipped(width.saturating_sub(tail.width() + 1)).padded(width - tail.width());
        row.0.extend(tail.0);
        row
    }

    /// The row, filled up with blanks to `width` columns.
    pub fn padded(self, width: usize) -> Row {
        let blanks = width.saturating_sub(self.width());
        self.and(Tone::Plain, " ".repeat(blanks))
    }

    /// As much of the row as `width` columns hold; what was cut off is marked.
    pub fn clipped(self, width: usize) -> Row {
        if self.width() <= width {
            return self;
        }
        let (mut left, mut row) = (width.saturating_sub(1), Row::default());
        for (tone, text) in self.0 {
            let fitting = fitting(&text, left);
            left -= fitting.width();
            let whole = fitting.len() == text.len();
            row = row.and(tone, fitting);
            if !whole {
                break;
            }
        }
        row.and(Tone::Dim, if width == 0 { "" } else { CUT })
    }

    /// The row as it is sent to a terminal, without the blanks at its end.
    pub fn to_terminal(&self, colour: bool) -> String {
        let mut text = String::new();
        let end =
            self.0.iter().rposition(|(_, piece)| !piece.trim_end().is_empty()).map_or(0, |last| last + 1);
        for (index, (tone, piece)) in self.0[..end].iter().enumerate() {
            let piece = if index + 1 == end { piece.trim_end() } else { piece };
            // A name may hold what a terminal would obey.
            let piece: String = piece.chars().filter(|c| !c.is_control()).collect();
            let piece = shown(&piece);
            match tone.sgr().filter(|_| colour) {
                Some(sgr) => text += &format!("\x1b[{sgr}m{piece}\x1b[0m"),
                None => text += &piece,
            }
        }
        text
    }
}

/// Two columns of rows, each of so many columns of the terminal, with `between` in every row.
pub(crate) fn side_by_side(left: Vec<Row>, right: Vec<Row>, width: usize, between: &str) -> Vec<Row> {
    let rows = left.len().max(right.len());
    let fill = |rows_of_one: Vec<Row>| {
        rows_of_one.into_iter().chain(std::iter::repeat_with(Row::default)).take(rows)
    };
    let pair = |(left, right): (Row, Row)| {
        let mut row = left.clipped(width).padded(width).and(Tone::Dim, between);
        row.0.extend(right.clipped(width).0);
        row
    };
    fill(left).zip(fill(right)).map(pair).collect()
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
