//! What a process listens on, and the frames that come in on its node port.

use super::settings::Settings;
use super::tls::Slots;
use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use cairn_common::ids::{ClusterId, Generation};
use cairn_common::listen::{CertificateSlot, ListenOptions, Listener};
use cairn_common::net::FrameHandler;
use cairn_common::net::handshake::{Identity, Verifier, Vouched};
use cairn_common::wire::frame::Service;
use cairn_common::wire::master::Caller;
use std::sync::{Arc, OnceLock};

/// The ports of a process, bound.
pub(super) struct Ports {
    pub(super) node: Option<Listener>,
    /// Base URL under which others reach the node port.
    pub(super) node_url: Option<String>,
    /// Base URL that stands for this process among the cluster's nodes: the node port's, or of a gateway alone the HTTP API's.
    pub(super) address: String,
    pub(super) s3: Option<Listener>,
    pub(super) api: Option<Listener>,
}

impl Ports {
    /// Binds what the roles need.
    pub(super) async fn bind(settings: &Settings, slots: &Slots) -> anyhow::Result<Ports> {
        let options = |tls: &Option<CertificateSlot>| ListenOptions { tls: tls.clone(), ..ListenOptions::default() };
        let mut ports = Ports { node: None, node_url: None, address: String::new(), s3: None, api: None };
        if settings.roles.master || settings.roles.chunkserver {
            let node = Listener::bind(&settings.listen, options(&slots.node)).await.context("--listen")?;
            let url = settings.advertise.as_ref().map(|url| url.trim_end_matches('/').to_owned());
            ports.node_url = Some(url.map_or_else(|| node.base_url(), Ok)?);
            ports.node = Some(node);
        }
        if settings.roles.gateway {
            ports.s3 = Some(Listener::bind(&settings.s3_listen, options(&slots.public)).await.context("--s3-listen")?);
            ports.api =
                Some(Listener::bind(&settings.api_listen, options(&slots.public)).await.context("--api-listen")?);
        }
        ports.address = match (&ports.node_url, &ports.api) {
            (Some(url), _) => url.clone(),
            (None, Some(api)) => api.base_url()?,
            (None, None) => unreachable!("every role has a port"),
        };
        Ok(ports)
    }
}

/// The roles behind one node port. Each is put in when it has started; calls before that are refused.
pub(super) struct NodePort {
    identity: (ClusterId, Generation),
    master: OnceLock<Role>,
    chunkserver: OnceLock<Role>,
}

/// What a role answers with.
#[derive(Clone)]
pub(super) struct Role {
    pub(super) handler: Arc<dyn FrameHandler>,
    pub(super) verifier: Arc<dyn Verifier>,
}

impl NodePort {
    pub(super) fn new(cluster: ClusterId, generation: Generation) -> NodePort {
        NodePort { identity: (cluster, generation), master: OnceLock::new(), chunkserver: OnceLock::new() }
    }

    pub(super) fn set_master(&self, role: Role) {
        let _ = self.master.set(role);
    }

    pub(super) fn set_chunkserver(&self, role: Role) {
        let _ = self.chunkserver.set(role);
    }

    fn role(&self, service: Service) -> Option<&Role> {
        match service {
            Service::Master | Service::Raft => self.master.get(),
            Service::Chunk => self.chunkserver.get(),
            Service::Connection => None,
        }
    }
}

#[async_trait]
impl FrameHandler for NodePort {
    async fn request(&self, caller: &Caller, service: Service, body: Bytes) -> Option<Bytes> {
        self.role(service)?.handler.request(caller, service, body).await
    }

    async fn message(&self, caller: &Caller, service: Service, body: Bytes) -> Option<()> {
        self.role(service)?.handler.message(caller, service, body).await
    }
}

#[async_trait]
impl Verifier for NodePort {
    /// Whichever role knows the identity vouches for it.
    async fn secret_of(&self, identity: &Identity) -> Vouched {
        let mut unknown = Ok(None);
        for role in [self.master.get(), self.chunkserver.get()].into_iter().flatten() {
            match role.verifier.secret_of(identity).await {
                Ok(None) => {}
                Err(not_now) => unknown = Err(not_now),
                known => return known,
            }
        }
        unknown
    }

    fn server(&self) -> (ClusterId, Generation) {
        self.identity
    }
}
