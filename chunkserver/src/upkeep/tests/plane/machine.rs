//! Machines: disks that outlive what runs on them, and the chunkserver that does.

use super::clock::MachineClock;
use super::masters::{Masters, MastersOf};
use super::network::{Network, Reach, Ways};
use super::record::Event;
use crate::start::{Chunkserver, Config, DiskConfig, Identity, Seams};
use crate::store::index::{After, Indexes, MemoryIndexes};
use crate::store::volume::{Health, Volume};
use crate::testing::{NoNetwork, cluster_key};
use crate::upkeep::UpkeepSettings;
use cairn_common::chunk::ChunkAddress;
use cairn_common::ids::{ClusterId, Generation, KeyId, NodeId, Slot, VolumeId};
use cairn_common::seam::{Disk, DiskFile, DiskSpace, OpenMode, Pool};
use cairn_common::sim::disk::CrashPolicy;
use cairn_common::sim::{SeededRandom, SimDisk};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// What each of the two volumes may use.
const VOLUME_BYTES: u64 = super::DISKS_BYTES / 2;

/// Disks as one process sees them. What is left of it when it is dead does nothing to them.
struct OfProcess {
    disk: SimDisk,
    alive: Arc<AtomicBool>,
}

impl OfProcess {
    fn disk(&self) -> io::Result<&SimDisk> {
        if self.alive.load(Ordering::Relaxed) { Ok(&self.disk) } else { Err(io::Error::other("the process is dead")) }
    }
}

impl Disk for OfProcess {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        self.disk()?.open(path, mode)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk()?.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.disk()?.list(path)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk()?.exists(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk()?.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk()?.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk()?.sync_dir(path)
    }
    fn space(&self, path: &Path) -> io::Result<DiskSpace> {
        self.disk()?.space(path)
    }
}

/// A chunkserver that runs.
struct Process {
    server: Chunkserver,
    died: watch::Sender<bool>,
}

/// What became of a start, and of which life it is.
type Started = Arc<Mutex<Option<Result<Chunkserver, String>>>>;

/// A machine.
pub(super) struct Machine {
    pub(super) id: NodeId,
    pub(super) disk: SimDisk,
    pub(super) off_ms: Arc<AtomicI64>,
    /// When it is started again, if it does not run.
    pub(super) down_until: u64,
    /// What was visible on it, on disks in service, when it last stopped running.
    pub(super) held: BTreeMap<ChunkAddress, VolumeId>,
    /// How many times it was started.
    starts: u64,
    seed: u64,
    scrub_pause: Duration,
    indexes: Arc<MemoryIndexes>,
    alive: Arc<AtomicBool>,
    starting: Option<(tokio::task::JoinHandle<()>, Started)>,
    process: Option<Process>,
}

