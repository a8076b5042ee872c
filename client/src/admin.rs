//! Access keys, nodes, and the cluster in figures.

use crate::client::{Client, wrong_reply};
use crate::error::Error;
use cairn_common::ids::{NodeId, Slot, TenantId};
use cairn_common::wire::command::{Command, Grant};
use cairn_common::wire::master::{
    Audited, Credential, KeyInfo, MasterError, MasterReply, MasterRequest, MastersStatus, Status,
};
use std::time::Duration;

/// An access key to be made.
#[derive(Default)]
pub struct NewKey {
    /// Its name, for people.
    pub name: String,
    /// Id and secret to import; `None`: made at random.
    pub given: Option<(String, String)>,
    /// Whether it may administer the cluster.
    pub cluster_admin: bool,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// Whose buckets it sees; `None`: those of whoever makes it.
    pub tenant: Option<TenantId>,
    /// When it ends, in milliseconds since 1970; `None`: never.
    pub expires_ms: Option<u64>,
}

impl Client {
    /// The cluster in figures. For keys that may administer it.
    pub async fn status(&self) -> Result<Status, Error> {
        match self.ask(MasterRequest::Status).await? {
            MasterReply::Status(status) => Ok(*status),
            _ => Err(wrong_reply().into()),
        }
    }

    /// The masters' group, as its leader sees it. For keys that may administer the cluster.
    pub async fn masters(&self) -> Result<MastersStatus, Error> {
        match self.ask(MasterRequest::Masters).await? {
            MasterReply::Masters(masters) => Ok(*masters),
            _ => Err(wrong_reply().into()),
        }
    }

    /// Asks for another master to lead. It may not come to that: see [`Client::masters`].
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), Error> {
        match self.ask(MasterRequest::TransferLeader { to }).await? {
            MasterReply::Masters(_) => Ok(()),
            _ => Err(wrong_reply().into()),
        }
    }

    /// Puts a node into the masters' group, or takes it out. The group follows by itself, within moments.
    pub async fn set_master(&self, node: NodeId, master: bool) -> Result<(), Error> {
        self.write(Command::SetMaster { node, master }).await?;
        Ok(())
    }

    /// Sets how many masters vote: 1, 3 or 5. The group follows by itself.
    pub async fn set_voters(&self, voters: u8) -> Result<(), Error> {
        self.write(Command::SetVoters { voters }).await?;
        Ok(())
    }

    /// Waits, by this client's clock: for callers that ask again until something has come about.
    pub async fn pause(&self, pause: Duration) {
        self.inner.clock.sleep(pause).await;
    }

    /// Makes an access key and returns its id and its secret, which is shown this once. `given`: id and secret to import.
    pub async fn create_key(
        &self,
        name: &str,
        given: Option<(String, String)>,
        cluster_admin: bool,
        grants: Vec<Grant>,
    ) -> Result<(String, String), Error> {
        self.create_key_for(NewKey { name: name.to_owned(), given, cluster_admin, grants, ..NewKey::default() }).await
    }

    /// Makes an access key, also of another tenant, also for a time only. Answers as [`Client::create_key`].
    pub async fn create_key_for(&self, new: NewKey) -> Result<(String, String), Error> {
        let NewKey { name, given, cluster_admin, grants, tenant, expires_ms } = new;
        let request = MasterRequest::CreateKey { name, given, cluster_admin, grants, tenant, expires_ms };
        match self.once(request).await? {
            MasterReply::NewKey { access, secret } => Ok((access, secret)),
            _ => Err(wrong_reply().into()),
        }
    }

    /// Removes an access key.
    pub async fn delete_key(&self, access: &str) -> Result<(), Error> {
        match self.once(MasterRequest::DeleteKey { access: access.to_owned() }).await? {
            MasterReply::Done(_) => Ok(()),
            _ => Err(wrong_reply().into()),
        }
    }

    /// All access keys, without secrets.
    pub async fn keys(&self) -> Result<Vec<KeyInfo>, Error> {
        match self.ask(MasterRequest::Keys).await? {
            MasterReply::Keys(keys) => Ok(keys),
            _ => Err(wrong_reply().into()),
        }
    }

    /// An access key with its secret. Gateways only.
    pub async fn credential(&self, access: &str) -> Result<Option<Credential>, Error> {
        match self.ask(MasterRequest::Credential { access: access.to_owned() }).await? {
            MasterReply::Credential(credential) => Ok(credential),
            _ => Err(wrong_reply().into()),
        }
    }

    /// Makes a token with which one node can join within 24 hours.
    pub async fn create_join_token(&self) -> Result<String, Error> {
        match self.once(MasterRequest::CreateJoinToken).await? {
            MasterReply::JoinToken(token) => Ok(token),
            _ => Err(wrong_reply().into()),
        }
    }

    /// Asks for something that is not a numbered command and must not be done twice: not repeated.
    async fn once(&self, request: MasterRequest) -> Result<MasterReply, MasterError> {
        self.inner.call(self.actor.clone(), request).await
    }

    /// Takes a node out of the ring, if the others have room for what it holds, or back in.
    pub async fn drain_node(&self, node: NodeId, undo: bool) -> Result<(), Error> {
        match self.ask(MasterRequest::Drain { node, undo }).await? {
            MasterReply::Done(_) => Ok(()),
            _ => Err(wrong_reply().into()),
        }
    }

    /// Forgets a node that is drained. `force`: also one that may hold what no other node has.
    pub async fn remove_node(&self, node: NodeId, force: bool) -> Result<(), Error> {
        match self.once(MasterRequest::RemoveNode { node, force }).await? {
            MasterReply::Done(_) => Ok(()),
            _ => Err(wrong_reply().into()),
        }
    }

    /// Changes a node's weight or zone.
    pub async fn set_node(&self, node: NodeId, weight: Option<u32>, zone: Option<String>) -> Result<(), Error> {
        self.write(Command::SetNode { node, weight, zone }).await?;
        Ok(())
    }

    /// Changes how collection goes: pauses or resumes it, lets it go on where it stopped, or sets how long references of what was
    /// removed are kept, in milliseconds.
    pub async fn set_collection(
        &self,
        paused: Option<bool>,
        approve: bool,
        read_grace_ms: Option<u64>,
    ) -> Result<(), Error> {
        self.write(Command::SetCollection { paused, approve, read_grace_ms }).await?;
        Ok(())
    }

    /// Changes how chunks move when the ring has changed: pauses or resumes moves, or sets how many bytes a second each node
    /// fetches (zero: as it is configured).
    pub async fn set_rebalance(&self, paused: Option<bool>, bytes_per_second: Option<u64>) -> Result<(), Error> {
        self.write(Command::SetRebalance { paused, bytes_per_second }).await?;
        Ok(())
    }

    /// A stretch of an audit, from slot 0 on; goes on with the slot that the answer names. `deep`: every copy is read back.
    pub async fn audit(&self, from: Slot, deep: bool) -> Result<Audited, Error> {
        match self.once(MasterRequest::Audit { from, deep }).await? {
            MasterReply::Audited(audited) => Ok(audited),
            _ => Err(wrong_reply().into()),
        }
    }

    /// Sets the copies of buckets that ask for none, and whether that number may rise by itself.
    pub async fn set_replicas(&self, replicas: u8, rise: bool) -> Result<(), Error> {
        self.write(Command::SetReplicas { replicas, rise }).await?;
        Ok(())
    }
}
