//! What both APIs have in common: the client, the clocks, and the bounds.

use crate::credentials::Credentials;
use crate::observe::RequestLog;
use crate::options::GatewayOptions;
use crate::upload::{Drain, IncomingBody};
use axum::body::Body;
use cairn_client::Client;
use cairn_common::cors::CorsRule;
use cairn_common::ids::{Stamp, TenantId};
use cairn_common::name::BucketName;
use cairn_common::seam::{Clock, Random};
use cairn_common::wire::master::{Actor, Asking, Credential, KeyInfo};
use http::{HeaderMap, HeaderValue, header};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The parts of a gateway, shared by everything that serves.
pub(crate) struct Front {
    client: Client,
    pub(crate) options: GatewayOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) credentials: Credentials,
    /// One permit for each running request.
    pub(crate) running: Arc<Semaphore>,
    drain: Arc<Drain>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// In whose name the cluster is asked.
    pub(crate) actor: Actor,
    /// Key and secret; of nobody: a key that allows nothing.
    pub(crate) credential: Arc<Credential>,
}

impl Identity {
    /// The holder of an access key whose signature or secret was checked.
    pub(crate) fn of(credential: Arc<Credential>) -> Identity {
        Identity { actor: Actor::Key(credential.key.access.clone()), credential }
    }

    /// Nobody in particular: a request without credentials. The masters show it what a bucket shows to everybody.
    pub(crate) fn nobody() -> Identity {
        let key = KeyInfo {
            access: String::new(),
            name: String::new(),
            tenant: TenantId(0),
            cluster_admin: false,
            grants: Vec::new(),
            created: Stamp::ZERO,
            expires: None,
        };
        Identity { actor: Actor::Anonymous, credential: Arc::new(Credential { key, secret: String::new() }) }
    }

    /// The same, with what is known about the request; `credential`: `None` if none came with it.
    pub(crate) fn asking(credential: Option<Arc<Credential>>, asking: Asking) -> Identity {
        let credential = credential.unwrap_or_else(|| Identity::nobody().credential);
        Identity { actor: Actor::Asking(Box::new(asking)), credential }
    }

    /// Whether no credentials came with the request.
    pub(crate) fn is_nobody(&self) -> bool {
        match &self.actor {
            Actor::Anonymous => true,
            Actor::Key(_) => false,
            Actor::Asking(asking) => asking.access.is_none(),
        }
    }

    /// The key, and what it allows.
    pub(crate) fn key(&self) -> &KeyInfo {
        &self.credential.key
    }
}

impl Front {
    pub(crate) fn new(
        client: Client,
        options: GatewayOptions,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Front {
        let credentials = Credentials::new(client.clone(), Arc::clone(&clock));
        let running = Arc::new(Semaphore::new(options.requests_max));
        let drain = Arc::new(Drain::new(Arc::clone(&clock)));
        Front { client, options, clock, random, credentials, running, drain }
    }

    /// The client, asking in the name of somebody.
    pub(crate) fn client_of(&self, identity: &Identity) -> Client {
        self.client.acting_as(identity.actor.clone())
    }

    /// The rules for cross-origin access of a bucket; none, if it is not there.
    pub(crate) async fn cors(&self, bucket: &BucketName) -> Result<Vec<CorsRule>, cairn_client::Error> {
        let missing = |problem: &cairn_client::Error| {
            tracing::debug!(%problem, "rules for cross-origin access cannot be had");
        };
        self.client.cors(bucket).await.inspect_err(missing)
    }

    /// Takes over the body of a request.
    pub(crate) fn body(&self, headers: &HeaderMap, body: Body, log: &RequestLog) -> IncomingBody {
        IncomingBody::new(body, expects_continue(headers), log.bytes_in(), Arc::clone(&self.drain))
    }
}

/// Whether the client waits for `100 Continue` before it sends its body.
pub(crate) fn expects_continue(headers: &HeaderMap) -> bool {
    headers
        .get(header::EXPECT)
        .map(HeaderValue::as_bytes)
        .is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
}

/// `Content-Length`, if there is one. The listener has refused requests with contradictory ones.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
