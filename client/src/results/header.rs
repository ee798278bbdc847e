//! How results begin: what wrote them, and when.

use serde::{Deserialize, Serialize};

/// How a run and a race begin: one execution of this program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    /// The version of the layout, which each kind counts for itself.
    pub schema: u32,
    /// The version of this program.
    pub version: String,
    /// The command line.
    pub command: Vec<String>,
    /// When it was started (RFC 3339, UTC).
    pub started: String,
}

impl Header {
    /// The header of a result of this program's, begun at `started` (RFC 3339, UTC).
    pub fn new(schema: u32, started: String) -> Header {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Header { schema, version, command: command(), started }
    }
}

/// The command line, without the password of `--proxy`.
pub(crate) fn command() -> Vec<String> {
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let mut words: Vec<String> = words.collect();
    for at in 1..words.len() {
        if words[at - 1] == "--proxy" || words[at].starts_with("--proxy=") {
            words[at] = without_password(&words[at]);
        }
    }
    words
}

/// The URL of a proxy, also as `--proxy=URL`, with its password replaced.
fn without_password(url: &str) -> String {
    let scheme_len = url.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = url.split_at(scheme_len);
    let hidden = |(credentials, host): (&str, &str)| {
        Some(format!("{scheme}{}:***@{host}", credentials.split_once(':')?.0))
    };
    rest.rsplit_once('@').and_then(hidden).unwrap_or_else(|| url.to_owned())
}

/// How a comparison and a million begin: what was built, and how to repeat it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// The version of the layout, which each kind counts for itself.
    pub schema: u32,
    /// When it began (RFC 3339, UTC); in merged records, all dates with commas.
    pub date: String,
    /// The commit that was built, with `-dirty` where files had changed; `None` outside a repository.
    pub commit: Option<String>,
    /// The command line that repeats it; in merged records, one per line.
    pub command: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_replaced() {
        for (url, shown) in [
            ("http://user:secret@a:1", "http://user:***@a:1"),
            ("user:se:c/r@et@a:1/", "user:***@a:1/"),
            ("--proxy=http://user:secret@a:1", "--proxy=http://user:***@a:1"),
            ("--proxy=user:secret@a:1", "--proxy=user:***@a:1"),
            ("http://user@a:1", "http://user@a:1"),
            ("http://a:1", "http://a:1"),
            ("none", "none"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
