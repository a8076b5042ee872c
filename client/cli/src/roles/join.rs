//! Becoming part of a cluster, with a token.

use super::identity::{DataFolder, Identity};
use super::server::Shared;
use super::settings::{Join, Settings};
use super::tls;
use anyhow::{Context as _, bail};
use cairn_common::auth::{JoinToken, NodeKey, Secret};
use cairn_common::membership::Membership;
use cairn_common::net::RemoteMaster;
use cairn_common::net::handshake::{Credential, Identity as Proof};
use cairn_common::seam::{Disk as _, RealDisk};
use cairn_common::wire::master::{Caller, Joined, Master as _, MasterCall, MasterError, MasterReply, MasterRequest};
use std::sync::Arc;

/// What a node gets when it joins.
pub(super) struct Admission {
    pub(super) identity: Identity,
    /// For a master.
    pub(super) cluster_key: Option<Secret>,
    pub(super) membership: Membership,
}

/// Keeps the certificates that the token's file carries: they say whom to trust from the first connection on.
pub(super) fn trust_as_the_token_says(settings: &Settings, data: &DataFolder) -> anyhow::Result<()> {
    let Some(path) = settings.join.as_ref().and_then(|join| join.token.as_ref()) else { return Ok(()) };
    let known = data.file("tls/ca.pem");
    if RealDisk.exists(&known)? || !RealDisk.exists(path)? {
        return Ok(());
    }
    let text = RealDisk.read(path).with_context(|| format!("cannot read {}", path.display()))?;
    match tls::of_token(&String::from_utf8_lossy(&text)) {
        Some(pem) => tls::store_authority(data, pem),
        None => Ok(()),
    }
}

/// Asks the masters for an identity. The token is used up.
pub(super) async fn join(shared: &Shared, join: &Join) -> anyhow::Result<Admission> {
    let path = join.token.as_ref().context("--join-token FILE is needed to join a cluster")?;
    let text = RealDisk.read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = String::from_utf8_lossy(&text);
    let first = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let token: JoinToken = first.parse().with_context(|| format!("in {}", path.display()))?;
    let master = RemoteMaster::new(
        join.masters.clone(),
        Arc::clone(&shared.transport),
        Arc::clone(&shared.clock),
        Arc::clone(&shared.random),
        Credential { identity: Proof::Joiner(token.id.clone()), secret: token.secret() },
        None,
    );
    let settings = &shared.settings;
    let request = MasterRequest::Join {
        name: settings.name.clone(),
        zone: settings.zone.clone(),
        weight: if settings.roles.chunkserver { settings.weight()? } else { 0 },
        address: shared.address.clone(),
        roles: settings.roles,
    };
    match master.call(&Caller::Anonymous, MasterCall { actor: None, request }).await {
        Ok(MasterReply::Joined(joined)) => admitted(&token, joined),
        Ok(_) => bail!("the master answered something else"),
        Err(MasterError::Denied) => bail!(
            "the masters at {} do not accept this token: it was used, is older than 24 hours, or is of another cluster. Make a \
             new one with `cairn admin join-token create`",
            join.masters.join(", ")
        ),
        Err(error) => Err(error).context("cannot join"),
    }
}

fn admitted(token: &JoinToken, joined: Joined) -> anyhow::Result<Admission> {
    let open = |sealed: &[u8]| -> anyhow::Result<Secret> {
        let key =
            token.secret().open(&joined.node.0.to_be_bytes(), sealed).context("the masters' answer does not open")?;
        Ok(Secret::new(key.try_into().ok().context("the masters' answer is malformed")?))
    };
    let identity = Identity {
        cluster: joined.cluster,
        generation: joined.generation,
        node: joined.node,
        key: NodeKey::new(open(&joined.sealed_key)?),
    };
    let cluster_key = joined.sealed_cluster_key.as_deref().map(open).transpose()?;
    Ok(Admission { identity, cluster_key, membership: *joined.membership })
}
