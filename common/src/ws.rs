//! WebSocket's frames (RFC 6455, section 5), and how tungstenite is set up to make and read them.

pub mod echoed;
pub mod frame;
pub mod mask;
#[cfg(feature = "tungstenite")]
pub mod meter;
#[cfg(feature = "tungstenite")]
pub mod metered;
pub mod partial;
pub mod send_queue;
pub mod text;
#[cfg(feature = "tungstenite")]
pub mod websocket;
