//! Putting a process together, and taking it apart.
//!
//! The order matters: listeners first, so that a port in use is known before anything is changed; identity; the master, so that
//! the others can ask it; the node port; the chunkserver, which needs a master to start; the gateway, which is a client of
//! both. Taking apart goes the other way round: nothing is asked of a part that has ended.

use super::identity::{DataFolder, Identity};
use super::join;
use super::ports::{NodePort, Role};
use super::settings::Settings;
use anyhow::Context as _;
use cairn_chunkserver::Chunkserver;
use cairn_client::{Client, ClientConfig, LocalNode};
use cairn_common::auth::{ClusterKey, Secret};
use cairn_common::ids::{Generation, KeyId, NodeId};
use cairn_common::listen::{
    FrameService, Health, ListenOptions, Listener, Shutdown, frames_route, health_routes, install_metrics,
};
use cairn_common::membership::NodeState;
use cairn_common::net::RemoteMaster;
use cairn_common::net::handshake::{Credential, Identity as Proof};
use cairn_common::seam::{Clock, Disk as _, HttpTransport, OsRandom, Random, RealDisk, SystemClock, Transport};
use cairn_common::wire::chunk::ChunkService;
use cairn_common::wire::master::{Caller, Master, MasterCall, MasterReply, MasterRequest};
use cairn_gateway::{Gateway, GatewayOptions};
use cairn_master::{Bootstrap, MasterConfig, MasterFrames, MasterServer};
use std::sync::Arc;
use std::time::Duration;

/// How long running requests may take to finish when the process ends.
const GRACE: Duration = Duration::from_secs(20);

/// What every part of the process shares.
struct Shared {
    settings: Settings,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    transport: Arc<dyn Transport>,
    shutdown: Shutdown,
}

/// The ports of the process, bound.
struct Ports {
    node: Option<Listener>,
    node_url: Option<String>,
    s3: Option<Listener>,
    api: Option<Listener>,
}

/// Runs until `shutdown` begins.
pub(super) async fn serve(settings: Settings, shutdown: Shutdown) -> anyhow::Result<()> {
    let metrics = install_metrics().map_err(anyhow::Error::msg)?;
    let data = DataFolder::open(&RealDisk, &settings.data)?;
    remove_ready(&data)?;
    let ports = bind(&settings).await?;
    let transport = HttpTransport::new(&settings.trust).map_err(anyhow::Error::msg).context("--ca-file")?;
    let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(SystemClock::new()), Arc::new(OsRandom));
    let shared = Shared { settings, clock, random, transport: Arc::new(transport), shutdown: shutdown.clone() };
    for disk in &shared.settings.disks {
        // A disk that cannot be made is one that has failed; the chunkserver reports it and goes on with the others.
        if let Err(error) = RealDisk.create_dir_all(disk) {
            tracing::error!(%error, disk = %disk.display(), "cannot use a disk");
        }
    }
    let identity = match data.identity(&RealDisk)? {
        Some(identity) => identity,
        None => first_start(&shared, &data, ports.node_url.as_deref()).await?,
    };
    tracing::info!(cluster = %identity.cluster, node = %identity.node, name = shared.settings.name, "starting");
    let health = Health::new();
    let node_port = Arc::new(NodePort::default());
    node_port.set_identity(identity.cluster, identity.generation);

    let (master, own_master, remote) = start_master(&shared, &data, &identity, ports.node_url.as_deref()).await?;
    if let Some(own) = &own_master {
        let handler = Arc::new(MasterFrames(Arc::clone(own)));
        node_port.set_master(Role { handler, verifier: Arc::clone(own) as Arc<_> });
    }
    let mut serving = tokio::task::JoinSet::new();
    let chunk_routes = Arc::new(std::sync::OnceLock::new());
    if let Some(listener) = ports.node {
        let router = node_router(&shared, &node_port, health.clone(), Arc::clone(&chunk_routes));
        serving.spawn(listener.serve(router, shutdown.clone(), GRACE));
    }
    let caller = Caller::Node(identity.node);
    let chunkserver = match shared.settings.roles.chunkserver {
        true => Some(start_chunkserver(&shared, &identity, &master, ports.node_url.as_deref()).await?),
        false => None,
    };
    if let Some(chunkserver) = &chunkserver {
        let _ = chunk_routes.set(chunkserver.router());
        let handler = chunkserver.frame_handler();
        node_port.set_chunkserver(Role { handler, verifier: chunkserver.verifier() });
    }
    let mut ready = Ready { node: ports.node_url.clone(), ..Ready::default() };
    let mut client = None;
    if let (Some(s3), Some(api)) = (ports.s3, ports.api) {
        let local = chunkserver.as_ref().map(|chunkserver| LocalNode {
            node: identity.node,
            chunkserver: Arc::clone(chunkserver) as Arc<dyn ChunkService>,
        });
        let config = ClientConfig::new(Vec::<String>::new());
        let transport = Arc::clone(&shared.transport);
        let made = Client::embedded(Arc::clone(&master), remote, caller, local, transport, &config).await?;
        let options = GatewayOptions {
            base_domain: shared.settings.s3_domain.clone(),
            health: health.clone(),
            metrics: Some(metrics),
            ..GatewayOptions::default()
        };
        let gateway = Gateway::new(made.clone(), options);
        (ready.s3, ready.api) = (Some(s3.base_url()?), Some(api.base_url()?));
        serving.spawn(s3.serve(gateway.s3_router(), shutdown.clone(), GRACE));
        serving.spawn(api.serve(gateway.native_router(), shutdown.clone(), GRACE));
        client = Some(made);
    }
    health.set_ready(true);
    write_ready(&data, &ready)?;
    tracing::info!(node = ?ready.node, s3 = ?ready.s3, api = ?ready.api, "ready");

    shutdown.begun().await;
    health.set_ready(false);
    remove_ready(&data)?;
    while serving.join_next().await.is_some() {}
    if let Some(client) = client {
        client.close().await;
    }
    if let Some(chunkserver) = chunkserver {
        chunkserver.stop().await;
    }
    if let Some(own) = own_master {
        own.stop().await;
    }
    tracing::info!("ended");
    Ok(())
}

