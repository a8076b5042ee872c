//! Whose session it is, and tokens to write with.

use super::access::Who;
use crate::query;
use crate::server::MasterServer;
use crate::store::key::WindowStartKey;
use cairn_common::ids::{SessionId, Stamp, WindowId};
use cairn_common::limits::{WINDOW_LIMIT_BYTES, WINDOW_MAX_MS};
use cairn_common::membership::NodeState;
use cairn_common::name::BucketName;
use cairn_common::wire::command::Refusal;
use cairn_common::wire::master::{Caller, MasterError, MasterReply};
use std::sync::PoisonError;

/// Owners of sessions that are remembered.
const OWNERS_MAX: usize = 10_000;

impl MasterServer {
    /// Whether `caller` opened the session. One that has ended has no owner, which is for the command to say.
    pub(super) fn check_owner(&self, caller: &Caller, session: SessionId) -> Result<(), MasterError> {
        let known = self.owners.lock().unwrap_or_else(PoisonError::into_inner).get(&session).cloned();
        let owner = match known {
            Some(owner) => owner,
            None => {
                let Some(info) = self.look(|view| query::session(view, session))? else {
                    return Err(Refusal::SessionEnded.into());
                };
                let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
                if owners.len() >= OWNERS_MAX {
                    owners.clear();
                }
                owners.insert(session, info.owner.clone());
                info.owner
            }
        };
        if owner == *caller { Ok(()) } else { Err(MasterError::Denied) }
    }

    pub(super) fn write_tokens(
        &self,
        caller: &Caller,
        who: &Who,
        window: WindowId,
        bucket: &BucketName,
    ) -> Result<MasterReply, MasterError> {
        let members = self.members()?;
        let session = self.look(|view| Ok(view.row(&WindowStartKey(window))?))?.ok_or(Refusal::WindowEnded)?;
        self.check_owner(caller, session)?;
        let tenant = self.look(|view| query::bucket(view, &members, bucket))?.tenant;
        let domain = tenant.domain();
        let expires_ms = Stamp(window.0).ms() + WINDOW_MAX_MS;
        let nodes = members.membership.nodes.values();
        let writable = nodes.filter(|node| node.roles.chunkserver && node.state == NodeState::Live);
        // Not for a gateway, whoever it asks for: it keeps the tokens of a bucket for all of its users. And not for a key of another
        // tenant, which a policy lets write here.
        let finds = matches!(caller, Caller::Key(_)) && who.reads_everything_of(tenant);
        let tokens = writable.map(|node| {
            let token = self.keyring.write_token(node.id, domain, window, WINDOW_LIMIT_BYTES, expires_ms);
            (node.id, if finds { self.keyring.finding(node.id, token) } else { token })
        });
        Ok(MasterReply::WriteTokens { tokens: tokens.collect() })
    }
}
