//! The gateway on real sockets, before a cluster in memory: what clients see, byte for byte.

// Helpers of tests are tests: what fails in them fails the test.
#![allow(clippy::unwrap_used)]

mod authorisation;
mod hostile;
mod links;
mod native;
mod readers;
mod s3_bodies;
mod s3_multipart;
mod s3_objects;
mod s3_requests;
mod support;
mod uploads;
