//! The state machine: what every command does to the rows.
//!
//! [`Machine::apply_entry`] reads through a view and gives back outcomes and changes. It knows no clock, no chance, no disk and
//! no order of hashing, so every master that applies the same entries comes to the same rows, byte for byte. Time is the stamp
//! of the command and nothing else.
//!
//! - Commands of one entry see each other; a command that is refused changes nothing but what its session remembers.
//! - A command that comes twice in one session is executed once (`session.rs`).
//! - A chunk gets a reference only on receipts from a write quorum (`chunks.rs`); references are held by manifests, manifests by
//!   versions, parts and other manifests, and what lost its last holder is let go later, in small steps (`release.rs`).
//! - Counters change in the commands that change what they count.
//!
//! What must hold between the rows is written down a second time in [`check()`], which recomputes all of it.

mod access;
mod body;
mod bucket;
mod check;
mod chunks;
mod collection;
mod file;
mod history;
mod lifecycle;
mod lock;
mod manifest;
mod members;
mod membership;
mod multipart;
mod release;
mod ring;
mod session;
mod staging;
#[cfg(test)]
pub(crate) mod tests;
mod tx;
mod window;

pub use check::{Violation, check};
pub use lifecycle::{Ended, ended};
pub use members::Members;

use crate::store::key::ClockKey;
use crate::store::{MetaView, StoreError, WriteBatch};
use cairn_common::ids::Stamp;
use cairn_common::wire::command::{Command, Done, Envelope, Outcome, Refusal};
use std::sync::Arc;
use tx::{Step, Stop, Tx};

/// What applying a log entry came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The outcome of each command, in their order.
    pub outcomes: Vec<Outcome>,
    /// All changes, to be written at once.
    pub batch: WriteBatch,
    /// The stamp of the last command.
    pub stamp: Stamp,
}

/// Applies commands. Holds nothing but what it decoded from the rows and would otherwise decode for every command, so one per
/// store is enough and none is needed: the outcome depends on view, stamp and commands alone.
#[derive(Debug, Default)]
pub struct Machine {
    members: Option<Arc<Members>>,
}

impl Machine {
    /// A machine that has decoded nothing yet.
    pub fn new() -> Machine {
        Machine::default()
    }

    /// Applies a log entry: command `i` has the stamp `base.next(i)`. The state itself is not touched: write
    /// [`Applied::batch`]. An error is the store's, never part of the outcome: do not go on behind it.
    ///
    /// # Panics
    /// If there are no commands, or `base` does not lie behind the stamp of the last command in `view`.
    pub fn apply_entry(
        &mut self,
        view: &dyn MetaView,
        base: Stamp,
        commands: &[Envelope],
    ) -> Result<Applied, StoreError> {
        let last = view.row(&ClockKey)?.unwrap_or(Stamp::ZERO);
        assert!(base > last, "stamps grow: {base:?} after {last:?}");
        assert!(!commands.is_empty(), "an entry has commands");
        self.members = Members::load(view, self.members.as_ref())?;
        let mut tx = Tx::new(view, self.members.clone());
        let mut outcomes = Vec::with_capacity(commands.len());
        for (stamp, envelope) in (0..).map(|n| base.next(n)).zip(commands) {
            tx.begin(stamp, envelope.session.map(|place| place.session));
            outcomes.push(session::once(&mut tx, envelope)?);
        }
        let stamp = tx.stamp();
        tx.put(&ClockKey, &stamp);
        self.members = tx.members_if_any();
        Ok(Applied { outcomes, batch: tx.into_batch(), stamp })
    }

    /// The membership as of the last entry; `None` before the cluster is made.
    pub fn members(&self) -> Option<&Arc<Members>> {
        self.members.as_ref()
    }
}

/// Applies one command by itself. For tests and tools; the log applies whole entries.
pub fn apply(view: &dyn MetaView, stamp: Stamp, command: &Envelope) -> Result<(Outcome, WriteBatch), StoreError> {
    let applied = Machine::new().apply_entry(view, stamp, std::slice::from_ref(command))?;
    let outcome = applied.outcomes.into_iter().next().expect("one command has one outcome");
    Ok((outcome, applied.batch))
}

/// Executes a command. Refused: nothing changed.
fn execute(tx: &mut Tx<'_>, command: &Command) -> Result<Outcome, StoreError> {
    let members = tx.members_if_any();
    match dispatch(tx, command) {
        Ok(done) => {
            tx.keep();
            Ok(Ok(done))
        }
        Err(Stop::Refused(refusal)) => {
            tx.take_back(members);
            Ok(Err(refusal))
        }
        Err(Stop::Failed(error)) => Err(error),
    }
}

