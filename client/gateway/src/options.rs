//! What can be set.

use crate::limits::REQUESTS_MAX;
use cairn_common::listen::Health;
use std::sync::Arc;

/// Renders the process's metrics in the Prometheus text format.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// Settings of a gateway.
#[derive(Clone)]
pub struct GatewayOptions {
    /// The region that clients sign for.
    pub region: String,
    /// Host names under which buckets are addressed as `BUCKET.NAME`. Without any, only path-style addresses work; requests to
    /// other hosts are always path-style.
    pub base_domains: Vec<String>,
    /// Refuse S3 bodies that no signature covers (`UNSIGNED-PAYLOAD` and its relatives).
    pub require_signed_payload: bool,
    /// Requests that are served at a time, both APIs together.
    pub requests_max: usize,
    /// What `/readyz` says.
    pub health: Health,
    /// What `/metrics` says; `None`: nothing.
    pub metrics: Option<MetricsText>,
}

impl Default for GatewayOptions {
    fn default() -> GatewayOptions {
        GatewayOptions {
            region: "us-east-1".to_owned(),
            base_domains: Vec::new(),
            require_signed_payload: false,
            requests_max: REQUESTS_MAX,
            health: Health::new(),
            metrics: None,
        }
    }
}

impl std::fmt::Debug for GatewayOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayOptions")
            .field("region", &self.region)
            .field("base_domains", &self.base_domains)
            .field("require_signed_payload", &self.require_signed_payload)
            .field("requests_max", &self.requests_max)
            .finish_non_exhaustive()
    }
}
