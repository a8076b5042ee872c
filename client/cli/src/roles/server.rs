//! Putting a process together, and taking it apart.
//!
//! The order matters: listeners first, so that a port in use is known before anything is changed; identity; the master, so that
//! the others can ask it; the node port, without which masters do not hear each other; the chunkserver, which needs a master to
//! start; the gateway, which is a client of both. Taking apart goes the other way round: nothing is asked of a part that has
//! ended.

use super::announce::announce;
use super::cluster;
use super::identity::{DataFolder, Identity};
use super::join;
use super::near::NearMaster;
use super::ports::{NodePort, Ports, Role};
use super::ready;
use super::settings::Settings;
use super::tls::{self, OwnCertificates, Slots};
use cairn_chunkserver::store::index::RocksIndexes;
use cairn_chunkserver::{Chunkserver, DiskConfig};
use cairn_client::{Client, ClientConfig, LocalNode};
use cairn_common::ids::KeyId;
use cairn_common::listen::{FrameService, Health, Shutdown, frames_route, health_routes, install_metrics};
use cairn_common::net::RemoteMaster;
use cairn_common::net::handshake::{Credential, Identity as Proof};
use cairn_common::seam::{Clock, Disk, OsRandom, Pool, Random, RealDisk, SystemClock, Transport};
use cairn_common::wire::chunk::ChunkService;
use cairn_common::wire::master::{Caller, Master};
use cairn_gateway::{Gateway, GatewayOptions, MetricsText};
use cairn_master::{MasterConfig, MasterFrames, MasterSeams, MasterServer};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::task::JoinSet;

/// How long running requests may take to finish when the process ends.
const GRACE: Duration = Duration::from_secs(20);
/// How long a start waits until the masters' group has the members that it should have.
const SETTLE_PATIENCE: Duration = Duration::from_secs(30);
/// Threads that read from disks.
const DISK_READERS: usize = 16;
/// Memory for blocks of the chunk indexes, and for rows of theirs that are not on disk yet.
const INDEX_CACHE_BYTES: usize = 16 << 20;
const INDEX_BUFFER_BYTES: usize = 8 << 20;

/// What every part of the process shares.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    pub(super) transport: Arc<dyn Transport>,
    /// Base URL under which others reach this process; `None`: nobody does.
    pub(super) node_url: Option<String>,
    /// What stands for this process among the cluster's nodes.
    pub(super) address: String,
    shutdown: Shutdown,
}

/// Runs until `shutdown` begins.
pub(super) async fn serve(settings: Settings, shutdown: Shutdown) -> anyhow::Result<()> {
    let metrics = install_metrics().map_err(anyhow::Error::msg)?;
    let data = DataFolder::open(&RealDisk, &settings.data)?;
    ready::remove(&data)?;
    let slots = Slots::new(&settings)?;
    let ports = Ports::bind(&settings, &slots).await?;
    for disk in &settings.disks {
        make_folder(disk);
    }
    join::trust_as_the_token_says(&settings, &data)?;
    let mut shared = Shared {
        transport: tls::transport(&settings, &data)?,
        settings,
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(OsRandom),
        node_url: ports.node_url.clone(),
        address: ports.address.clone(),
        shutdown: shutdown.clone(),
    };
    let identity = cluster::identity(&shared, &data).await?;
    let own = own_certificates(&shared, &data, &identity, &slots)?;
    if let Some(own) = &own {
        own.begin(&data, &shutdown).await?;
        // Now it is known whom the cluster trusts.
        shared.transport = tls::transport(&shared.settings, &data)?;
    }
    tracing::info!(cluster = %identity.cluster, node = %identity.node, name = shared.settings.name, "starting");
    let text: MetricsText = Arc::new(move || metrics.render());
    let files = shared.settings.tls.as_ref().zip(slots.public.as_ref());
    let stopping = tokio::select! {
        biased;
        stopping = run(&shared, &data, &identity, ports, text) => stopping,
        failed = tls::keep_fresh(own.as_ref(), files, &data, shared.clock.as_ref()) => failed,
    };
    ready::remove(&data)?;
    stopping?;
    tracing::info!("ended");
    Ok(())
}

/// The certificates of a process that gets them from the cluster.
fn own_certificates(
    shared: &Shared,
    data: &DataFolder,
    identity: &Identity,
    slots: &Slots,
) -> anyhow::Result<Option<OwnCertificates>> {
    let Some(slot) = slots.node.clone().filter(|_| shared.settings.tls_self_signed) else { return Ok(None) };
    let masters = remote_masters(shared, data, identity, None)?;
    let seams = (Arc::clone(&shared.clock), Arc::clone(&shared.random));
    OwnCertificates::new(&shared.settings, data, identity, slot, masters, seams).map(Some)
}