fn dispatch(tx: &mut Tx<'_>, command: &Command) -> Step<Done> {
    if let Command::Init { cluster, replicas, rise } = command {
        return membership::init(tx, *cluster, *replicas, *rise);
    }
    if tx.members_if_any().is_none() {
        return Err(Refusal::AlreadyInitialised.into());
    }
    match command {
        Command::Init { .. } => unreachable!("handled above"),
        Command::OpenSession { ttl_ms, owner } => session::open(tx, *ttl_ms, owner),
        Command::RenewSession { session } => session::renew(tx, *session),
        Command::EndSession { session } => session::end(tx, *session),
        Command::ExpireSessions { sessions } => session::expire(tx, sessions),
        Command::OpenWindow => window::open(tx),
        Command::CloseWindow { window } => window::close(tx, *window),
        Command::CreateBucket { name, tenant, replicas, lock } => bucket::create(tx, name, *tenant, *replicas, *lock),
        Command::DeleteBucket { name } => bucket::delete(tx, name),
        Command::SetBucket { name, change } => bucket::set(tx, name, change),
        Command::SetPolicy { bucket, policy } => bucket::set_policy(tx, bucket, policy.as_deref()),
        Command::SetTags { path, version, tags } => file::set_tags(tx, path, *version, tags),
        Command::SetLock { path, version, change, bypass } => lock::set(tx, path, *version, *change, *bypass),
        Command::CommitFile(commit) => file::commit(tx, commit),
        Command::DeleteFiles { bucket, files } => file::delete(tx, bucket, files),
        Command::DeleteVersions { bucket, versions, bypass } => history::delete(tx, bucket, versions, *bypass),
        Command::Expire { bucket, keys, uploads } => lifecycle::expire(tx, bucket, keys, uploads),
        Command::CopyFile(copy) => file::copy(tx, copy),
        Command::RenameFile { from, to, from_condition, condition } => {
            file::rename(tx, from, to, from_condition, condition)
        }
        Command::BeginStaging { bucket, chunking } => staging::begin(tx, bucket, *chunking),
        Command::AppendSegment { staging, index, entries, receipts } => {
            staging::append(tx, *staging, *index, entries, receipts)
        }
        Command::AbortStaging { staging } => staging::abort(tx, *staging),
        Command::BeginMultipart { path, attributes, checksum, length } => {
            multipart::begin(tx, path, attributes, checksum, *length)
        }
        Command::CommitPart(part) => multipart::commit_part(tx, part),
        Command::CopyPart { upload, number, from, from_version, from_condition, range } => {
            let source = multipart::Source { path: from, version: *from_version, condition: from_condition };
            multipart::copy_part(tx, upload, *number, &source, *range)
        }
        Command::CompleteMultipart(complete) => multipart::complete(tx, complete),
        Command::AbortMultipart { upload } => multipart::abort(tx, upload),
        Command::Release => release::release(tx),
        Command::AddNode { name, zone, weight, address, roles, join_token } => {
            let node = membership::NewNode { name, zone, weight: *weight, address, roles: *roles };
            membership::add_node(tx, &node, join_token.as_deref())
        }
        Command::Boot { node, address, weight, zone, volumes, new_disks } => {
            let boot = membership::Booting { node: *node, address, weight: *weight, zone, volumes, new_disks };
            membership::boot(tx, &boot)
        }
        Command::Serve { node, boot } => membership::serve(tx, *node, *boot),
        Command::RetireVolume { node, volume, reason: _ } => membership::retire_volume(tx, *node, *volume),
        Command::SetNode { node, weight, zone } => membership::set_node(tx, *node, *weight, zone.as_deref()),
        Command::RetireEpochs { before } => membership::retire_epochs(tx, *before),
        Command::SetReplicas { replicas, rise } => membership::set_replicas(tx, *replicas, *rise),
        Command::SetMaster { node, master } => membership::set_master(tx, *node, *master),
        Command::SetVoters { voters } => membership::set_voters(tx, *voters),
        Command::DrainNode { node, undo } => membership::drain(tx, *node, *undo),
        Command::RemoveNode { node } => membership::remove_node(tx, *node),
        Command::ForgetMisplaced { epoch, chunks } => chunks::forget_misplaced(tx, *epoch, chunks),
        Command::SetCollection { paused, approve, read_grace_ms } => {
            collection::set(tx, *paused, *approve, *read_grace_ms)
        }
        Command::SetRebalance { paused, bytes_per_second } => collection::set_rebalance(tx, *paused, *bytes_per_second),
        Command::CreateKey(record) => access::create_key(tx, record),
        Command::DeleteKey { access } => access::delete_key(tx, access),
        Command::CreateJoinToken { id, secret_hash, expires } => {
            access::create_join_token(tx, id, *secret_hash, *expires)
        }
    }
}
