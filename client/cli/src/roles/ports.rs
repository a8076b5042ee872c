//! What a process listens on, and the frames that come in on its node port.

use async_trait::async_trait;
use bytes::Bytes;
use cairn_common::auth::Secret;
use cairn_common::ids::{ClusterId, Generation};
use cairn_common::net::FrameHandler;
use cairn_common::net::handshake::{Identity, Verifier};
use cairn_common::wire::frame::Service;
use cairn_common::wire::master::Caller;
use std::sync::{Arc, OnceLock};

/// The roles behind one node port. Each is put in when it has started; calls before that are refused.
#[derive(Default)]
pub(super) struct NodePort {
    identity: OnceLock<(ClusterId, Generation)>,
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
    pub(super) fn set_identity(&self, cluster: ClusterId, generation: Generation) {
        let _ = self.identity.set((cluster, generation));
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
    async fn secret_of(&self, identity: &Identity) -> Option<(Secret, Caller)> {
        for role in [self.master.get(), self.chunkserver.get()].into_iter().flatten() {
            if let Some(known) = role.verifier.secret_of(identity).await {
                return Some(known);
            }
        }
        None
    }

    fn server(&self) -> (ClusterId, Generation) {
        self.identity.get().copied().unwrap_or((ClusterId([0; 16]), Generation(0)))
    }
}
