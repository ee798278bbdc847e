//! The limits of the machine that connections meet.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;

/// Raises the soft limit on descriptors to the hard one, as any process may, and returns it.
///
/// # Errors
/// The kernel's, as from setrlimit(2).
pub fn raise_nofile() -> io::Result<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.unwrap_or(u64::MAX))
}
