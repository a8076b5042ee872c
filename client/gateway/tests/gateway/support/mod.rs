//! A cluster in memory, a gateway before it on real sockets, and a client that sends exactly what it is told to.

pub(crate) mod chunks;
pub(crate) mod http;
pub(crate) mod masters;
pub(crate) mod sign;

use cairn_client::{Client, ClientConfig, LocalNode};
use cairn_common::ids::NodeId;
use cairn_common::listen::{ListenOptions, Listener, Shutdown};
use cairn_common::seam::{Clock, HttpTransport, OsRandom, SystemClock, TlsTrust};
use cairn_common::wire::master::{Caller, Master};
use cairn_gateway::{Gateway, GatewayOptions};
use chunks::MemoryChunks;
use masters::MemoryMasters;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The first access key of every test cluster: it may do everything.
pub(crate) const ACCESS: &str = "AKROOT";
/// Its secret.
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// A gateway that serves a cluster in memory.
pub(crate) struct TestGateway {
    pub s3: SocketAddr,
    pub(crate) api: SocketAddr,
    pub(crate) masters: Arc<MemoryMasters>,
    pub(crate) chunks: Arc<MemoryChunks>,
    pub(crate) client: Client,
    shutdown: Shutdown,
}

impl TestGateway {
    /// With settings that nobody chose.
    pub(crate) async fn start() -> TestGateway {
        TestGateway::with(GatewayOptions::default(), Arc::new(SystemClock::new())).await
    }

    /// With settings and a clock.
    pub(crate) async fn with(options: GatewayOptions, clock: Arc<dyn Clock>) -> TestGateway {
        TestGateway::at(options, clock, ["127.0.0.1:0", "127.0.0.1:0"]).await
    }

    /// On these addresses: S3, then the native API.
    pub(crate) async fn at(options: GatewayOptions, clock: Arc<dyn Clock>, addresses: [&str; 2]) -> TestGateway {
        let chunks = Arc::new(MemoryChunks::new());
        let masters = Arc::new(MemoryMasters::new(ACCESS, SECRET, Arc::clone(&chunks)));
        let local = LocalNode { node: NodeId(1), chunkserver: Arc::clone(&chunks) as _ };
        let transport = Arc::new(HttpTransport::new(&TlsTrust::System).unwrap());
        let config = ClientConfig::new(["http://127.0.0.1:1"]);
        let master = Arc::clone(&masters) as Arc<dyn Master>;
        let client =
            Client::embedded(master, None, Caller::Node(NodeId(1)), Some(local), transport, &config).await.unwrap();
        let gateway = Gateway::with_seams(client.clone(), options, clock, Arc::new(OsRandom));
        let shutdown = Shutdown::new();
        let mut bound = Vec::new();
        for (router, address) in [gateway.s3_router(), gateway.native_router()].into_iter().zip(addresses) {
            let listener = Listener::bind(address, ListenOptions::default()).await.unwrap();
            bound.push(listener.local_addr().unwrap());
            tokio::spawn(listener.serve(router, shutdown.clone(), Duration::from_secs(5)));
        }
        TestGateway { s3: bound[0], api: bound[1], masters, chunks, client, shutdown }
    }

    /// A gateway with a bucket called `bucket`.
    pub(crate) async fn with_bucket() -> TestGateway {
        let gateway = TestGateway::start().await;
        gateway.masters.make_bucket("bucket");
        gateway
    }

    /// What the cluster has under a key; `None`: nothing.
    pub(crate) fn stored(&self, key: &str) -> Option<cairn_common::file::FileInfo> {
        self.masters.file("bucket", key)
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        self.shutdown.begin();
    }
}

/// Bytes that do not repeat.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
