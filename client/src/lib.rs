//! The load client: it opens WebSocket connections by the ten thousand, sends messages over them, compares every
//! echo with what was sent, and reports what it found.

pub mod anatomy;
pub mod cli;
pub mod compare;
pub mod doctor;
mod file;
pub mod find;
pub mod fleet;
#[cfg(test)]
mod golden;
pub mod help;
mod live;
mod load;
mod measure;
pub mod million;
mod progress;
pub mod race;
pub mod raw;
pub mod report;
pub mod results;
pub mod run;
mod subject;
mod tls;
pub mod watch;
pub mod words;
