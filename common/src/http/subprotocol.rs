//! The subprotocol that a client may ask for (RFC 6455, section 1.9).
//!
//! An echo server speaks none, and omits the header, which section 4.2.2 allows. Browsers and some libraries then fail the
//! connection. `--subprotocol` names one to select for clients that offer it.

use std::fmt;
use std::str::FromStr;

/// The name of a subprotocol: a token of HTTP (RFC 9110, section 5.6.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subprotocol(String);

impl FromStr for Subprotocol {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Subprotocol, Self::Err> {
        match is_token(text) {
            true => Ok(Subprotocol(text.to_owned())),
            false => Err("not a name such as chat or graphql-transport-ws"),
        }
    }
}

/// Whether this is a token of HTTP (RFC 9110, section 5.6.2), as names of header fields are too.
pub fn is_token(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(legal)
}

impl fmt::Display for Subprotocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first of those `offered`, in the client's order of preference, that is one of `ours`. Names are compared as they
/// stand: section 4.1 has the client fail where it gets another one.
pub(crate) fn select<'o>(
    mut offered: impl Iterator<Item = &'o [u8]>,
    ours: &[Subprotocol],
) -> Option<&Subprotocol> {
    offered.find_map(|name| ours.iter().find(|our| our.0.as_bytes() == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tokens() {
        for text in ["chat", "v10.stomp", "graphql-transport-ws", "a!#$%&'*+-.^_`|~Z9"] {
            assert_eq!(text.parse::<Subprotocol>().expect(text).to_string(), text);
        }
        for text in ["", "a b", "a,b", "a/b", "\"a\"", "caf\u{e9}", "a\r\nX: y"] {
            assert!(text.parse::<Subprotocol>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_first_offered_that_is_known_is_selected() {
        let ours = ["chat", "superchat"].map(|name| name.parse().expect(name));
        let select = |offered: &[&str]| select(offered.iter().map(|name| name.as_bytes()), &ours).cloned();
        assert_eq!(select(&["superchat", "chat"]), Some(ours[1].clone()));
        assert_eq!(select(&["x", "", "chat"]), Some(ours[0].clone()));
        assert_eq!(select(&["Chat", "x"]), None);
        assert_eq!(select(&[]), None);
    }
}
