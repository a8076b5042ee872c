//! The gateway on real sockets, before a cluster in memory: what clients see, byte for byte.

mod native;
mod s3_bodies;
mod s3_multipart;
mod s3_objects;
mod s3_requests;
mod support;
