//! A gateway before a cluster in memory, for trying clients on: `cargo run --release --example in_memory -- [S3 [API]]`. Prints
//! what `scripts/cluster up` prints. Everything is lost when it ends.

#[path = "../tests/gateway/support/mod.rs"]
#[allow(dead_code, reason = "the tests use the rest of it")]
mod support;

use cairn_common::seam::SystemClock;
use cairn_gateway::GatewayOptions;
use std::sync::Arc;

#[tokio::main]
async fn main() {
    let addresses: Vec<String> = std::env::args().skip(1).collect();
    let address = |at: usize| addresses.get(at).map_or("127.0.0.1:0", String::as_str);
    let options = GatewayOptions { base_domains: vec!["s3.localhost".to_owned()], ..GatewayOptions::default() };
    options.health.set_ready(true);
    let gateway = support::TestGateway::at(options, Arc::new(SystemClock::new()), [address(0), address(1)]).await;
    println!(
        "endpoint=http://{} api=http://{} region=us-east-1 access={} secret={} pids={}",
        gateway.s3,
        gateway.api,
        support::ACCESS,
        support::SECRET,
        std::process::id()
    );
    std::future::pending::<()>().await;
}
