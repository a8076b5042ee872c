//! Becoming part of a cluster, with a token.

use super::identity::Identity;
use super::settings::{Join, Settings};
use anyhow::{Context as _, bail};
use cairn_common::auth::{JoinToken, NodeKey, Secret};
use cairn_common::net::RemoteMaster;
use cairn_common::net::handshake::{Credential, Identity as Proof};
use cairn_common::seam::{Clock, Disk as _, Random, RealDisk, Transport};
use cairn_common::wire::master::{Caller, Master as _, MasterCall, MasterError, MasterReply, MasterRequest};

use std::sync::Arc;

/// A process that wants to be a node.
pub(super) struct Candidate<'a> {
    pub(super) settings: &'a Settings,
    pub(super) weight: u32,
    pub(super) address: &'a str,
    pub(super) transport: &'a Arc<dyn Transport>,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) random: &'a Arc<dyn Random>,
}

/// Asks the masters for an identity. The token is used up.
pub(super) async fn join(candidate: Candidate<'_>, join: &Join) -> anyhow::Result<Identity> {
    let path = join.token.as_ref().context("--join-token FILE is needed to join a cluster")?;
    let text = RealDisk.read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = String::from_utf8_lossy(&text);
    let token: JoinToken = text.trim().parse().with_context(|| format!("in {}", path.display()))?;
    let secret = token.secret();
    let master = RemoteMaster::new(
        join.masters.clone(),
        Arc::clone(candidate.transport),
        Arc::clone(candidate.clock),
        Arc::clone(candidate.random),
        Credential { identity: Proof::Joiner(token.id.clone()), secret: secret.clone() },
        None,
    );
    let settings = candidate.settings;
    let request = MasterRequest::Join {
        name: settings.name.clone(),
        zone: settings.zone.clone(),
        weight: candidate.weight,
        address: candidate.address.to_owned(),
        roles: settings.roles,
    };
    let joined = match master.call(&Caller::Anonymous, MasterCall { actor: None, request }).await {
        Ok(MasterReply::Joined(joined)) => joined,
        Ok(_) => bail!("the master answered something else"),
        Err(MasterError::Denied) => bail!(
            "the masters at {} do not accept this token: it was used, is older than 24 hours, or is of another cluster. Make a new \
             one with `cairn admin join-token create`",
            join.masters.join(", ")
        ),
        Err(error) => return Err(error).context("cannot join"),
    };
    let key = secret.open(&joined.node.0.to_be_bytes(), &joined.sealed_key).context("the masters' answer does not open")?;
    let key: [u8; 32] = key.try_into().ok().context("the masters' answer is malformed")?;
    Ok(Identity {
        cluster: joined.cluster,
        generation: joined.generation,
        node: joined.node,
        key: NodeKey::new(Secret::new(key)),
    })
}
