//! The harness of the system tests: real processes, real disks, and an account of what they acknowledged.
//!
//! Nothing here knows how a server works inside but for the one fact that packs are files on its disks ([`faults`]). A suite
//! is a function that returns what it counted, or an error that names the broken promise; so the same suite shows that the
//! program keeps its promises, and that a program with a seeded bug does not.
//!
//! Read in this order: [`cluster`], [`content`], [`oracle`], [`workload`], [`linear`], [`faults`], [`network`],
//! [`votes`], [`suites`].

pub mod cluster;
pub mod content;
pub mod faults;
pub mod linear;
pub mod network;
pub mod oracle;
pub mod settings;
pub mod suites;
pub mod votes;
pub mod workload;
