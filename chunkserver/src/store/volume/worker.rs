//! Who carries out a volume's changes: a thread of its own.
//!
//! In simulations nothing may happen at the same time, so there whoever waits for a change carries it out, with all that waits
//! by then. It is the same appender, and the same order.

use super::append::Appender;
use super::job::Job;
use cairn_common::seam::{Threads, spawn_thread};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// The worker of one volume.
pub(super) enum Worker {
    /// `None` only while the volume is being dropped.
    Thread(Option<JoinHandle<()>>),
    /// `None`: it was told to stop.
    Callers(Box<Mutex<Option<Idle>>>),
}

/// A worker without a thread, and what waits for it.
type Idle = (Appender, mpsc::Receiver<Job>);

impl Worker {
    /// Has `appender` work through `queue`.
    pub(super) fn new(threads: Threads, name: &str, appender: Appender, queue: mpsc::Receiver<Job>) -> Worker {
        match threads {
            Threads::Own => Worker::Thread(Some(spawn_thread(name, move || appender.run(queue)))),
            Threads::Callers => Worker::Callers(Box::new(Mutex::new(Some((appender, queue))))),
        }
    }

    /// Something was sent.
    pub(super) async fn sent(&self) {
        if matches!(self, Worker::Callers(_)) {
            // Others may join the group.
            tokio::task::yield_now().await;
            self.turn();
        }
    }

    /// Sends from a thread that may block. `false`: nobody works any more.
    pub(super) fn send_blocking(&self, queue: &mpsc::Sender<Job>, job: Job) -> bool {
        if matches!(self, Worker::Thread(_)) {
            return queue.blocking_send(job).is_ok();
        }
        let sent = match queue.try_send(job) {
            Err(mpsc::error::TrySendError::Full(job)) => {
                self.turn();
                queue.try_send(job).is_ok()
            }
            sent => sent.is_ok(),
        };
        self.turn();
        sent
    }

    /// Waits for an answer on a thread that may block. `None`: nobody will give it.
    pub(super) fn wait_blocking<T>(&self, mut answer: oneshot::Receiver<T>) -> Option<T> {
        if matches!(self, Worker::Thread(_)) {
            return answer.blocking_recv().ok();
        }
        self.turn();
        answer.try_recv().ok()
    }

    /// Waits until a thread has finished what it was given. Its queue must be closed.
    pub(super) fn join(&mut self) {
        if let Worker::Thread(thread) = self
            && let Some(thread) = thread.take()
        {
            // A panic of the thread was reported where it happened.
            let _ = thread.join();
        }
    }

    /// Carries out all that waits.
    fn turn(&self) {
        let Worker::Callers(place) = self else { return };
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((appender, queue)) = place.as_mut() else { return };
        while let Ok(first) = queue.try_recv() {
            if appender.turn(first, queue).is_break() {
                *place = None;
                return;
            }
        }
    }
}
