//! Threads for work that must not run on the async ones: hashing, and reading from disk.

use std::num::NonZeroUsize;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Which threads do work that blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// Threads of its own.
    Own,
    /// The caller's, at once. For simulations, which run on one thread so that nothing ever happens at the same time.
    Callers,
}

/// Runs closures on threads of their own, a bounded number at a time.
#[derive(Clone, Debug)]
pub struct Pool {
    permits: Arc<Semaphore>,
    threads: Threads,
}

impl Pool {
    /// A pool that runs `threads` closures at a time; more wait.
    pub fn new(threads: usize) -> Pool {
        Pool { permits: Arc::new(Semaphore::new(threads)), threads: Threads::Own }
    }

    /// A pool for simulations: closures run on the thread that asks, one after the other.
    #[cfg(feature = "sim")]
    pub fn of_callers() -> Pool {
        Pool { permits: Arc::new(Semaphore::new(1)), threads: Threads::Callers }
    }

    /// Which threads it uses.
    pub fn threads(&self) -> Threads {
        self.threads
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
        if self.threads == Threads::Callers {
            tokio::task::yield_now().await;
            return work();
        }
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
