//! The client library of Cairn: files in buckets, streamed straight to and from the chunkservers.
//!
//! ```no_run
//! use cairn_client::{Client, ClientConfig, GetOptions, PutOptions};
//! use cairn_common::name::FilePath;
//! use futures::TryStreamExt as _;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = ClientConfig::new(["http://127.0.0.1:7070"]);
//! config.access_key = Some(("AK…".to_owned(), "secret".to_owned()));
//! let client = Client::connect(config).await?;
//!
//! let path = FilePath::new("photos", "2026/summit.jpg")?;
//! let receipt = client.put(&path, tokio::fs::File::open("summit.jpg").await?, PutOptions::default()).await?;
//! println!("{} bytes, root {}, on {} chunkservers", receipt.length, receipt.tags.root, receipt.replicas_durable);
//!
//! let mut file = client.get(&path, GetOptions::default()).await?.into_file()?;
//! while let Some(bytes) = file.try_next().await? {
//!     // Every byte was checked against its BLAKE3 hash.
//!     println!("{} bytes", bytes.len());
//! }
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! `client/examples/put_and_get.rs` is a whole program, with progress.
//!
//! Promises (docs/semantics.md): `Ok` of a write means durable on a write quorum and visible to every later read; a read
//! yields the stored bytes of one version or an error, never anything else; an error of kind `Unknown` means that a write
//! may or may not have happened. Memory is bounded by [`ClientConfig::buffer_bytes`] whatever the sizes of files. A
//! [`Client`] is cheap to clone and serves any number of tasks.
//!
//! Read in this order: [`client`](Client), `put`, `replicas`, `get`, `fetch`, `session`, `cluster`.

mod admin;
mod backup;
mod buckets;
mod budget;
mod client;
mod cluster;
mod error;
mod fetch;
mod files;
mod get;
mod health;
mod options;
mod put;
mod reach;
mod replicas;
mod scout;
mod session;
mod source;
mod uploads;
mod versions;

pub use admin::NewKey;
pub use backup::Backup;
pub use client::{Client, LocalNode};
pub use cluster::ClusterView;
pub use error::{ConnectError, Error, GetError, PutError};
pub use get::{FileReader, GetOutcome};
pub use options::{ClientConfig, GetOptions, Inspector, Progress, PutOptions, RefusedBody};
pub use source::{ByteSource, StreamSource};

pub use cairn_common as common;
