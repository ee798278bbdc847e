//! The flags of the opening handshake.

use crate::fleet::{Field, RequestFields};
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Args, Command};
use common::origin::Origin;
use common::subprotocol::Subprotocol;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};

/// The longest file of headers.
const MAX_FILE_LEN: u64 = 64 * 1024;

/// What to send in the opening handshake
#[derive(Args, Clone, Debug, Default)]
pub struct HandshakeArgs {
    /// Send this header, 'Name: value', in the handshake, or with @FILE one for each line of FILE; a Host replaces the URL's.
    /// Repeat it for more. Results record the command line: keep a secret in a FILE
    #[arg(long, value_name = "HEADER", value_parser = HeaderParser)]
    pub header: Vec<Headers>,

    /// Offer this subprotocol, or several with commas, in order of preference; fail if the server selects none of them
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub subprotocol: Vec<Subprotocol>,

    /// Send this Origin, as a browser does for a page that was loaded from there
    #[arg(long, value_name = "URL")]
    pub origin: Option<Origin>,
}

impl HandshakeArgs {
    /// Fails where flags contradict one another.
    ///
    /// # Errors
    /// Which ones, and why, in one line.
    pub fn check(&self) -> Result<(), String> {
        self.request_fields().check()
    }

    /// The header fields to add to the request.
    pub fn request_fields(&self) -> RequestFields {
        RequestFields {
            headers: self.header.iter().flat_map(|Headers(fields)| fields).cloned().collect(),
            subprotocols: self.subprotocol.clone(),
            origin: self.origin.clone(),
        }
    }
}

/// The headers of one `--header`: several if they are from a file.
#[derive(Clone, Debug)]
pub struct Headers(Vec<Field>);

/// Parses `--header`. Unlike those of clap's parsers, its errors do not repeat the value, which may be secret and may have
/// line breaks.
#[derive(Clone, Copy, Debug)]
struct HeaderParser;

impl TypedValueParser for HeaderParser {
    type Value = Headers;

    fn parse_ref(
        &self,
        _command: &Command,
        _arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Headers, clap::Error> {
        let headers = match value.to_str().map(|text| (text, text.strip_prefix('@'))) {
            Some((_, Some(file))) => read(file).and_then(|text| from_lines(file, &text)),
            Some((text, None)) => {
                text.parse::<Field>().map(|field| vec![field]).map_err(|error| format!("{error}"))
            }
            None => Err("not UTF-8".to_owned()),
        };
        headers
            .map(Headers)
            .map_err(|why| clap::Error::raw(ErrorKind::ValueValidation, format!("--header: {why}")))
    }
}

/// The text of a file of headers.
fn read(file: &str) -> Result<String, String> {
    let read = || -> io::Result<String> {
        let mut bytes = Vec::new();
        File::open(file)?.take(MAX_FILE_LEN + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_FILE_LEN {
            return Err(io::Error::other(format!("longer than {MAX_FILE_LEN} bytes")));
        }
        String::from_utf8(bytes).map_err(|_| io::Error::other("not UTF-8"))
    };
    read().map_err(|error| format!("cannot read {file}: {error}"))
}

/// The headers of a file, one per line. Blank lines are skipped.
fn from_lines(file: &str, text: &str) -> Result<Vec<Field>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let fields = lines
        .map(|(at, line)| line.parse::<Field>().map_err(|error| format!("{file}, line {}: {error}", at + 1)));
    let fields = fields.collect::<Result<Vec<_>, _>>()?;
    if fields.is_empty() { Err(format!("{file} has no header")) } else { Ok(fields) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_header_per_line() {
        let fields = from_lines("f", "Authorization: Bearer x\r\n\n  \nX-A: 1").expect("headers");
        let expected = ["Authorization: Bearer x", "X-A: 1"].map(|line| line.parse().expect(line));
        assert_eq!(fields, expected);
        for (text, why) in [
            ("", "f has no header"),
            ("\r\n\n", "f has no header"),
            ("A: 1\n\nB 2\n", "f, line 3: a header is 'Name: value'"),
            ("A: 1\rB: 2\n", "f, line 1: the value of A has a line break"),
            (" A: 1\n", "f, line 1: the name ' A'"),
            ("A: 1\nUpgrade: x\n", "f, line 2: Upgrade cannot be added"),
        ] {
            let error = from_lines("f", text).expect_err(why);
            assert!(error.starts_with(why), "{text:?}: {error}");
        }
        for (file, why) in
            [("/nowhere/x", "No such file"), ("/", "directory"), ("/dev/zero", "longer than 65536 bytes")]
        {
            assert!(read(file).is_err_and(|error| error.contains(why)), "{file}");
        }
    }
}
