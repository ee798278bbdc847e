//! The words of every text in the repository: sources, documents, help texts, configuration.
//!
//! A reader who knows Linux networking must be able to search the web for every term. [`AVOID`] lists the words and phrases
//! that do not pass, each with what to write instead. Matching is by whole words, so identifiers do not match.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Phrases, separated by `|`, and what to write instead.
const AVOID: &[(&str, &str)] = &[
    ("in line|get in line|gets in line", "be queued"),
    ("a turn|its turn|their turn|take turns|takes turns|in turns", "time slice, run the queue"),
    ("reads at once", "read quantum"),
    ("told", "notified, reported"),
    ("gone|is away|are away", "removed, disconnected, closed"),
    ("leave away", "omit"),
    ("at rest", "at a message boundary"),
    ("prompt|prompts", "fast-path eligible, inline"),
    ("held up|hold up|holds up|holding up", "stalled"),
    ("give up|gives up|given up|gave up|giving up", "time out"),
    ("stuck", "stalled peer, slow reader"),
    ("waits for its answer to be read|waits for its echo to be read", "backpressure"),
    ("last octet is sent|discard until closed|discards until closed", "half-close, lingering close"),
    ("turn away|turns away|turned away|turning away", "reject"),
    ("calm|calms", "quiescent"),
    ("mend|mends|mended|mending", "the fix, what to do, raise"),
    ("on its word|on the word of", "from a declared length"),
    ("octet|octets", "byte, bytes"),
    ("whoever|whomever|who has learnt", "name the subject"),
    ("knows its turn|as many look as may|on a connection in the middle of nothing", "say what it does"),
    ("so many|so much|that of|what is to be|is there to be", "name it"),
    ("for so long", "for this long"),
    ("reckon|reckons|reckoned|reckoning", "calculate, plan"),
    ("beside", "compared with, next to, in addition to"),
    ("as they come|as it comes|as Linux comes", "by default, in order of arrival"),
    ("a peer that is met with|is met with|are met with", "threat and response"),
    ("stand behind|stands behind|client's stand", "go after"),
    ("not all was", "say how far it got, and what stopped it"),
    ("memory comes first", "measure memory first"),
];

/// A rate or a cost is per second, per connection, per echo: `messages a second` is not. A brace ends a formatted value.
const PER: [(&str, &[&str]); 4] = [
    (
        "second",
        &[
            "bytes",
            "connections",
            "connects",
            "echoes",
            "events",
            "frames",
            "GB",
            "KB",
            "lines",
            "MB",
            "messages",
            "once",
            "one",
            "pings",
            "requests",
            "samples",
            "thousand",
            "times",
            "}",
        ],
    ),
    (
        "connection",
        &["B", "buffer", "bytes", "descriptors", "goroutine", "KB", "stack", "task", "thread", "}"],
    ),
    ("socket", &["B", "bytes", "KB", "}"]),
    ("echo", &["bytes", "instructions", "ns", "time", "µs", "}"]),
];

/// Identifiers with another meaning in the field, or none; case counts.
const NAMES: [(&str, &str); 8] = [
    ("get_in_line", "enqueue"),
    ("take_turns", "run_queued"),
    ("time_for_line", "run_queue_budget"),
    ("is_prompt", "can_read_inline"),
    ("patience", "timeout, poll_timeout"),
    ("PATIENCE", "TIMEOUT"),
    ("drained_by", "drain_deadline"),
    ("Weather", "TrimPolicy"),
];

/// Lawful uses: a file, a phrase, and the reason.
const ALLOWED: &[(&str, &str, &str)] =
    &[("conformance/src/unread.rs", "octets", "a method of the standard library")];

/// Paths whose text is dated, foreign or generated; and this file, which quotes what it forbids.
const LEFT_OUT: &[&str] = &["results/", "fuzz/corpus/", "LICENSE", "common/tests/words.rs"];

/// Longest line of prose in Markdown, and of a code block.
const PROSE_WIDTH: usize = 100;
const CODE_WIDTH: usize = 80;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Tracked text files, with their contents.
fn texts() -> Vec<(String, String)> {
    let listed = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "-z"])
        .current_dir(root())
        .output()
        .expect("git");
    let listed = String::from_utf8(listed.stdout).expect("paths are text");
    let is_own = |path: &&str| {
        let left_out = LEFT_OUT.iter().any(|prefix| path.starts_with(prefix));
        !(path.is_empty() || left_out || path.ends_with(".lock") || path.ends_with("-lock.json"))
    };
    let read = |path: &str| Some((path.to_owned(), fs::read_to_string(root().join(path)).ok()?));
    let texts: Vec<_> = listed.split('\0').filter(is_own).filter_map(read).collect();
    assert!(texts.len() > 200, "{} files: is this a clone with git?", texts.len());
    texts
}

