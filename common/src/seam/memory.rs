//! Memory: the C library's allocator, told to keep few arenas.
//!
//! By itself it makes up to eight arenas a core, and a thread frees into the arena that a buffer came from. Chunk buffers pass
//! from thread to thread, so every arena grows to the peak of all: a client that held 100 MiB at a time grew to 400.
//! With few arenas freed buffers are found again. Another allocator would serve Rust alone and leave RocksDB with this one.

#![allow(unsafe_code)]

/// Arenas of a process; each thread keeps small blocks of its own besides.
const ARENAS: i32 = 2;

/// Bounds the allocator's arenas. To be called first thing in `main`, before there are other threads. Does nothing where the
/// C library is another one.
pub fn bound_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: mallopt sets a parameter of the allocator and touches no memory of ours.
        let set = unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
        assert_eq!(set, 1, "the allocator takes {ARENAS} arenas");
    }
}
