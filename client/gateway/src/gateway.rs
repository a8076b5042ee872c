//! The gateway: what it is made of, and the two routers it serves.

use crate::front::Front;
use crate::options::GatewayOptions;
use crate::{native, s3};
use axum::Router;
use cairn_client::Client;
use cairn_common::seam::{Clock, OsRandom, Random, SystemClock};
use std::sync::Arc;

/// Both ways in over HTTP. Stateless: any number of gateways may serve one cluster, and a restart loses nothing. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    front: Arc<Front>,
}

impl Gateway {
    /// A gateway to the cluster of `client`, which must be allowed to ask in the names of others: a node with the gateway role.
    pub fn new(client: Client, options: GatewayOptions) -> Gateway {
        Gateway::with_seams(client, options, Arc::new(SystemClock::new()), Arc::new(OsRandom))
    }

    /// The same with other sources of time and chance.
    pub fn with_seams(
        client: Client,
        options: GatewayOptions,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Gateway {
        Gateway { front: Arc::new(Front::new(client, options, clock, random)) }
    }

    /// S3, for a port of its own: buckets are at the root of its paths.
    pub fn s3_router(&self) -> Router {
        s3::router(Arc::clone(&self.front))
    }

    /// The native HTTP API under `/v1`, with `/healthz`, `/readyz` and `/metrics`.
    pub fn native_router(&self) -> Router {
        native::router(Arc::clone(&self.front))
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("options", &self.front.options).finish_non_exhaustive()
    }
}
