//! What tests of the upper layers share: a clock that stands still, a small master, and a node on simulated disks.

use crate::start::{Chunkserver, Config, DiskConfig, Identity, Seams, StartError};
use crate::store::index::MemoryIndexes;
use crate::upkeep::UpkeepSettings;
use async_trait::async_trait;
use bytes::Bytes;
use cairn_common::auth::{ClusterKey, Secret, TokenKeys};
use cairn_common::chunk::VerifiedChunk;
use cairn_common::ids::{BootCount, ClusterId, Domain, Generation, KeyId, NodeId, Stamp, VolumeId, WindowId};
use cairn_common::seam::{BodyStream, BoxedIo, CallError, Clock, OsRandom, Pool, Transport};
use cairn_common::sim::SimDisk;
use cairn_common::sim::disk::CrashPolicy;
use cairn_common::wire::chunk::{GetChunk, PutChunk, StatChunk};
use cairn_common::wire::command::{Command, Done, Refusal};
use cairn_common::wire::heal::Orders;
use cairn_common::wire::master::{Caller, Heartbeat, Master, MasterCall, MasterError, MasterReply, MasterRequest};
use futures::future::BoxFuture;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

pub(crate) const DOMAIN: Domain = Domain(1);
pub(crate) const NODE: NodeId = NodeId(3);
pub(crate) const NOW_MS: u64 = 1_000_000;

/// A clock that moves when it is told to.
#[derive(Clone, Debug)]
pub(crate) struct TestClock(Arc<watch::Sender<u64>>);

impl TestClock {
    pub(crate) fn new() -> TestClock {
        TestClock(Arc::new(watch::Sender::new(NOW_MS)))
    }

    pub(crate) fn advance(&self, ms: u64) {
        self.0.send_modify(|now| *now += ms);
    }
}

impl Clock for TestClock {
    fn wall_ms(&self) -> u64 {
        *self.0.borrow()
    }
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.wall_ms())
    }
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (mut now, until) = (self.0.subscribe(), self.wall_ms() + duration.as_millis() as u64);
        Box::pin(async move {
            let _ = now.wait_for(|now| *now >= until).await;
        })
    }
}

/// A master that knows one node.
#[derive(Debug, Default)]
pub(crate) struct TestMaster {
    state: Mutex<MasterState>,
    /// Commands and heartbeats that were executed.
    log: watch::Sender<Vec<String>>,
}

#[derive(Debug, Default)]
struct MasterState {
    boot: u32,
    served: u32,
    volumes: BTreeMap<VolumeId, bool>,
    last: Option<Heartbeat>,
    /// Answers to give instead, one a call.
    errors: VecDeque<MasterError>,
}

impl TestMaster {
    pub(crate) fn new() -> Arc<TestMaster> {
        Arc::new(TestMaster::default())
    }

    pub(crate) fn answer_next_with(&self, error: MasterError) {
        self.state.lock().unwrap().errors.push_back(error);
    }

    pub(crate) fn last_heartbeat(&self) -> Option<Heartbeat> {
        self.state.lock().unwrap().last.clone()
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }

    /// Waits until something like `entry` has been executed.
    pub(crate) async fn executed(&self, entry: &str) {
        let there = |log: &Vec<String>| log.iter().any(|line| line.starts_with(entry));
        self.log.subscribe().wait_for(there).await.unwrap();
    }

    /// Waits until there is one more heartbeat than now.
    pub(crate) async fn next_heartbeat(&self) -> Heartbeat {
        let count = |log: &Vec<String>| log.iter().filter(|line| line.starts_with("Heartbeat")).count();
        let before = count(&self.log.borrow());
        self.log.subscribe().wait_for(|log| count(log) > before).await.unwrap();
        self.last_heartbeat().unwrap()
    }

    fn execute(&self, request: MasterRequest) -> Result<MasterReply, MasterError> {
        let mut state = self.state.lock().unwrap();
        match request {
            MasterRequest::Heartbeat(heartbeat) => {
                if heartbeat.boot.0 != state.boot {
                    return Err(Refusal::StaleBoot { node: NODE, boot: heartbeat.boot }.into());
                }
                state.last = Some(heartbeat);
                Ok(MasterReply::Heard { revision: 0, orders: Orders::default() })
            }
            MasterRequest::Write { session: None, command } => Ok(MasterReply::Done(state.command(command)?)),
            // It knows nothing of references.
            MasterRequest::Placement { .. } => Err(MasterError::Unavailable("not in this test".to_owned())),
            other => panic!("a chunkserver does not ask for {other:?}"),
        }
    }
}

impl MasterState {
    fn command(&mut self, command: Command) -> Result<Done, Refusal> {
        match command {
            Command::Boot { volumes, new_disks, .. } => {
                for (volume, stored) in volumes {
                    let current = BootCount(self.served);
                    if self.volumes.get(&volume) != Some(&true) {
                        return Err(Refusal::NoSuchVolume { node: NODE, volume });
                    }
                    if stored < current {
                        return Err(Refusal::StaleVolume { volume, stored, current });
                    }
                }
                self.boot += 1;
                let first = 1_000 * u64::from(self.boot);
                let new_volumes: Vec<VolumeId> = (first..first + new_disks.len() as u64).map(VolumeId).collect();
                self.volumes.extend(new_volumes.iter().map(|volume| (*volume, true)));
                Ok(Done::Boot { boot: BootCount(self.boot), new_volumes, stamp: Stamp(first) })
            }
            Command::Serve { boot, .. } => {
                self.served = boot.0;
                Ok(Done::Nothing)
            }
            Command::RetireVolume { volume, .. } => {
                self.volumes.insert(volume, false);
                Ok(Done::Nothing)
            }
            other => panic!("a chunkserver does not command {other:?}"),
        }
    }
}

