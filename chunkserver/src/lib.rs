//! The chunkserver: keeps chunks on any number of disks, and attests what is durable.

pub mod store;