/// A folder that cannot be made is a disk that has failed; the chunkserver says so, and goes on with the others.
fn make_folder(disk: &Path) {
    if let Err(error) = RealDisk.create_dir_all(disk) {
        tracing::error!(%error, disk = %disk.display(), "cannot use a disk");
    }
}

async fn run(
    shared: &Shared,
    data: &DataFolder,
    identity: &Identity,
    ports: Ports,
    metrics: MetricsText,
) -> anyhow::Result<()> {
    let (health, mut serving) = (Health::new(), JoinSet::new());
    let node_port = Arc::new(NodePort::new(identity.cluster, identity.generation));
    let own = start_master(shared, data, identity).await?;
    if let Some(own) = &own {
        let handler = Arc::new(MasterFrames(Arc::clone(own)));
        node_port.set_master(Role { handler, verifier: Arc::clone(own) as Arc<_> });
    }
    let chunk_routes = Arc::new(OnceLock::new());
    if let Some(listener) = ports.node {
        let router = node_router(shared, &node_port, health.clone(), Arc::clone(&chunk_routes));
        serving.spawn(listener.serve(router, shared.shutdown.clone(), GRACE));
    }
    if let Some(own) = &own {
        cluster::make_if_new(shared, data, own).await?;
    }
    let remote = remote_masters(shared, data, identity, own.as_deref())?;
    let master: Arc<dyn Master> = match &own {
        Some(own) => Arc::new(NearMaster::new(Arc::clone(own), Arc::clone(&remote))),
        None => Arc::clone(&remote) as Arc<_>,
    };
    let started = start_with_masters(shared, identity, &master, own.as_deref());
    let chunkserver = tokio::select! {
        biased;
        started = started => started?,
        () = shared.shutdown.begun() => None,
    };
    if let Some(chunkserver) = &chunkserver {
        let _ = chunk_routes.set(chunkserver.router());
        node_port.set_chunkserver(Role { handler: chunkserver.frames(), verifier: chunkserver.verifier() });
    }
    let mut client = None;
    let mut addresses = ready::Addresses { node: shared.node_url.clone(), ..ready::Addresses::default() };
    if let (Some(s3), Some(api), false) = (ports.s3, ports.api, shared.shutdown.has_begun()) {
        let made = embedded_client(shared, identity, master, remote, chunkserver.as_ref()).await?;
        let options = GatewayOptions {
            base_domains: shared.settings.s3_domain.clone().into_iter().collect(),
            health: health.clone(),
            metrics: Some(metrics),
            ..GatewayOptions::default()
        };
        let gateway = Gateway::new(made.clone(), options);
        (addresses.s3, addresses.api) = (Some(s3.base_url()?), Some(api.base_url()?));
        serving.spawn(s3.serve(gateway.s3_router(), shared.shutdown.clone(), GRACE));
        serving.spawn(api.serve(gateway.native_router(), shared.shutdown.clone(), GRACE));
        client = Some(made);
    }
    health.set_ready(true);
    if !shared.shutdown.has_begun() {
        ready::write(data, &addresses)?;
        tracing::info!(node = ?addresses.node, s3 = ?addresses.s3, api = ?addresses.api, "ready");
    }
    until_the_end(shared, chunkserver.as_ref()).await;

    health.set_ready(false);
    while serving.join_next().await.is_some() {}
    if let Some(client) = client {
        client.close().await;
    }
    if let Some(chunkserver) = chunkserver {
        chunkserver.stop().await;
    }
    if let Some(own) = own {
        own.stop().await;
    }
    Ok(())
}