#[async_trait]
impl Master for TestMaster {
    async fn call(&self, caller: &Caller, call: MasterCall) -> Result<MasterReply, MasterError> {
        assert!(matches!(caller, Caller::Node(_)), "{caller:?}");
        if let Some(error) = self.state.lock().unwrap().errors.pop_front() {
            return Err(error);
        }
        let line = match &call.request {
            MasterRequest::Write { command, .. } => format!("{command:?}"),
            other => format!("{other:?}"),
        };
        let answer = self.execute(call.request);
        if answer.is_ok() {
            self.log.send_modify(|log| log.push(line));
        }
        answer
    }
}

/// A network without anyone on it.
pub(crate) struct NoNetwork;

fn nobody(address: &str) -> CallError {
    CallError::Unreachable { address: address.to_owned(), reason: "there is no network in this test".to_owned() }
}

#[async_trait]
impl Transport for NoNetwork {
    async fn connect(&self, address: &str) -> Result<BoxedIo, CallError> {
        Err(nobody(address))
    }
    async fn http(&self, address: &str, _: http::Request<Bytes>) -> Result<http::Response<BodyStream>, CallError> {
        Err(nobody(address))
    }
}

/// A node on a simulated machine.
pub(crate) struct TestNode {
    pub(crate) disk: SimDisk,
    pub(crate) indexes: Arc<MemoryIndexes>,
    pub(crate) clock: TestClock,
    pub(crate) config: Config,
    pub(crate) identity: Identity,
}

impl TestNode {
    pub(crate) fn new(disks: &[&str]) -> TestNode {
        let disk_config = |path: &&str| DiskConfig { path: path.into(), capacity_bytes: Some(200 << 20) };
        let config = Config {
            disks: disks.iter().map(disk_config).collect(),
            address: "http://node".to_owned(),
            zone: "zone".to_owned(),
            weight: 1,
            pack_bytes: Some(0),
            index_lag_bytes: None,
            upkeep: UpkeepSettings::default(),
        };
        let identity = Identity {
            cluster: ClusterId([1; 16]),
            generation: Generation(1),
            node: NODE,
            key: cluster_key().node_key(Generation(1), NODE),
            key_id: KeyId(1),
        };
        let (disk, indexes) = (SimDisk::new(1), Arc::new(MemoryIndexes::default()));
        TestNode { disk, indexes, clock: TestClock::new(), config, identity }
    }

    pub(crate) fn seams(&self) -> Seams {
        Seams {
            clock: Arc::new(self.clock.clone()),
            random: Arc::new(OsRandom),
            transport: Arc::new(NoNetwork),
            disk: Arc::new(self.disk.clone()),
            indexes: Arc::clone(&self.indexes) as Arc<dyn crate::store::index::Indexes>,
            reading: Pool::new(4),
            computing: Pool::new(2),
        }
    }

    pub(crate) async fn start(&self, master: &Arc<TestMaster>) -> Result<Chunkserver, StartError> {
        let master = Arc::clone(master) as Arc<dyn Master>;
        Chunkserver::start(self.identity.clone(), self.config.clone(), self.seams(), master).await
    }

    pub(crate) fn crash(&self, policy: CrashPolicy) {
        self.disk.crash(policy);
        self.indexes.crash();
    }
}

pub(crate) fn cluster_key() -> ClusterKey {
    ClusterKey::new(Secret::new([9; 32]))
}

/// What masters hold to make tokens for [`NODE`] and to check its receipts.
pub(crate) fn token_keys() -> TokenKeys {
    TokenKeys::new(KeyId(1), NODE, &cluster_key().node_key(Generation(1), NODE))
}

pub(crate) fn chunk(number: u32, bytes: usize) -> VerifiedChunk {
    let mut data = vec![0; bytes];
    blake3::Hasher::new().update(&number.to_be_bytes()).finalize_xof().fill(&mut data);
    VerifiedChunk::hash(DOMAIN, Bytes::from(data), |_| ())
}

/// A write of `chunk` under `window`, allowed.
pub(crate) fn put_request(chunk: &VerifiedChunk, window: u64) -> PutChunk {
    let token = token_keys().write_token(DOMAIN, WindowId(window), 64 << 20, NOW_MS + 60_000);
    PutChunk { address: chunk.address(), token, epoch: cairn_common::ids::Epoch(1) }
}

/// A read of all of `chunk`, allowed.
pub(crate) fn get_request(chunk: &VerifiedChunk) -> GetChunk {
    let token = token_keys().read_token(&chunk.address(), NOW_MS + 60_000);
    GetChunk { address: chunk.address(), token, start: 0, end: chunk.length() }
}

/// A question about `chunk`, allowed.
pub(crate) fn stat_request(chunk: &VerifiedChunk) -> StatChunk {
    StatChunk { address: chunk.address(), token: get_request(chunk).token }
}
