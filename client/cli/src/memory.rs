//! The allocator: jemalloc, for Rust and for RocksDB, told to keep little.
//!
//! The C library's own keeps up to eight arenas a core, and a thread frees into the arena that a buffer came from. Chunk buffers
//! pass from thread to thread, so every arena grows to the peak of all. jemalloc finds freed buffers again, gives pages back
//! while nothing happens, and costs less for small calls: docs/decisions/0016-allocator.md has the figures. It takes the
//! place of `malloc` itself, so RocksDB's blocks come from it too.

#![allow(unsafe_code)]

use std::ffi::c_char;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A pointer to a constant, which any thread may read.
#[repr(transparent)]
struct Settings(*const c_char);

// SAFETY: what it points to is constant and lives for ever.
unsafe impl Sync for Settings {}

/// jemalloc reads this name when the process starts. Few arenas for the reason above; pages that are not used go back to the
/// kernel within a second.
// SAFETY: jemalloc declares it as `const char *malloc_conf`, which is what this is, and the text ends with a zero.
#[unsafe(export_name = "malloc_conf")]
static SETTINGS: Settings = Settings(c"narenas:4,background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0".as_ptr());