/// A word of a text, or a character of its punctuation, and its line from 1.
struct Token<'t> {
    text: &'t str,
    lower: String,
    line: usize,
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Words and punctuation. Markers of comments and quotations are left out where a line begins, so that a phrase is found
/// across its line break.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let mut rest = line.trim_start().trim_start_matches(['/', '!', '#', '>', '*', ' ']);
        while let Some(first) = rest.chars().next() {
            let word_len = rest.find(|letter| !is_of_word(letter)).unwrap_or(rest.len());
            let (token, after) = rest.split_at(word_len.max(first.len_utf8()));
            rest = after;
            if !first.is_whitespace() {
                tokens.push(Token { text: token, lower: token.to_lowercase(), line: at + 1 });
            }
        }
    }
    tokens
}

/// The lines in `tokens` at which `phrase` starts.
fn places<'p>(tokens: &'p [Token], phrase: &'p str, case_counts: bool) -> impl Iterator<Item = usize> + 'p {
    let words = self::tokens(phrase);
    let same = move |token: &Token, word: &Token| {
        if case_counts { token.text == word.text } else { token.lower == word.lower }
    };
    tokens
        .windows(words.len())
        .filter(move |window| window.iter().zip(&words).all(|(token, word)| same(token, word)))
        .map(|window| window[0].line)
}

/// Line, phrase, and what to write instead, for each phrase to avoid.
fn faults(text: &str) -> Vec<(usize, String, String)> {
    let tokens = tokens(text);
    let mut faults = Vec::new();
    let mut look = |phrase: &str, instead: &str, case_counts| {
        for line in places(&tokens, phrase, case_counts) {
            faults.push((line, phrase.to_owned(), instead.to_owned()));
        }
    };
    for (phrases, instead) in AVOID {
        phrases.split('|').for_each(|phrase| look(phrase, instead, false));
    }
    for (unit, subjects) in PER {
        let article = if unit == "echo" { "an" } else { "a" };
        for subject in subjects {
            look(&format!("{subject} {article} {unit}"), &format!("{subject} per {unit}"), true);
        }
    }
    NAMES.iter().for_each(|(name, instead)| look(name, instead, true));
    faults
}

#[test]
fn words_are_the_terms_of_the_field() {
    let mut found = Vec::new();
    let mut used = vec![false; ALLOWED.len()];
    for (path, text) in texts() {
        for (line, phrase, instead) in faults(&text) {
            match ALLOWED.iter().position(|(file, allowed, _)| *file == path && *allowed == phrase) {
                Some(at) => used[at] = true,
                None => found.push(format!("{path}:{line}: {phrase} -> {instead}")),
            }
        }
    }
    assert!(found.is_empty(), "{} phrases to replace:\n{}", found.len(), found.join("\n"));
    for ((file, phrase, _), used) in ALLOWED.iter().zip(used) {
        assert!(used, "{file} has no '{phrase}' any more: remove it from the list");
    }
}

#[test]
fn phrases_are_found_whole_and_across_lines() {
    let lines = |text: &str| faults(text).iter().map(|(line, phrase, _)| (*line, phrase.clone())).collect();
    let found: Vec<(usize, String)> =
        lines("/// A peer is Told.\n/// It is held\n/// up here.\nlet told_at = 1;");
    assert_eq!(found, [(1, "told".into()), (2, "held up".into())]);
    let rates: Vec<(usize, String)> =
        lines("5 messages a second, 4 B a connection; ten connections, a second server");
    assert_eq!(rates, [(1, "messages a second".into()), (1, "B a connection".into())]);
    let fine: Vec<(usize, String)> =
        lines("In-line calls; a turnstile; untold, besides; the storm calmed; patience_s");
    assert!(fine.is_empty(), "{fine:?}");
}

/// What is wrong with the lines of a Markdown file, as `line: fault`.
fn misfits(text: &str, prose_width: usize) -> Vec<String> {
    let mut is_code = false;
    let mut misfits = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let (width, line) = (line.chars().count(), line.trim_start());
        let fault = if line.starts_with("```") {
            is_code = !is_code;
            None
        } else if is_code {
            let is_wide = (width > CODE_WIDTH).then(|| format!("code of {width} columns"));
            is_wide.or_else(|| line.contains(" # ").then(|| "a comment behind a command".to_owned()))
        } else {
            let may_be_wide = line.starts_with(['|', '!']);
            (width > prose_width && !may_be_wide).then(|| format!("prose of {width} columns"))
        };
        misfits.extend(fault.map(|fault| format!("{}: {fault}", at + 1)));
    }
    misfits
}

#[test]
fn markdown_fits_the_screen() {
    let mut found = Vec::new();
    for (path, text) in texts().into_iter().filter(|(path, _)| path.ends_with(".md")) {
        // A line of a slide is a paragraph: a break in it would show.
        let prose_width = if path == "slides/talk.md" { usize::MAX } else { PROSE_WIDTH };
        found.extend(misfits(&text, prose_width).into_iter().map(|misfit| format!("{path}:{misfit}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    let wide = "x ".repeat(60);
    let faults = misfits(&format!("{wide}\n| {wide}\n```\n{wide}\nls # lists\n```\n"), PROSE_WIDTH);
    assert_eq!(
        faults,
        ["1: prose of 120 columns", "4: code of 120 columns", "5: a comment behind a command"]
    );
}