impl Machine {
    pub(super) fn new(id: NodeId, seed: u64, scrub_pause: Duration) -> Machine {
        let seed = seed.wrapping_mul(1_000).wrapping_add(u64::from(id.0));
        Machine {
            id,
            disk: SimDisk::with_capacity(seed, super::DISKS_BYTES),
            off_ms: Arc::default(),
            down_until: 0,
            held: BTreeMap::new(),
            starts: 0,
            seed,
            scrub_pause,
            indexes: Arc::default(),
            alive: Arc::default(),
            starting: None,
            process: None,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    pub(super) fn server(&self) -> Option<&Chunkserver> {
        self.process.as_ref().map(|process| &process.server)
    }

    /// Whether nothing of it runs, is being started, or still stops.
    fn is_off(&self) -> bool {
        self.process.is_none() && self.starting.is_none() && !self.alive.load(Ordering::Relaxed)
    }

    /// Begins to start it, if it is off and time has come.
    pub(super) fn start_if_due(&mut self, masters: &Arc<Masters>, network: &Arc<Network>) {
        if self.is_off() && self.down_until <= network.timeline.now_ms() {
            self.start(masters, network);
        }
    }

    /// What is visible on it, on disks in service; as it last was, if it does not run.
    pub(super) fn holds(&self, address: &ChunkAddress) -> bool {
        let Some(Process { server, .. }) = &self.process else { return self.held.contains_key(address) };
        let mut volumes = server.service().store().volumes().iter().filter(|volume| self.counts(volume));
        volumes.any(|volume| volume.find(address).is_ok_and(|row| row.is_some()))
    }

    /// Whether what is on a volume counts: it is in service, or fails only because the power is off and nobody has noticed.
    fn counts(&self, volume: &Volume) -> bool {
        match volume.health() {
            Health::Serving => true,
            Health::Failed(_) => !self.disk.has_power(),
            Health::Retired(_) => false,
        }
    }

    fn look(&self) -> BTreeMap<ChunkAddress, VolumeId> {
        let mut held = BTreeMap::new();
        let Some(Process { server, .. }) = &self.process else { return held };
        for volume in server.service().store().volumes().iter().filter(|volume| self.counts(volume)) {
            let rows = volume.scan(After::SlotStart(Slot(0)), Slot(u16::MAX), usize::MAX).unwrap_or_default();
            held.extend(rows.into_iter().map(|(address, _)| (address, volume.id())));
        }
        held
    }

    /// All that is visible now.
    pub(super) fn rows(&self) -> BTreeMap<ChunkAddress, VolumeId> {
        if self.is_running() { self.look() } else { self.held.clone() }
    }

    fn start(&mut self, masters: &Arc<Masters>, network: &Arc<Network>) {
        self.starts += 1;
        self.alive = Arc::new(AtomicBool::new(true));
        let disk = OfProcess { disk: self.disk.clone(), alive: Arc::clone(&self.alive) };
        let clock = MachineClock { timeline: network.timeline.clone(), off_ms: Arc::clone(&self.off_ms) };
        let seams = Seams {
            clock: Arc::new(clock),
            random: Arc::new(SeededRandom::new(self.seed ^ (self.starts << 40))),
            transport: Arc::new(NoNetwork),
            disk: Arc::new(disk),
            indexes: Arc::clone(&self.indexes) as Arc<dyn Indexes>,
            reading: Pool::of_callers(),
            computing: Pool::of_callers(),
        };
        let id = self.id;
        let key = cluster_key().node_key(Generation(1), id);
        let identity =
            Identity { cluster: ClusterId([1; 16]), generation: Generation(1), node: id, key, key_id: KeyId(1) };
        let disk = |path: &str| DiskConfig { path: path.into(), capacity_bytes: Some(VOLUME_BYTES) };
        let config = Config {
            disks: vec![disk("/disk-1"), disk("/disk-2")],
            address: format!("http://n{id}"),
            zone: format!("z{id}"),
            weight: 1,
            pack_bytes: Some(0),
            index_lag_bytes: Some(64 << 10),
            upkeep: UpkeepSettings {
                pause: Duration::from_secs(8),
                fetch_bytes_per_second: u64::MAX,
                scrub_pause: self.scrub_pause,
                scrub_bytes_per_second: u64::MAX,
            },
        };
        let master = Arc::new(MastersOf(Arc::clone(masters), Arc::clone(network)));
        let ways = Box::new(Ways(Arc::clone(network), id));
        let started = Started::default();
        let outcome = Arc::clone(&started);
        let task = tokio::spawn(async move {
            let server = Chunkserver::start_among(identity, config, seams, master, ways).await;
            *outcome.lock().unwrap() = Some(server.map_err(|error| error.to_string()));
        });
        self.starting = Some((task, started));
    }

    /// Whether it has come up since it was asked last. An error: it cannot start.
    pub(super) fn has_started(&mut self, network: &Network) -> Result<bool, String> {
        let Some((_, started)) = &self.starting else { return Ok(false) };
        let outcome = started.lock().unwrap().take();
        let Some(outcome) = outcome else { return Ok(false) };
        self.starting = None;
        let server = outcome?;
        let died = watch::Sender::new(false);
        let reach = Reach { service: Arc::clone(server.service()), died: died.subscribe() };
        network.reach.lock().unwrap().insert(self.id, reach);
        network.record.note(Event::Start, &[u64::from(self.id.0)]);
        self.process = Some(Process { server, died });
        Ok(true)
    }

    /// Nothing of what runs does anything any more.
    fn end(&mut self, network: &Network) {
        if self.is_running() {
            self.held = self.look();
        }
        self.alive.store(false, Ordering::Relaxed);
        network.reach.lock().unwrap().remove(&self.id);
        if let Some((task, _)) = self.starting.take() {
            task.abort();
        }
        if let Some(process) = self.process.take() {
            process.died.send_replace(true);
        }
    }

    /// The power goes, or the process is killed.
    pub(super) fn crash(&mut self, network: &Network, policy: CrashPolicy) {
        self.end(network);
        self.disk.crash(policy);
        self.indexes.crash();
        network.record.note(Event::Crash, &[u64::from(self.id.0)]);
    }

    /// It is told to stop, and does.
    pub(super) fn stop(&mut self, network: &Network) -> Option<impl Future<Output = ()> + use<>> {
        self.held = self.look();
        let Process { server, died } = self.process.take()?;
        network.reach.lock().unwrap().remove(&self.id);
        network.record.note(Event::Stop, &[u64::from(self.id.0)]);
        let alive = Arc::clone(&self.alive);
        Some(async move {
            died.send_replace(true);
            server.stop().await;
            alive.store(false, Ordering::Relaxed);
        })
    }
}