/// Waits for the signal to end, or for another process to take this node's place.
async fn until_the_end(shared: &Shared, chunkserver: Option<&Chunkserver>) {
    let fenced = async {
        match chunkserver {
            Some(chunkserver) => chunkserver.fenced().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = shared.shutdown.begun() => {}
        () = fenced => {
            tracing::error!("another process runs as this node; this one ends");
            shared.shutdown.begin();
        }
    }
}

async fn start_master(
    shared: &Shared,
    data: &DataFolder,
    identity: &Identity,
) -> anyhow::Result<Option<Arc<MasterServer>>> {
    if !shared.settings.roles.master {
        return Ok(None);
    }
    let config = MasterConfig {
        folder: data.file("master"),
        node: identity.node,
        cluster: identity.cluster,
        generation: identity.generation,
        cluster_key: cluster::read_key(data)?,
        joined: cluster::joined(data)?,
        dead_after: shared.settings.dead_after,
    };
    let seams = MasterSeams {
        clock: Arc::clone(&shared.clock),
        random: Arc::clone(&shared.random),
        disk: Arc::new(RealDisk),
        transport: Arc::clone(&shared.transport),
    };
    Ok(Some(MasterServer::start(config, seams).await?))
}

/// The other masters: those that this one's state knows, those that were given, and those that were there when this node joined. More are learnt.
fn remote_masters(
    shared: &Shared,
    data: &DataFolder,
    identity: &Identity,
    own: Option<&MasterServer>,
) -> anyhow::Result<Arc<RemoteMaster>> {
    let mut addresses = own.map(MasterServer::other_masters).unwrap_or_default();
    addresses.extend(shared.settings.join.iter().flat_map(|join| join.masters.clone()));
    if let Some(joined) = cluster::joined(data)? {
        addresses.extend(joined.nodes.into_values().filter(|node| node.roles.master).map(|node| node.address));
    }
    let credential = Credential { identity: Proof::Node(identity.node), secret: identity.key.handshake() };
    Ok(Arc::new(RemoteMaster::new(
        addresses,
        Arc::clone(&shared.transport),
        Arc::clone(&shared.clock),
        Arc::clone(&shared.random),
        credential,
        Some(identity.cluster),
    )))
}

/// What needs masters that lead: the chunkserver's start, or the word that a node without one has started; and, on a master,
/// that its group is as it should be.
async fn start_with_masters(
    shared: &Shared,
    identity: &Identity,
    master: &Arc<dyn Master>,
    own: Option<&MasterServer>,
) -> anyhow::Result<Option<Chunkserver>> {
    let chunkserver = start_chunkserver(shared, identity, master).await?;
    if chunkserver.is_none() {
        announce(shared, identity.node, master.as_ref()).await?;
    }
    if let Some(own) = own
        && !own.settle(SETTLE_PATIENCE).await
    {
        tracing::warn!("the masters' group is not complete yet; see `cairn admin master ls`");
    }
    Ok(chunkserver)
}

async fn start_chunkserver(
    shared: &Shared,
    identity: &Identity,
    master: &Arc<dyn Master>,
) -> anyhow::Result<Option<Chunkserver>> {
    let settings = &shared.settings;
    if !settings.roles.chunkserver {
        return Ok(None);
    }
    let who = cairn_chunkserver::Identity {
        cluster: identity.cluster,
        generation: identity.generation,
        node: identity.node,
        key: identity.key.clone(),
        key_id: KeyId(identity.generation.0),
    };
    let disk = |path: &std::path::PathBuf| DiskConfig { path: path.clone(), capacity_bytes: settings.disk_capacity };
    let config = cairn_chunkserver::Config {
        disks: settings.disks.iter().map(disk).collect(),
        address: shared.node_url.clone().unwrap_or_default(),
        zone: settings.zone.clone(),
        weight: settings.weight()?,
        pack_bytes: None,
        index_lag_bytes: None,
        upkeep: settings.upkeep,
    };
    let seams = cairn_chunkserver::Seams {
        clock: Arc::clone(&shared.clock),
        random: Arc::clone(&shared.random),
        transport: Arc::clone(&shared.transport),
        disk: Arc::new(RealDisk),
        indexes: Arc::new(RocksIndexes::with_memory(INDEX_CACHE_BYTES, INDEX_BUFFER_BYTES)),
        reading: Pool::new(DISK_READERS),
        computing: Pool::for_computing(),
    };
    Ok(Some(Chunkserver::start(who, config, seams, Arc::clone(master)).await?))
}

/// The client that the gateway is, with everything in this process reached through memory.
async fn embedded_client(
    shared: &Shared,
    identity: &Identity,
    master: Arc<dyn Master>,
    remote: Arc<RemoteMaster>,
    chunkserver: Option<&Chunkserver>,
) -> anyhow::Result<Client> {
    let local = chunkserver.map(|chunkserver| LocalNode {
        node: identity.node,
        chunkserver: Arc::clone(chunkserver.service()) as Arc<dyn ChunkService>,
    });
    let config = ClientConfig::new(Vec::<String>::new());
    let (caller, transport) = (Caller::Node(identity.node), Arc::clone(&shared.transport));
    Ok(Client::embedded(master, Some(remote), caller, local, transport, &config).await?)
}

/// Frames, health, and chunk bodies once the chunkserver has started.
fn node_router(
    shared: &Shared,
    node_port: &Arc<NodePort>,
    health: Health,
    chunk_routes: Arc<OnceLock<axum::Router>>,
) -> axum::Router {
    use axum::http::StatusCode;
    use axum::response::IntoResponse as _;
    use tower::ServiceExt as _;
    let service = FrameService {
        handler: Arc::clone(node_port) as Arc<_>,
        verifier: Arc::clone(node_port) as Arc<_>,
        clock: Arc::clone(&shared.clock),
        random: Arc::clone(&shared.random),
    };
    let chunks = move |request: axum::extract::Request| {
        let routes = chunk_routes.get().cloned();
        async move {
            match routes {
                Some(routes) => routes.oneshot(request).await.unwrap_or_else(|never| match never {}),
                None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            }
        }
    };
    frames_route(service).merge(health_routes(health)).fallback(chunks)
}
