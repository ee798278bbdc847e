//! The client from outside: its commands, flags, errors and results. `tests/load` has what takes seconds each.

#[allow(dead_code, reason = "the other binary uses the rest")]
#[path = "../local/mod.rs"]
mod local;
#[path = "../required/mod.rs"]
mod required;
#[path = "../secure/mod.rs"]
mod secure;
#[allow(dead_code, reason = "the other binary uses the rest")]
#[path = "../stage/mod.rs"]
mod stage;

mod anatomy;
mod handshake;
mod messages;
mod metrics;
mod names;
mod nginx;
mod other_languages;
mod proxies;
mod race;
mod run;
mod sources;
mod tls;
