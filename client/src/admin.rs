//! Access keys, nodes, and the cluster in figures.

use crate::client::{Client, wrong_reply};
use crate::error::Error;
use cairn_common::ids::{NodeId, Slot};
use cairn_common::wire::command::{Command, Grant};
use cairn_common::wire::master::{Audited, Credential, KeyInfo, MasterError, MasterReply, MasterRequest, Status};

impl Client {
    /// The cluster in figures. For keys that may administer it.
    pub async fn status(&self) -> Result<Status, Error> {
        match self.ask(MasterRequest::Status).await? {
            MasterReply::Status(status) => Ok(*status),
            _ => Err(wrong_reply().into()),
        }
    }

    /// Makes an access key and returns its id and its secret, which is shown this once. `given`: id and secret to import.
    pub async fn create_key(
        &self,
        name: &str,
        given: Option<(String, String)>,
        cluster_admin: bool,
        grants: Vec<Grant>,
    ) -> Result<(String, String), Error> {
        match self.once(MasterRequest::CreateKey { name: name.to_owned(), given, cluster_admin, grants }).await? {
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
