//! What messages a fleet sends, and what counts as a reply.

use super::payload;
use clap::ValueEnum;
use common::frame::Opcode;
use common::mask;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What counts as a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// Only a message equal to the one sent
    #[default]
    Echo,
    /// Any message: it answers the oldest one outstanding
    Any,
    /// None: messages from the server are counted, and not awaited
    None,
}

/// The messages of a fleet. By default: binary ones, computed, all of the same length, and echoed.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    /// Send text messages instead of binary ones. A file must then be UTF-8.
    pub text: bool,
    /// The least length if lengths vary, up to [`super::FleetConfig::payload_len`].
    pub shortest: Option<usize>,
    /// The payload of every message, of [`super::FleetConfig::payload_len`]; `None`: computed.
    pub file: Option<Arc<[u8]>>,
    /// What counts as a reply.
    pub verify: Verify,
    /// Messages that the server sends on each connection before it is used.
    pub greetings: u32,
}

impl Messages {
    /// Whether they are binary, computed, and of the same length.
    pub(super) fn are_alike(&self) -> bool {
        !self.text && self.shortest.is_none() && self.file.is_none()
    }

    /// The type of every message.
    pub(super) fn opcode(&self) -> Opcode {
        if self.text { Opcode::Text } else { Opcode::Binary }
    }

    /// The payload's length of the message with this seed.
    pub(super) fn len(&self, seed: u64, longest: usize) -> usize {
        self.shortest.map_or(longest, |shortest| payload::len(seed, shortest, longest))
    }

    /// Writes the payload of the message with this seed, masked with `key`.
    pub(super) fn fill(&self, body: &mut [u8], seed: u64, key: [u8; 4]) {
        match &self.file {
            Some(file) => {
                body.copy_from_slice(file);
                mask::apply(body, key, 0);
            }
            None if self.text => payload::fill_text(body, seed, key),
            None => payload::fill(body, seed, key),
        }
    }

    /// Whether `piece` is in the payload of the message with this seed, from byte `position` on.
    pub(super) fn matches(&self, piece: &[u8], seed: u64, position: usize) -> bool {
        match &self.file {
            Some(file) => file.get(position..position + piece.len()) == Some(piece),
            None if self.text => payload::matches_text(piece, seed, position),
            None => payload::matches(piece, seed, position),
        }
    }
}
