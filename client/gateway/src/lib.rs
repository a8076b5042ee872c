//! The gateway of Cairn: files over S3 and over a native HTTP API, the same files either way.
//!
//! ```no_run
//! use cairn_client::{Client, ClientConfig};
//! use cairn_common::listen::{ListenOptions, Listener, Shutdown};
//! use cairn_gateway::{Gateway, GatewayOptions};
//! use std::time::Duration;
//!
//! # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
//! let gateway = Gateway::new(client, GatewayOptions::default());
//! let shutdown = Shutdown::new();
//! let s3 = Listener::bind("127.0.0.1:9000", ListenOptions::default()).await?;
//! let api = Listener::bind("127.0.0.1:9001", ListenOptions::default()).await?;
//! tokio::join!(
//!     s3.serve(gateway.s3_router(), shutdown.clone(), Duration::from_secs(30)),
//!     api.serve(gateway.native_router(), shutdown, Duration::from_secs(30)),
//! );
//! # Ok(())
//! # }
//! ```
//!
//! A gateway holds nothing: it is a client of the cluster that acts in the name of whoever's key a request carries. The masters
//! check every right again. Nothing of an upload is visible before its last byte, signature and checksum were found right; no
//! answer carries bytes that were not checked against their hash, and one that cannot be finished is broken off.
//!
//! Read in this order: [`gateway`](Gateway), `front`, `observe`, `credentials`, `upload`, `checksum`, then [`s3`](Gateway::s3_router)
//! and [`native`](Gateway::native_router); every bound is in `limits`. docs/s3.md and docs/http-api.md say what clients see.

mod checksum;
mod credentials;
mod front;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod gateway;
pub mod limits;
mod native;
mod observe;
mod options;
mod s3;
mod upload;

pub use gateway::Gateway;
pub use options::{GatewayOptions, MetricsText};

/// What a log filter must contain: `s3s` writes heads of requests, with their signatures, and signatures that would have been
/// right, into its debug lines, and an error line for everything that a client does wrong. The access log says what happened.
pub const LOG_FILTER: &str = "s3s=off";
