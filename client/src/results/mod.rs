//! What the client publishes as JSON, one file for each kind of result, and what several kinds share.
//!
//! Fields are added, never renamed or given another meaning, within one `SCHEMA` of a kind. The golden files in
//! `client/tests/golden/` hold every layout, byte for byte.

pub mod anatomy;
pub mod compare;
pub mod find;
pub mod million;
pub mod race;
pub mod run;

mod header;
mod latency;
mod machine;
mod phases;
mod seconds;

pub(crate) use header::command;
pub use header::{Header, Origin};
pub use latency::{Latency, LatencyReport};
pub use machine::Machine;
pub use phases::{Close, Hold, Sample};
pub use seconds::{RampReport, SecondReport, csv as seconds_csv, merge as merge_seconds};
