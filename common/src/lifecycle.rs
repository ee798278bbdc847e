//! How a server starts, how its connections time out, and how both end.

pub mod heartbeat;
pub mod pace;
pub mod quiet;
pub mod shutdown;
pub mod timer;
pub mod untaken;

pub(crate) mod close_policy;
pub(crate) mod healthcheck;
pub(crate) mod readiness;
pub(crate) mod signals;
pub(crate) mod stage;
