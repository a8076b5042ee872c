//! The conversation with the masters: numbered commands, so that a retry is never executed twice, and the standing upload
//! window, so that a small file costs one commit and nothing before it.

use crate::client::{Inner, Patience, is_passing, wrong_reply};
use cairn_common::auth::WriteToken;
use cairn_common::ids::{NodeId, SessionId, WindowId};
use cairn_common::limits::{SESSION_TTL_MS, SESSION_UNANSWERED_MAX, WINDOW_CHUNKS_MAX, WINDOW_REPLACE_MS};
use cairn_common::name::BucketName;
use cairn_common::wire::command::{Command, Done, Refusal, SessionSequence};
use cairn_common::wire::master::{Actor, Caller, MasterError, MasterReply, MasterRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long a command is repeated before its outcome is given up as unknown.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// The current session, made when first needed and made again when the masters have ended it.
#[derive(Default)]
pub(crate) struct Sessions {
    current: tokio::sync::Mutex<Option<Arc<Session>>>,
}

pub(crate) struct Session {
    id: SessionId,
    numbers: Mutex<Numbers>,
    /// Commands without an answer are bounded, or the masters would refuse more.
    unanswered: Semaphore,
    windows: tokio::sync::Mutex<Windows>,
}

#[derive(Default)]
struct Numbers {
    last: u64,
    unanswered: BTreeSet<u64>,
}

#[derive(Default)]
struct Windows {
    standing: Option<Arc<Window>>,
    /// Replaced ones, until nobody uses them.
    replaced: Vec<Arc<Window>>,
}

/// An upload window. Whoever holds a reference keeps it open.
pub(crate) struct Window {
    pub(crate) id: WindowId,
    session: SessionId,
    opened: Duration,
    chunks: AtomicU64,
    tokens: tokio::sync::Mutex<BTreeMap<BucketName, Arc<BTreeMap<NodeId, WriteToken>>>>,
}

/// A number that is unanswered until this is dropped.
struct Numbered<'a> {
    session: &'a Session,
    sequence: u64,
}

impl Session {
    fn number(&self) -> Numbered<'_> {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.last += 1;
        let sequence = numbers.last;
        numbers.unanswered.insert(sequence);
        Numbered { session: self, sequence }
    }
}

impl Numbered<'_> {
    fn place(&self) -> SessionSequence {
        let numbers = self.session.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let lowest = numbers.unanswered.first().copied().unwrap_or(self.sequence);
        SessionSequence { session: self.session.id, sequence: self.sequence, lowest }
    }
}

impl Drop for Numbered<'_> {
    // A caller that gives up will not ask again under this number, so its answer need not be kept.
    fn drop(&mut self) {
        self.session.numbers.lock().unwrap_or_else(PoisonError::into_inner).unanswered.remove(&self.sequence);
    }
}

impl Sessions {
    /// Executes a command exactly once, or says `Unknown`.
    pub(crate) async fn write(
        &self,
        inner: &Inner,
        actor: Option<Actor>,
        command: Command,
    ) -> Result<Done, MasterError> {
        let mut patience = Patience::new(inner.clock.as_ref(), WRITE_PATIENCE);
        loop {
            let session = self.session(inner, &mut patience).await?;
            let _permit = session.unanswered.acquire().await.expect("never closed");
            match write_in(&session, inner, actor.clone(), &command, &mut patience).await {
                Err(Ended { maybe_executed }) => {
                    self.forget(&session).await;
                    if maybe_executed {
                        return Err(MasterError::Unknown);
                    }
                }
                Ok(result) => return result,
            }
        }
    }

    /// The standing window, replaced when it is old or full.
    pub(crate) async fn window(&self, inner: &Inner) -> Result<Arc<Window>, MasterError> {
        let mut patience = Patience::new(inner.clock.as_ref(), WRITE_PATIENCE);
        loop {
            let session = self.session(inner, &mut patience).await?;
            let mut windows = session.windows.lock().await;
            let now = inner.clock.monotonic();
            if let Some(standing) = windows.standing.as_ref().filter(|window| window.is_fresh(now)) {
                return Ok(Arc::clone(standing));
            }
            match write_in(&session, inner, None, &Command::OpenWindow, &mut patience).await {
                Ok(Ok(Done::Window { window, .. })) => {
                    let window = Arc::new(Window {
                        id: window,
                        session: session.id,
                        opened: now,
                        chunks: AtomicU64::new(0),
                        tokens: tokio::sync::Mutex::new(BTreeMap::new()),
                    });
                    let replaced = windows.standing.replace(Arc::clone(&window));
                    windows.replaced.extend(replaced);
                    return Ok(window);
                }
                Ok(Ok(_)) => return Err(wrong_reply()),
                Ok(Err(error)) => return Err(error),
                Err(Ended { .. }) => {
                    drop(windows);
                    self.forget(&session).await;
                }
            }
        }
    }

    /// Makes sure that the next upload gets another window than `window`.
    pub(crate) async fn give_up_window(&self, window: &Arc<Window>) {
        let current = self.current.lock().await.clone();
        let Some(session) = current.filter(|session| session.id == window.session) else { return };
        let mut windows = session.windows.lock().await;
        if windows.standing.as_ref().is_some_and(|standing| standing.id == window.id) {
            let replaced = windows.standing.take();
            windows.replaced.extend(replaced);
        }
    }

