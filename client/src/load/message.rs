//! The flags of messages and replies.

use super::{MAX_PAYLOAD, Scenario};
use crate::cli;
use crate::fleet::{FleetConfig, Messages, Verify};
use clap::Args;
use std::fs::File;
use std::io::{self, Read};
use std::str::FromStr;
use std::sync::Arc;

/// The most greetings per connection.
const MAX_GREETINGS: u64 = 1_000;

/// What to send, and what counts as a reply
#[derive(Args, Clone, Debug)]
pub struct MessageArgs {
    /// Payload per message, such as 32 or 4KiB, or a range such as 32-4KiB: each length in it is equally likely, and the
    /// same in every run
    #[arg(long, default_value = "32", value_name = "SIZE[-SIZE]")]
    pub payload: PayloadSize,

    /// Send the bytes of this file, up to 16 MiB, as every message
    #[arg(long, value_name = "FILE", value_parser = payload_file, conflicts_with = "payload")]
    pub payload_file: Option<Payload>,

    /// Send text messages instead of binary ones: printable ASCII, or --payload-file, which must then be UTF-8
    #[arg(long)]
    pub text: bool,

    /// What counts as the reply to a message
    #[arg(long, value_enum, default_value_t, value_name = "REPLY")]
    pub verify: Verify,

    /// Await one message, or with greeting=N N messages, on each new connection before it is used
    #[arg(long, value_name = "greeting[=N]")]
    pub expect: Option<Greetings>,
}

impl MessageArgs {
    /// Fails where flags contradict one another.
    ///
    /// # Errors
    /// Which ones, and why, in one line.
    pub fn check(&self, scenario: Scenario, at_a_rate: bool) -> Result<(), String> {
        let awaits = matches!(scenario, Scenario::Echo | Scenario::Burst);
        if self.verify == Verify::None && awaits && (!at_a_rate || scenario == Scenario::Burst) {
            return Err(match scenario {
                Scenario::Burst => "--verify none awaits no reply, and --scenario burst sends when all have \
                                    arrived: choose another scenario"
                    .to_owned(),
                _ => "--verify none awaits no reply, so nothing says when to send the next message: give \
                      --rate, the messages per second"
                    .to_owned(),
            });
        }
        match &self.payload_file {
            Some(Payload(bytes)) if self.text => match std::str::from_utf8(bytes) {
                Ok(_) => Ok(()),
                Err(error) => Err(format!(
                    "--payload-file is not UTF-8 from byte {} on: omit --text to send it in binary messages",
                    error.valid_up_to()
                )),
            },
            _ => Ok(()),
        }
    }

    /// The payload of a message, in bytes: at most, if lengths vary.
    pub fn payload_len(&self) -> usize {
        self.payload_file.as_ref().map_or(self.payload.longest, |Payload(bytes)| bytes.len())
    }

    /// Configures a fleet to send such messages in this scenario.
    pub fn configure(&self, fleet: FleetConfig, scenario: Scenario) -> FleetConfig {
        let messages = Messages {
            text: self.text,
            shortest: self.payload.shortest.filter(|_| self.payload_file.is_none()),
            file: self.payload_file.as_ref().map(|Payload(bytes)| bytes.clone()),
            // An idle run sends nothing, so no message from the server is a reply.
            verify: if scenario == Scenario::Idle { Verify::None } else { self.verify },
            greetings: self.expect.map_or(0, |Greetings(count)| count),
        };
        FleetConfig { payload_len: self.payload_len(), messages, ..fleet }
    }
}

/// The length of payloads, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadSize {
    /// The least, if lengths vary.
    pub shortest: Option<usize>,
    /// The greatest.
    pub longest: usize,
}

impl FromStr for PayloadSize {
    type Err = String;

    fn from_str(text: &str) -> Result<PayloadSize, String> {
        let size = cli::size_to(MAX_PAYLOAD);
        let Some((shortest, longest)) = text.split_once('-') else {
            return size(text).map(|longest| PayloadSize { shortest: None, longest });
        };
        let (shortest, longest) = (size(shortest)?, size(longest)?);
        if shortest > longest {
            return Err("its first size is the greater: give the range as MIN-MAX".to_owned());
        }
        Ok(PayloadSize { shortest: Some(shortest).filter(|&shortest| shortest < longest), longest })
    }
}

/// The bytes of `--payload-file`.
#[derive(Clone, Debug)]
pub struct Payload(Arc<[u8]>);

/// Reads `--payload-file`.
fn payload_file(file: &str) -> Result<Payload, String> {
    let most = MAX_PAYLOAD.as_u64();
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(file)?.take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            return Err(io::Error::other(format!("longer than {MAX_PAYLOAD}")));
        }
        Ok(bytes)
    };
    read().map(|bytes| Payload(bytes.into())).map_err(|error| format!("cannot read it: {error}"))
}

/// `--expect greeting[=N]`: the number of greetings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greetings(u32);

impl FromStr for Greetings {
    type Err = String;

    fn from_str(text: &str) -> Result<Greetings, String> {
        match text.split_once('=') {
            None if text == "greeting" => Ok(Greetings(1)),
            Some(("greeting", count)) => {
                cli::count_to(MAX_GREETINGS)(count).map(|count| Greetings(count as u32))
            }
            _ => Err("neither 'greeting' nor 'greeting=N'".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_a_size_or_a_range() {
        let parse = |text: &str| text.parse::<PayloadSize>();
        let size = |shortest, longest| Ok(PayloadSize { shortest, longest });
        assert_eq!(parse("4KiB"), size(None, 4_096));
        assert_eq!(parse("0-4KiB"), size(Some(0), 4_096));
        assert_eq!(parse("1_000-16MiB"), size(Some(1_000), 16 << 20));
        assert_eq!(parse("32-32"), size(None, 32), "one length only");
        for (wrong, why) in
            [("2-1", "MIN-MAX"), ("1-", "not a size"), ("-1", "not a size"), ("1-17MiB", "more than")]
        {
            assert!(parse(wrong).is_err_and(|error| error.contains(why)), "{wrong}");
        }
    }

    #[test]
    fn greetings_are_counted() {
        let parse = |text: &str| text.parse::<Greetings>();
        assert_eq!((parse("greeting"), parse("greeting=3")), (Ok(Greetings(1)), Ok(Greetings(3))));
        for wrong in ["", "hello", "greeting=", "greeting=0", "greeting=1001", "Greeting", "pushes=1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