async fn bind(settings: &Settings) -> anyhow::Result<Ports> {
    let options = ListenOptions { tls: settings.tls.clone(), ..ListenOptions::default() };
    let node = match settings.roles.master || settings.roles.chunkserver {
        true => Some(Listener::bind(&settings.listen, options.clone()).await.context("--listen")?),
        false => None,
    };
    let node_url = match (&settings.advertise, &node) {
        (Some(url), _) => Some(url.trim_end_matches('/').to_owned()),
        (None, Some(node)) => Some(node.base_url()?),
        (None, None) => None,
    };
    let (s3, api) = match settings.roles.gateway {
        true => (
            Some(Listener::bind(&settings.s3_listen, options.clone()).await.context("--s3-listen")?),
            Some(Listener::bind(&settings.api_listen, options).await.context("--api-listen")?),
        ),
        false => (None, None),
    };
    Ok(Ports { node, node_url, s3, api })
}

/// The identity of a node that starts for the first time: from a cluster it joins, or of a new one.
async fn first_start(shared: &Shared, data: &DataFolder, node_url: Option<&str>) -> anyhow::Result<Identity> {
    let identity = match &shared.settings.join {
        Some(join) => join::join(shared_join(shared, node_url)?, join).await?,
        None if shared.settings.roles.master => new_cluster(shared, data)?,
        None => anyhow::bail!(
            "{} is empty and --join is not given. A chunkserver or a gateway joins a cluster: give --join URL of a master and \
             --join-token FILE with a token from `cairn admin join-token create`",
            shared.settings.data.display()
        ),
    };
    data.store_identity(&RealDisk, &identity)?;
    Ok(identity)
}

fn shared_join<'a>(shared: &'a Shared, node_url: Option<&'a str>) -> anyhow::Result<join::Candidate<'a>> {
    Ok(join::Candidate {
        settings: &shared.settings,
        weight: if shared.settings.roles.chunkserver { shared.settings.weight()? } else { 0 },
        address: node_url.unwrap_or_default(),
        transport: &shared.transport,
        clock: &shared.clock,
        random: &shared.random,
    })
}

/// Keys and identity of a new cluster. The state itself is made when the master has started.
fn new_cluster(shared: &Shared, data: &DataFolder) -> anyhow::Result<Identity> {
    let key = Secret::random(shared.random.as_ref());
    RealDisk.replace(&data.file("cluster.key"), hex::encode(key.expose()).as_bytes()).context("cannot write cluster.key")?;
    let mut id = [0; 16];
    shared.random.fill(&mut id);
    let generation = Generation(1);
    let node = NodeId(1);
    let key = ClusterKey::new(key).node_key(generation, node);
    Ok(Identity { cluster: cairn_common::ids::ClusterId(id), generation, node, key })
}

fn read_cluster_key(data: &DataFolder) -> anyhow::Result<ClusterKey> {
    let path = data.file("cluster.key");
    let help = || format!("{}: the cluster key of this master; restore it from a copy", path.display());
    let text = RealDisk.read(&path).with_context(help)?;
    let mut key = [0; 32];
    hex::decode_to_slice(text.trim_ascii(), &mut key).with_context(help)?;
    Ok(ClusterKey::new(Secret::new(key)))
}

type Masters = (Arc<dyn Master>, Option<Arc<MasterServer>>, Option<Arc<RemoteMaster>>);

