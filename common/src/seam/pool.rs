//! Threads for work that must not run on the async ones: hashing, and reading from disk.

use std::num::NonZeroUsize;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Runs closures on threads of their own, a bounded number at a time.
#[derive(Clone, Debug)]
pub struct Pool {
    permits: Arc<Semaphore>,
}

impl Pool {
    /// A pool that runs `threads` closures at a time; more wait.
    pub fn new(threads: usize) -> Pool {
        Pool { permits: Arc::new(Semaphore::new(threads)) }
    }

    /// A pool for computing: as many threads as cores.
    pub fn for_computing() -> Pool {
        Pool::new(std::thread::available_parallelism().map_or(2, NonZeroUsize::get))
    }

    /// Runs `work` and returns its result. If the future is dropped, work that has begun runs to its end.
    ///
    /// # Panics
    /// If `work` panics.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("the pool is never closed");
        let task = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        match task.await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// Starts a named thread for a component that runs for as long as the process does, or until it is told to stop.
pub fn spawn_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).expect("the system has room for another thread")
}
