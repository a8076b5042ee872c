//! Sessions: what makes a retry exact.
//!
//! A client numbers its commands. The first answer to each number is kept until the client says that it has it (by a higher
//! `lowest`), and given again to whoever sends the number again, so a retry after a lost answer neither repeats nor loses
//! anything. A command whose answer may have been forgotten is never executed: its session has ended, or its number lies
//! below `lowest`; the client is told that the outcome is not known.
//!
//! Sessions end by commands only, judged by the command's stamp. So a master whose clock runs ahead ends none.

use super::tx::{Step, Tx};
use super::{execute, window};
use crate::store::key::{AnswerKey, ProgressKey, ProgressRow, SessionKey, SessionRow, TotalsKey};
use crate::store::{KeyRange, StoreError};
use cairn_common::ids::SessionId;
use cairn_common::limits::{RELEASE_ROWS_MAX, SESSION_TTL_MS, SESSION_UNANSWERED_MAX, SESSIONS_MAX, WINDOWS_MAX};
use cairn_common::seam::seeded_bug;
use cairn_common::wire::command::{Done, Envelope, Outcome, Refusal, SessionSequence};
use cairn_common::wire::master::Caller;

/// Executes a command unless it was executed before, and remembers its answer.
pub(super) fn once(tx: &mut Tx<'_>, envelope: &Envelope) -> Result<Outcome, StoreError> {
    let Some(place) = envelope.session else { return execute(tx, &envelope.command) };
    if let Some(outcome) = admit(tx, place)? {
        return Ok(outcome);
    }
    tx.keep();
    let outcome = execute(tx, &envelope.command)?;
    // The command may have been the session's own end.
    if tx.get(&ProgressKey(place.session))?.is_some() {
        tx.put(&AnswerKey { session: place.session, sequence: place.sequence }, &outcome);
        tx.keep();
    }
    Ok(outcome)
}

/// Takes a command into its session; or the answer that it gets without being executed.
fn admit(tx: &mut Tx<'_>, place: SessionSequence) -> Result<Option<Outcome>, StoreError> {
    let SessionSequence { session, sequence, lowest } = place;
    let progress = match tx.get(&ProgressKey(session))? {
        Some(progress) => progress,
        None if seeded_bug("retry-after-session-end") => return Ok(None),
        None => return Ok(Some(Err(Refusal::SessionEnded))),
    };
    let seen = sequence < progress.next && !seeded_bug("retry-executed-twice");
    if seen && let Some(answer) = tx.get(&AnswerKey { session, sequence })? {
        return Ok(Some(answer));
    }
    let kept_from = progress.lowest.max(lowest);
    if sequence < kept_from {
        return Ok(Some(Err(Refusal::SessionEnded)));
    }
    // There is no number behind the last one, which `next` would have to be.
    if sequence - kept_from >= SESSION_UNANSWERED_MAX || sequence == u64::MAX {
        return Ok(Some(Err(Refusal::SessionCrowded)));
    }
    // No answer has a number from `next` on, so this is bounded however far `lowest` jumps.
    for forgotten in progress.lowest..kept_from.min(progress.next) {
        tx.delete(&AnswerKey { session, sequence: forgotten });
    }
    let next = progress.next.max(sequence + 1);
    tx.put(&ProgressKey(session), &ProgressRow { lowest: kept_from, next });
    Ok(None)
}

pub(super) fn open(tx: &mut Tx<'_>, ttl_ms: u64, owner: &Caller) -> Step<Done> {
    if tx.get(&TotalsKey)?.unwrap_or_default().sessions >= SESSIONS_MAX {
        return Err(Refusal::TooManySessions.into());
    }
    let session = SessionId(tx.stamp().0);
    let ttl_ms = ttl_ms.clamp(1, SESSION_TTL_MS);
    let expires = tx.stamp().plus_ms(ttl_ms);
    tx.put(&SessionKey(session), &SessionRow { owner: owner.clone(), ttl_ms, expires });
    tx.put(&ProgressKey(session), &ProgressRow { lowest: 1, next: 1 });
    tx.totals(|totals| totals.sessions += 1)?;
    Ok(Done::Session { session, expires })
}

/// Prolongs a session, also one whose time is over: only a command ends it.
pub(super) fn renew(tx: &mut Tx<'_>, session: SessionId) -> Step<Done> {
    let Some(row) = tx.get(&SessionKey(session))? else { return Err(Refusal::SessionEnded.into()) };
    let expires = tx.stamp().plus_ms(row.ttl_ms);
    tx.put(&SessionKey(session), &SessionRow { expires, ..row });
    Ok(Done::Session { session, expires })
}

pub(super) fn end(tx: &mut Tx<'_>, session: SessionId) -> Step<Done> {
    remove(tx, session)?;
    Ok(Done::Nothing)
}

/// Ends those whose time is over, as many as fit into an entry; the leader will name the others again.
pub(super) fn expire(tx: &mut Tx<'_>, sessions: &[SessionId]) -> Step<Done> {
    for session in sessions {
        if tx.changed() > RELEASE_ROWS_MAX {
            break;
        }
        let over = tx.get(&SessionKey(*session))?.is_some_and(|row| row.expires <= tx.stamp());
        if over {
            remove(tx, *session)?;
        }
    }
    Ok(Done::Nothing)
}

/// Who may use the session of the command.
pub(super) fn owner(tx: &Tx<'_>) -> Result<Caller, StoreError> {
    let Some(session) = tx.session() else { return Ok(Caller::Anonymous) };
    Ok(tx.get(&SessionKey(session))?.map_or(Caller::Anonymous, |row| row.owner))
}

/// Removes a session with all that is its own. Fine if it is gone.
fn remove(tx: &mut Tx<'_>, session: SessionId) -> Result<(), StoreError> {
    let Some(progress) = tx.get(&ProgressKey(session))? else { return Ok(()) };
    for sequence in progress.lowest..progress.next {
        tx.delete(&AnswerKey { session, sequence });
    }
    let windows = tx.list(KeyRange::prefix(crate::store::key::WindowKey::of(session)), WINDOWS_MAX)?;
    for (key, _) in windows {
        window::remove(tx, key);
    }
    tx.delete(&ProgressKey(session));
    tx.delete(&SessionKey(session));
    tx.totals(|totals| totals.sessions = totals.sessions.saturating_sub(1))
}