/// The way to the masters: the one in this process, or those elsewhere.
async fn start_master(
    shared: &Shared,
    data: &DataFolder,
    identity: &Identity,
    node_url: Option<&str>,
) -> anyhow::Result<Masters> {
    let is_master = shared.settings.roles.master && shared.settings.join.is_none();
    if !is_master {
        let join = shared.settings.join.as_ref().context("--join URL of a master is needed")?;
        let credential = Credential { identity: Proof::Node(identity.node), secret: identity.key.handshake() };
        let remote = Arc::new(RemoteMaster::new(
            join.masters.clone(),
            Arc::clone(&shared.transport),
            Arc::clone(&shared.clock),
            Arc::clone(&shared.random),
            credential,
            Some(identity.cluster),
        ));
        return Ok((Arc::clone(&remote) as Arc<dyn Master>, None, Some(remote)));
    }
    let config = MasterConfig {
        folder: data.file("master"),
        node: identity.node,
        cluster: identity.cluster,
        generation: identity.generation,
        cluster_key: read_cluster_key(data)?,
    };
    let own = MasterServer::start(config, Arc::clone(&shared.clock), Arc::clone(&shared.random)).await?;
    if own.is_new().await? {
        bootstrap(shared, data, &own, node_url).await?;
    }
    Ok((Arc::clone(&own) as Arc<dyn Master>, Some(own), None))
}

/// Makes the state of a new cluster, and the first access key. A crash in between is made up for at the next start: the key is
/// written before the state that knows it.
async fn bootstrap(
    shared: &Shared,
    data: &DataFolder,
    own: &MasterServer,
    node_url: Option<&str>,
) -> anyhow::Result<()> {
    let (access, secret) = own.new_key_pair();
    let path = data.file("admin.key");
    RealDisk.replace(&path, format!("{access}\n{secret}\n").as_bytes()).context("cannot write admin.key")?;
    own.bootstrap(Bootstrap {
        replicas: shared.settings.replicas,
        name: shared.settings.name.clone(),
        zone: shared.settings.zone.clone(),
        weight: if shared.settings.roles.chunkserver { shared.settings.weight()? } else { 0 },
        address: node_url.unwrap_or_default().to_owned(),
        roles: shared.settings.roles,
        admin: (access, secret),
    })
    .await?;
    tracing::info!(key = %path.display(), "a new cluster; its first access key is in this file");
    Ok(())
}

async fn start_chunkserver(
    shared: &Shared,
    identity: &Identity,
    master: &Arc<dyn Master>,
    node_url: Option<&str>,
) -> anyhow::Result<Arc<Chunkserver>> {
    let settings = &shared.settings;
    let who = cairn_chunkserver::Identity {
        cluster: identity.cluster,
        generation: identity.generation,
        node: identity.node,
        node_key: identity.key.clone(),
        key: KeyId(identity.generation.0),
    };
    let config = cairn_chunkserver::Config {
        disks: settings.disks.clone(),
        capacity_bytes: settings.disk_capacity,
        address: node_url.unwrap_or_default().to_owned(),
        weight: settings.weight()?,
        zone: settings.zone.clone(),
        ..cairn_chunkserver::Config::default()
    };
    let seams = cairn_chunkserver::Seams::real(Arc::clone(&shared.clock), Arc::clone(&shared.random));
    // Another process may still be the node (a restart that overlaps), or the masters may be starting as well.
    loop {
        match Chunkserver::start(who.clone(), config.clone(), seams.clone(), Arc::clone(master)).await {
            Ok(chunkserver) => return Ok(chunkserver),
            Err(error) if error.kind().is_retryable() => {
                tracing::warn!(%error, "the chunkserver cannot start yet");
                tokio::select! {
                    biased;
                    () = shared.shutdown.begun() => return Err(error.into()),
                    () = shared.clock.sleep(Duration::from_millis(500)) => {}
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Frames, health, and chunk bodies once the chunkserver has started.
fn node_router(
    shared: &Shared,
    node_port: &Arc<NodePort>,
    health: Health,
    chunk_routes: Arc<std::sync::OnceLock<axum::Router>>,
) -> axum::Router {
    let service = FrameService {
        handler: Arc::clone(node_port) as Arc<_>,
        verifier: Arc::clone(node_port) as Arc<_>,
        clock: Arc::clone(&shared.clock),
        random: Arc::clone(&shared.random),
    };
    let chunks = move |request: axum::extract::Request| {
        let routes = chunk_routes.get().cloned();
        async move {
            use axum::response::IntoResponse as _;
            use tower::ServiceExt as _;
            match routes {
                Some(routes) => routes.oneshot(request).await.unwrap_or_else(|never| match never {}),
                None => axum::http::StatusCode::SERVICE_UNAVAILABLE.into_response(),
            }
        }
    };
    frames_route(service).merge(health_routes(health)).fallback(chunks)
}

/// What `DIR/ready` says.
#[derive(Default, serde::Serialize)]
struct Ready {
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    s3: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api: Option<String>,
}

fn write_ready(data: &DataFolder, ready: &Ready) -> anyhow::Result<()> {
    #[derive(serde::Serialize)]
    struct File<'a> {
        pid: u32,
        #[serde(flatten)]
        ready: &'a Ready,
    }
    let file = File { pid: std::process::id(), ready };
    RealDisk.replace(&data.file("ready"), &serde_json::to_vec(&file)?).context("cannot write the file `ready`")
}

fn remove_ready(data: &DataFolder) -> anyhow::Result<()> {
    let path = data.file("ready");
    if RealDisk.exists(&path)? {
        RealDisk.remove(&path).context("cannot remove the file `ready`")?;
    }
    Ok(())
}
