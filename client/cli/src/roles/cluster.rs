//! Which cluster a process belongs to: the one in its data folder, the one it is told to join, or a new one.

use super::identity::{DataFolder, Identity};
use super::join;
use super::server::Shared;
use anyhow::{Context as _, bail};
use cairn_common::auth::{ClusterKey, Secret};
use cairn_common::ids::{ClusterId, Generation, NodeId};
use cairn_common::membership::Membership;
use cairn_common::seam::{Disk as _, RealDisk};
use cairn_common::wire;
use cairn_master::{Bootstrap, MasterServer};

/// The identity of this node. A folder that has none gets one, and keeps it.
pub(super) async fn identity(shared: &Shared, data: &DataFolder) -> anyhow::Result<Identity> {
    if let Some(identity) = data.identity(&RealDisk)? {
        return Ok(identity);
    }
    let settings = &shared.settings;
    let identity = match &settings.join {
        Some(join) => {
            let joined = join::join(shared, join).await?;
            if let Some(key) = &joined.cluster_key {
                write_key(data, key.expose())?;
            }
            // Before the identity: a node that has one and not this would make a cluster of its own.
            RealDisk
                .replace(&data.file("joined"), &wire::encode(&joined.membership))
                .context("cannot write `joined`")?;
            joined.identity
        }
        None if settings.roles.master => new_cluster(shared, data)?,
        None => bail!(
            "{} is empty and --join is not given. A chunkserver or a gateway joins a cluster: give --join URL of a master and \
             --join-token FILE with a token from `cairn admin join-token create`",
            settings.data.display()
        ),
    };
    data.store_identity(&RealDisk, &identity)?;
    Ok(identity)
}

/// The membership that this node joined; `None` if it made its cluster.
pub(super) fn joined(data: &DataFolder) -> anyhow::Result<Option<Membership>> {
    let path = data.file("joined");
    if !RealDisk.exists(&path)? {
        return Ok(None);
    }
    let help = || format!("{} cannot be read; let this node join anew, with an empty folder", path.display());
    Ok(Some(wire::decode(&RealDisk.read(&path).with_context(help)?).with_context(help)?))
}

/// Keys and identity of a new cluster. Its state is made when its first master has started.
fn new_cluster(shared: &Shared, data: &DataFolder) -> anyhow::Result<Identity> {
    let secret = Secret::random(shared.random.as_ref());
    write_key(data, secret.expose())?;
    let mut id = [0; 16];
    shared.random.fill(&mut id);
    let (cluster, generation, node) = (ClusterId(id), Generation(1), NodeId(1));
    Ok(Identity { cluster, generation, node, key: ClusterKey::new(secret).node_key(generation, node) })
}

/// Keeps the cluster's key. Durable on return.
pub(super) fn write_key(data: &DataFolder, key: &[u8; 32]) -> anyhow::Result<()> {
    RealDisk.replace(&data.file("cluster.key"), hex::encode(key).as_bytes()).context("cannot write cluster.key")
}

/// The cluster's key, which every master keeps.
pub(super) fn read_key(data: &DataFolder) -> anyhow::Result<ClusterKey> {
    let path = data.file("cluster.key");
    let help = || {
        format!("{}: the cluster's key, without which this master cannot work; restore it from a copy", path.display())
    };
    let text = RealDisk.read(&path).with_context(help)?;
    let mut key = [0; 32];
    hex::decode_to_slice(text.trim_ascii(), &mut key).with_context(help)?;
    Ok(ClusterKey::new(Secret::new(key)))
}

/// Makes the state of a new cluster, and its first access key. A crash in between is made up for at the next start: the key is
/// written before the state that knows it.
pub(super) async fn make_if_new(shared: &Shared, data: &DataFolder, own: &MasterServer) -> anyhow::Result<()> {
    if joined(data)?.is_some() || !own.is_new().await? {
        return Ok(());
    }
    let settings = &shared.settings;
    let (access, secret) = own.new_key_pair();
    let path = data.file("admin.key");
    RealDisk.replace(&path, format!("{access}\n{secret}\n").as_bytes()).context("cannot write admin.key")?;
    let bootstrap = Bootstrap {
        replicas: settings.replicas,
        name: settings.name.clone(),
        zone: settings.zone.clone(),
        weight: if settings.roles.chunkserver { settings.weight()? } else { 0 },
        address: shared.node_url.clone().unwrap_or_default(),
        roles: settings.roles,
        admin: (access, secret),
    };
    own.bootstrap(bootstrap).await?;
    tracing::info!(key = %path.display(), "a new cluster; its first access key is in this file");
    Ok(())
}
