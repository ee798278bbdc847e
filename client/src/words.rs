//! Text for people, on standard output and standard error: reduced to what the terminal can show, and never a reason to
//! fail or block (see [`common::output`]).

use common::output;
use std::borrow::Cow;
use std::ffi::OsString;
use std::sync::LazyLock;
use unicode_width::UnicodeWidthChar;

/// Prints a summary, to standard output.
pub fn print(text: &str) {
    output::print(shown(text));
}

/// Prints a line to standard output; errors are ignored.
pub fn line(text: &str) {
    output::line(shown(text));
}

/// Prints an error of a subcommand to standard error, in one line.
pub fn complain(program: &str, what: &str) {
    output::complain(shown(&format!("{program}: {}", escaped(what))));
}

/// Prints a summary to standard error, where standard output has a result.
pub fn print_aside(text: &str) {
    output::complain(shown(text.trim_end_matches('\n')));
}

/// Prints a line of progress, to standard error.
pub fn progress(text: &str) {
    output::progress(shown(text));
}

/// The text as the terminal can show it: in ASCII where the locale is not UTF-8, or the terminal is dumb.
pub fn shown(text: &str) -> Cow<'_, str> {
    static UNICODE: LazyLock<bool> = LazyLock::new(|| is_unicode(|name| std::env::var_os(name)));
    if text.is_ascii() || *UNICODE { text.into() } else { ascii(text).into() }
}

/// Whether the environment says UTF-8 (locale(7): the first variable that is set and not empty counts; none means ASCII).
fn is_unicode(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
    let locale = locale.to_string_lossy().to_lowercase();
    let dumb = set("TERM").is_some_and(|term| term == "dumb");
    (locale.contains("utf-8") || locale.contains("utf8")) && !dumb
}

/// The text in ASCII, each character in as many columns as before, so that tables stay aligned.
fn ascii(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut text, c| {
        match stand_in(c) {
            Some(c) => text.push(c),
            None => text.extend(std::iter::repeat_n('?', c.width().unwrap_or(1))),
        }
        text
    })
}

/// The ASCII character closest to one; `None` where none is close.
fn stand_in(c: char) -> Option<char> {
    Some(match c {
        c if c.is_ascii() => c,
        'µ' => 'u',
        '−' | '–' | '—' | '─' | '▄' => '-',
        '━' | '╸' | '▅' => '=',
        '│' => '|',
        '…' => '~',
        '·' | '▂' => '.',
        '→' => '>',
        '×' => 'x',
        '‘' | '’' => '\'',
        '“' | '”' => '"',
        '▁' => '_',
        '▃' => ':',
        '▆' => '+',
        '▇' => '*',
        '█' => '#',
        // Braille patterns by their number of dots.
        '\u{2800}'..='\u{28ff}' => match (c as u32 & 0xff).count_ones() {
            0 => ' ',
            1..=2 => '.',
            3..=5 => ':',
            _ => '#',
        },
        _ => return None,
    })
}

/// The text on one line, with control characters escaped.
pub fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut text, c| {
        match c {
            '\'' | '"' | '\\' => text.push(c),
            _ => text.extend(c.escape_debug()),
        }
        text
    })
}

/// What a peer sent, escaped, cut to 120 characters and in quotation marks.
pub fn quoted(said: &[u8]) -> String {
    excerpt(said, 120)
}

/// The same, cut to `most` characters.
pub fn excerpt(said: &[u8], most: usize) -> String {
    let said = escaped(&String::from_utf8_lossy(said));
    match said.char_indices().nth(most) {
        Some((end, _)) => format!("'{}…'", &said[..end]),
        None => format!("'{said}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_and_the_terminal_decide() {
        let with = |set: &[(&str, &str)]| {
            let set = |name: &str| set.iter().find(|(of, _)| *of == name).map(|(_, value)| value.into());
            is_unicode(set)
        };
        for utf8 in ["C.UTF-8", "de_DE.utf8", "en_US.UTF-8@euro"] {
            assert!(with(&[("LANG", utf8)]) && with(&[("LC_CTYPE", utf8), ("LANG", "C")]), "{utf8}");
            assert!(with(&[("LC_ALL", ""), ("LC_CTYPE", ""), ("LANG", utf8), ("TERM", "xterm")]), "{utf8}");
            assert!(!with(&[("LC_ALL", "C"), ("LANG", utf8)]), "{utf8}");
            assert!(!with(&[("LANG", utf8), ("TERM", "dumb")]), "{utf8}");
        }
        assert!(!with(&[]) && !with(&[("LC_CTYPE", "de_DE.ISO-8859-1"), ("LANG", "C.UTF-8")]));
    }

    #[test]
    fn ascii_takes_as_many_columns() {
        assert_eq!(ascii("p50 84 µs, −3 of –, cut…"), "p50 84 us, -3 of -, cut~");
        assert_eq!(ascii("━━╸─ │ ▁▂▃▄▅▆▇█ ⣀⣿⡇"), "===- | _.:-=+*# .#:");
        assert_eq!(ascii("Größe 端末 e\u{301}"), "Gr??e ???? e");
    }

    #[test]
    fn what_a_peer_says_commands_nothing_and_is_short() {
        assert_eq!(quoted(b"it's \"over\"\x1b[2J\r\n\xff"), "'it's \"over\"\\u{1b}[2J\\r\\n\u{fffd}'");
        assert_eq!(quoted("\u{202e}x".as_bytes()), "'\\u{202e}x'");
        assert_eq!(quoted("ü".repeat(500).as_bytes()).chars().count(), 123);
    }
}
