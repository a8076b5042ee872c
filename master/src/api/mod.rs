//! What a master can be asked: check who asks, then propose a command or answer from the state.
//!
//! Every request comes through [`Master::call`], whether from this process or in a frame: first a barrier, so that everything
//! that was acknowledged is known; then who asks ([`identify`]) and whether they may ([`access`]); then the request itself.

mod access;
mod audit;
mod backup;
mod certificates;
mod files;
mod frames;
mod heal;
mod identify;
mod keyring;
mod leave;
mod masters;
mod nodes;
mod policy;
mod sessions;
mod words;
mod writes;

pub use frames::MasterFrames;
pub(crate) use keyring::Keyring;
pub(crate) use policy::Policies;

use crate::query;
use crate::server::MasterServer;
use crate::store::MetaView;
use access::Who;
use async_trait::async_trait;
use cairn_common::wire::command::Refusal;
use cairn_common::wire::master::{
    Actor, BucketInfo, Caller, Master, MasterCall, MasterError, MasterReply, MasterRequest,
};
use nodes::NewKey;
use policy::Question;

#[async_trait]
impl Master for MasterServer {
    async fn call(&self, caller: &Caller, call: MasterCall) -> Result<MasterReply, MasterError> {
        self.barrier().await?;
        let MasterCall { actor, request } = call;
        let asking = match &actor {
            Some(Actor::Asking(asking)) => Some(asking.as_ref()),
            _ => None,
        };
        let who = self.identify(caller, actor.as_ref())?;
        if !self.allows(Question { who: &who, asking, request: &request })? {
            return Err(MasterError::Denied);
        }
        match self.answer(caller, &who, request).await {
            // Who may not list a bucket does not learn what is not in it.
            Err(MasterError::Refused(
                Refusal::NoSuchFile(path)
                | Refusal::FileRemoved { path, .. }
                | Refusal::NoSuchVersion { path, .. }
                | Refusal::RemovalMark { path, .. },
            )) if !self.may_list(&who, asking, &path)? => Err(MasterError::Denied),
            // Settings are for the bucket's own tenant, and for gateways, which show each by itself.
            Ok(MasterReply::Bucket(info)) if asking.is_none() && !who.is_of(info.tenant) => {
                let (settings, usage) = Default::default();
                Ok(MasterReply::Bucket(BucketInfo { settings, usage, ..info }))
            }
            answer => answer,
        }
    }
}

impl MasterServer {
    async fn answer(&self, caller: &Caller, who: &Who, request: MasterRequest) -> Result<MasterReply, MasterError> {
        match request {
            MasterRequest::Write { session, command } => {
                self.write(caller, who, session, command).await.map(MasterReply::Done)
            }
            MasterRequest::Membership { revision } => self.membership(revision),
            MasterRequest::WriteTokens { window, bucket } => self.write_tokens(caller, who, window, &bucket),
            MasterRequest::Bucket { name } => {
                let members = self.members()?;
                Ok(MasterReply::Bucket(self.look(|view| query::bucket(view, &members, &name))?))
            }
            MasterRequest::Buckets => self.buckets(who),
            MasterRequest::Stat { path, version, condition } => {
                let found = self.look(|view| query::stat(view, &path, version, &condition))?;
                Ok(MasterReply::File(Box::new(found)))
            }
            MasterRequest::Open { path, version, condition, range } => self.open((&path, version), &condition, range),
            MasterRequest::Page { ticket, offset, end } => self.page(&ticket, offset, end),
            MasterRequest::ReadTokens { ticket, offset } => self.read_tokens(&ticket, offset),
            MasterRequest::List(request) => {
                self.scan(move |view| query::list(view, &request)).await.map(MasterReply::Listed)
            }
            MasterRequest::Cors { bucket } => Ok(MasterReply::Cors(self.look(|view| query::cors(view, &bucket))?)),
            MasterRequest::ListVersions(request) => {
                self.scan(move |view| query::versions(view, &request)).await.map(MasterReply::Versions)
            }
            MasterRequest::Parts { path, upload, after, limit } => {
                self.scan(move |view| query::parts(view, &path, upload, after, limit)).await.map(MasterReply::Parts)
            }
            MasterRequest::FileParts { path, version, after, limit } => {
                let page = self.look(|view| query::file_parts(view, &path, version, after, limit))?;
                Ok(MasterReply::FileParts(Box::new(page)))
            }
            MasterRequest::Uploads { bucket, prefix, delimiter, after, limit } => {
                let uploads = move |view: &dyn MetaView| {
                    query::uploads(view, &bucket, &prefix, delimiter.as_deref(), after.as_ref(), limit)
                };
                self.scan(uploads).await.map(MasterReply::Uploads)
            }
            MasterRequest::Policy { bucket } => {
                Ok(MasterReply::Policy(self.look(|view| query::policy(view, &bucket))?))
            }
            MasterRequest::May { bucket, .. } => {
                let rules = self.look(|view| query::rules(view, &bucket))?;
                Ok(MasterReply::Allowed(rules.map(|rules| rules.tenant)))
            }
            MasterRequest::Credential { access } => self.credential(&access),
            MasterRequest::CreateKey { name, given, cluster_admin, grants, tenant, expires_ms } => {
                let new = NewKey { name, given, cluster_admin, grants, tenant, expires_ms };
                self.create_key(who, new).await
            }
            MasterRequest::DeleteKey { access } => self.delete_key(access).await,
            MasterRequest::Keys => self.keys(),
            MasterRequest::CreateJoinToken => self.create_join_token().await,
            MasterRequest::Join { name, zone, weight, address, roles } => {
                self.join(who, name, zone, weight, address, roles).await
            }
            MasterRequest::Heartbeat(heartbeat) => self.heard(caller, heartbeat),
            MasterRequest::Where { path, offset } => self.where_is(&path, offset),
            MasterRequest::Status => self.cluster_status(),
            MasterRequest::Certificate { names, public_key } => self.certificate(caller, &names, &public_key),
            MasterRequest::Masters => self.masters(),
            MasterRequest::TransferLeader { to } => self.hand_over(to),
            MasterRequest::Compare(asked) => self.compare(who, asked).await,
            MasterRequest::References { slot, after } => self.references(slot, after).await,
            MasterRequest::Placement { chunks } => self.placement(who, chunks).await,
            MasterRequest::Drain { node, undo } => self.drain(node, undo).await,
            MasterRequest::RemoveNode { node, force } => self.remove_node(node, force).await,
            MasterRequest::Audit { from, deep } => self.audit(from, deep).await.map(MasterReply::Audited),
            MasterRequest::BeginBackup => self.begin_backup().await,
            MasterRequest::BackupPage { id, page } => self.backup_page(id, page).await.map(MasterReply::BackupPage),
        }
    }
}
