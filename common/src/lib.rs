//! What the four stages share.

pub mod frame;
pub mod limits;
pub mod mask;
pub mod table;
