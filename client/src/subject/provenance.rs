//! What a result comes from: the commit that was built, and the command line.

use super::built;
use crate::results::Origin;
use std::process::{Command, Stdio};
use std::time::SystemTime;

/// The origin of a result of this program's that begins now.
pub fn origin(schema: u32) -> Origin {
    let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    Origin { schema, date, commit: commit(), command: command_line() }
}

/// The commit of the working directory, with `-dirty` where tracked files differ from it; `None` outside a repository.
fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|files| !files.is_empty());
    Some(if changed { format!("{commit}-dirty") } else { commit })
}

/// The command line that repeats a measurement.
pub fn command_line() -> String {
    let program = match built::profile().as_str() {
        _ if !built::is_in_workspace() => "client".into(),
        "dev" => "cargo run -p client --".into(),
        "release" => "cargo run --release -p client --".into(),
        profile => format!("cargo run --profile {profile} -p client --"),
    };
    let words = std::env::args().skip(1).map(|word| quoted(&word));
    [program].into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

/// A word, quoted for a shell where it has to be.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "-_./:,=@%+".contains(letter);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_pasted() {
        assert_eq!(quoted("--levels=20,60"), "--levels=20,60");
        assert_eq!(quoted("x='/opt/my server' {port}"), r"'x='\''/opt/my server'\'' {port}'");
        assert_eq!(quoted(""), "''");
    }
}
