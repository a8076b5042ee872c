//! Listening: one bounded HTTP/1.1 server for every port of every role, plain or TLS.
//!
//! What strangers can make it hold is bounded: connections ([`ListenOptions::connections_max`]), the time and size of a request
//! head, and the TLS handshake's time. Bodies are bounded where they are read.

mod authority;
mod frames;
mod health;
mod server;
mod tls;

pub use authority::{Authority, IssueError, LeafKey, PUBLIC_KEY_BYTES};
pub use frames::{FrameService, frames_route};
pub use health::{Health, health_routes, install_metrics};
pub use server::{ListenError, ListenOptions, Listener, Peer, Shutdown};
pub use tls::{Certificate, CertificateSlot, TlsError, TlsFiles};
