//! Commands from outside: completed with what only a master knows, checked for what the log must be able to trust, proposed.

use super::access::Who;
use crate::server::MasterServer;
use cairn_common::auth::Receipt;
use cairn_common::ids::{BootCount, NodeId, SessionId};
use cairn_common::net::RemoteChunkserver;
use cairn_common::net::handshake::Credential;
use cairn_common::wire::chunk::ChunkService as _;
use cairn_common::wire::command::{ChunkReceipts, Command, Done, NewContent, SessionSequence};
use cairn_common::wire::master::{Caller, MasterError};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// A node that was heard from within this time may still run.
const ALIVE: Duration = Duration::from_secs(10);
/// How long a process that may still run has to answer.
const WHOAMI_PATIENCE: Duration = Duration::from_secs(1);

impl MasterServer {
    pub(super) async fn write(
        &self,
        caller: &Caller,
        who: &Who,
        session: Option<SessionSequence>,
        mut command: Command,
    ) -> Result<Done, MasterError> {
        if let Some(session) = session.map(|place| place.session).or_else(|| named_session(&command)) {
            self.check_owner(caller, session)?;
        } else if !matches!(
            command,
            Command::OpenSession { .. } | Command::Boot { .. } | Command::Serve { .. } | Command::RetireVolume { .. }
        ) {
            return Err(MasterError::BadRequest("a command that changes anything needs a session".to_owned()));
        }
        match &mut command {
            Command::OpenSession { owner, .. } => *owner = caller.clone(),
            Command::CreateBucket { tenant, .. } => match who {
                Who::Key(key) => *tenant = key.tenant,
                Who::Nobody | Who::Node { .. } | Who::Joiner(_) => return Err(MasterError::Denied),
            },
            Command::CommitFile(commit) => self.check_content(&commit.content)?,
            Command::CommitPart(part) => self.check_content(&part.content)?,
            Command::AppendSegment { receipts, .. } => self.check_receipts(receipts)?,
            Command::Boot { node, .. } => self.check_not_running(*node).await?,
            _ => {}
        }
        self.execute(session, command).await
    }

    fn check_content(&self, content: &NewContent) -> Result<(), MasterError> {
        match content {
            NewContent::Inline(_) => Ok(()),
            NewContent::Chunks(chunks) => self.check_receipts(&chunks.receipts),
        }
    }

    /// Proofs are checked here, once; whether a receipt counts is decided from the state, by every master alike.
    fn check_receipts(&self, chunks: &[ChunkReceipts]) -> Result<(), MasterError> {
        let all = chunks.iter().flat_map(|chunk| chunk.receipts.iter().map(|receipt| (&chunk.address, receipt)));
        for (address, receipt) in all {
            let forged =
                |Receipt { node, .. }: &Receipt| MasterError::BadRequest(format!("a receipt of {node} is not genuine"));
            self.keyring.check_receipt(receipt, address).map_err(|_| forged(receipt))?;
        }
        Ok(())
    }

    /// A second process under the name of one that runs (a clone, or a restart that overlaps) may not take its place.
    async fn check_not_running(&self, node: NodeId) -> Result<(), MasterError> {
        let now = self.clock.monotonic();
        let heard = self.heartbeats.lock().unwrap_or_else(PoisonError::into_inner).get(&node).map(|(when, _)| *when);
        let members = self.members()?;
        let Some(known) = members.membership.nodes.get(&node) else { return Ok(()) };
        if node == self.node || heard.is_none_or(|when| now.saturating_sub(when) > ALIVE) {
            return Ok(());
        }
        match self.who_is_at(&known.address).await {
            Some((id, boot)) if id == node && boot == known.boot => Err(MasterError::Unavailable(format!(
                "node {node} ({}) runs at {}; a second process under its identity is not admitted",
                known.name, known.address
            ))),
            _ => Ok(()),
        }
    }

    /// A way to a chunkserver.
    pub(crate) fn chunkserver_at(&self, address: &str, credential: Credential) -> RemoteChunkserver {
        let (transport, clock, random) =
            (Arc::clone(&self.transport), Arc::clone(&self.clock), Arc::clone(&self.random));
        RemoteChunkserver::new(address.to_owned(), transport, clock, random, credential, Some(self.cluster))
    }

    async fn who_is_at(&self, address: &str) -> Option<(NodeId, BootCount)> {
        let node = self.chunkserver_at(address, Credential::anonymous());
        tokio::select! {
            biased;
            answer = node.whoami() => answer.ok(),
            () = self.clock.sleep(WHOAMI_PATIENCE) => None,
        }
    }
}

/// The session that a command is about, if it has no place in one.
fn named_session(command: &Command) -> Option<SessionId> {
    match command {
        Command::RenewSession { session } | Command::EndSession { session } => Some(*session),
        _ => None,
    }
}