    /// Closes replaced windows that no upload uses any more, so that collection can go on.
    pub(crate) async fn close_unused_windows(&self, inner: &Inner) {
        let Some(session) = self.current.lock().await.clone() else { return };
        let unused: Vec<WindowId> = {
            let mut windows = session.windows.lock().await;
            let (unused, used) = windows.replaced.drain(..).partition(|window| Arc::strong_count(window) == 1);
            windows.replaced = used;
            let unused: Vec<Arc<Window>> = unused;
            unused.iter().map(|window| window.id).collect()
        };
        for window in unused {
            if let Err(error) = self.write(inner, None, Command::CloseWindow { window }).await {
                tracing::debug!(%error, %window, "cannot close a window; it ends with its lease");
            }
        }
    }

    /// Prolongs the session, if there is one.
    pub(crate) async fn renew(&self, inner: &Inner) {
        let Some(session) = self.current.lock().await.clone() else { return };
        let request = MasterRequest::Write { session: None, command: Command::RenewSession { session: session.id } };
        match inner.call(None, request).await {
            Ok(_) => {}
            Err(MasterError::Refused(Refusal::SessionEnded)) => self.forget(&session).await,
            Err(error) => tracing::debug!(%error, "cannot renew the session"),
        }
    }

    /// Ends the session, if there is one.
    pub(crate) async fn end(&self, inner: &Inner) {
        let Some(session) = self.current.lock().await.take() else { return };
        let request = MasterRequest::Write { session: None, command: Command::EndSession { session: session.id } };
        if let Err(error) = inner.call(None, request).await {
            tracing::debug!(%error, "cannot end the session; it ends with its lease");
        }
    }

    async fn session(&self, inner: &Inner, patience: &mut Patience<'_>) -> Result<Arc<Session>, MasterError> {
        let mut current = self.current.lock().await;
        if let Some(session) = current.as_ref() {
            return Ok(Arc::clone(session));
        }
        let command = Command::OpenSession { ttl_ms: SESSION_TTL_MS, owner: Caller::Anonymous };
        loop {
            let request = MasterRequest::Write { session: None, command: command.clone() };
            match inner.call(None, request).await {
                Ok(MasterReply::Done(Done::Session { session, .. })) => {
                    let session = Arc::new(Session {
                        id: session,
                        numbers: Mutex::default(),
                        unanswered: Semaphore::new(SESSION_UNANSWERED_MAX as usize / 2),
                        windows: tokio::sync::Mutex::default(),
                    });
                    *current = Some(Arc::clone(&session));
                    return Ok(session);
                }
                Ok(_) => return Err(wrong_reply()),
                // A session that was opened without our hearing of it ends by itself.
                Err(error) if error.kind().is_retryable() && patience.wait().await => {}
                Err(MasterError::Unknown) => return Err(MasterError::Unavailable("the answer was lost".to_owned())),
                Err(error) => return Err(error),
            }
        }
    }

    async fn forget(&self, session: &Arc<Session>) {
        let mut current = self.current.lock().await;
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, session)) {
            *current = None;
        }
    }
}

/// The masters have ended the session.
struct Ended {
    /// Whether an earlier try of the command may have been executed.
    maybe_executed: bool,
}

async fn write_in(
    session: &Session,
    inner: &Inner,
    actor: Option<Actor>,
    command: &Command,
    patience: &mut Patience<'_>,
) -> Result<Result<Done, MasterError>, Ended> {
    let number = session.number();
    let mut maybe_executed = false;
    loop {
        let request = MasterRequest::Write { session: Some(number.place()), command: command.clone() };
        let error = match inner.call(actor.clone(), request).await {
            Ok(MasterReply::Done(done)) => return Ok(Ok(done)),
            Ok(_) => return Ok(Err(wrong_reply())),
            Err(MasterError::Refused(Refusal::SessionEnded)) => return Err(Ended { maybe_executed }),
            Err(error @ MasterError::Refused(_)) => return Ok(Err(error)),
            Err(error) => error,
        };
        maybe_executed |= error == MasterError::Unknown;
        let repeat = error == MasterError::Unknown || is_passing(&error);
        if !(repeat && patience.wait().await) {
            return Ok(Err(if maybe_executed { MasterError::Unknown } else { error }));
        }
    }
}

impl Window {
    fn is_fresh(&self, now: Duration) -> bool {
        now.saturating_sub(self.opened) < Duration::from_millis(WINDOW_REPLACE_MS)
            && self.chunks.load(Ordering::Relaxed) < WINDOW_CHUNKS_MAX
    }

    /// Counts a chunk that is written under this window.
    pub(crate) fn count_chunk(&self) {
        self.chunks.fetch_add(1, Ordering::Relaxed);
    }

    /// Tokens for all chunkservers. `newest`: ask again even if some are known (a node has joined).
    pub(crate) async fn tokens(
        &self,
        inner: &Inner,
        actor: Option<Actor>,
        bucket: &BucketName,
        newest: bool,
    ) -> Result<Arc<BTreeMap<NodeId, WriteToken>>, MasterError> {
        let mut known = self.tokens.lock().await;
        if let Some(tokens) = known.get(bucket).filter(|_| !newest) {
            return Ok(Arc::clone(tokens));
        }
        let request = MasterRequest::WriteTokens { window: self.id, bucket: bucket.clone() };
        let MasterReply::WriteTokens { tokens } = inner.ask(actor, request).await? else { return Err(wrong_reply()) };
        let tokens: Arc<BTreeMap<_, _>> = Arc::new(tokens.into_iter().collect());
        known.insert(bucket.clone(), Arc::clone(&tokens));
        Ok(tokens)
    }
}
