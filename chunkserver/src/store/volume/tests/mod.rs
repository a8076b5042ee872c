//! Tests of a whole volume, on the simulated disk and on the real one.

mod basics;
mod compaction;
mod crash;
mod damage;
mod faults;
mod recovery;
mod space;
mod stress;

use super::super::index::{ChunkIndex, Indexes, MemoryIndex, MemoryIndexes, RocksIndexes};
use super::super::pack::{PackNumber, Position};
use super::active::ActivePack;
use super::changes::Changes;
use super::group::Group;
use super::{
    Admission, AppendError, Finding, Placed, ReadError, Removal, Volume, VolumeError, VolumeFolder, VolumeIdentity,
    VolumeSeams, VolumeSettings,
};
use bytes::Bytes;
use cairn_common::chunk::{ChunkAddress, VerifiedChunk};
use cairn_common::ids::{BootCount, ClusterId, Domain, Generation, NodeId, Stamp, VolumeId};
use cairn_common::seam::{Disk, RealDisk, SystemClock, Threads};
use cairn_common::sim::disk::CrashPolicy;
use cairn_common::sim::{SeededRandom, SimDisk};
use cairn_common::wire::chunk::ChunkSlice;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const MIB: usize = 1 << 20;
const ROOT: &str = "/volume";

/// Waits for an answer of an appender.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A place where a volume can be started again and again.
struct Rig {
    disk: Arc<dyn Disk>,
    indexes: Arc<dyn Indexes>,
    root: PathBuf,
    boot: u32,
    settings: VolumeSettings,
}

impl Rig {
    fn new(disk: Arc<dyn Disk>, indexes: Arc<dyn Indexes>, root: &Path) -> Rig {
        let settings = VolumeSettings { pack_bytes: Some(0), ..VolumeSettings::default() };
        Rig { disk, indexes, root: root.to_owned(), boot: 0, settings }
    }

    /// Starts the volume as the masters would admit it.
    fn start(&mut self) -> Result<Volume, VolumeError> {
        self.boot += 1;
        let folder = VolumeFolder::lock(Arc::clone(&self.disk), &self.root)?;
        let seams = VolumeSeams {
            clock: Arc::new(SystemClock::new()),
            random: &SeededRandom::new(u64::from(self.boot)),
            indexes: &*self.indexes,
            failed: Arc::default(),
            threads: Threads::Own,
        };
        Volume::start(folder, self.admission(), &seams, self.settings)
    }

    fn admission(&self) -> Admission {
        Admission {
            cluster: ClusterId([1; 16]),
            generation: Generation(1),
            node: NodeId(1),
            volume: VolumeId(77),
            boot: BootCount(self.boot),
            stamp: Stamp::from_ms(1_000 * u64::from(self.boot)),
        }
    }

    fn identity(&self) -> VolumeIdentity {
        VolumeIdentity::decode(&self.disk.read(&self.root.join("volume.identity")).unwrap()).unwrap()
    }

    fn pack_path(&self, number: u32) -> PathBuf {
        self.root.join(format!("packs/{number:08x}.pack"))
    }

    /// Writes a pack as an appender would, group by group, without telling any index. Returns where each record lies.
    fn write_pack(&self, number: u32, groups: &[&[Entry]]) -> Vec<Position> {
        let folder = VolumeFolder::lock(Arc::clone(&self.disk), &self.root).unwrap();
        let identity = self.identity();
        let mut pack = ActivePack::create(&folder, &identity, PackNumber(number), 5 << 20).unwrap();
        let mut positions = Vec::new();
        for entries in groups {
            let changes = Changes::new(Arc::new(MemoryIndex::default()), Arc::default());
            let mut group = Group::new(Some(&pack), changes);
            for entry in *entries {
                positions.push(match entry {
                    Entry::Chunk(chunk) => group.append_chunk(chunk, Stamp(5)),
                    Entry::Tombstone(address) => group.append_tombstone(*address),
                });
            }
            group.make_durable(Some(&mut pack)).unwrap();
        }
        positions
    }
}

/// A record for [`Rig::write_pack`].
enum Entry {
    Chunk(VerifiedChunk),
    Tombstone(ChunkAddress),
}

/// A simulated disk with a volume on it, and its index.
struct Sim {
    rig: Rig,
    disk: SimDisk,
    indexes: Arc<MemoryIndexes>,
}

impl Sim {
    fn new() -> Sim {
        Sim::with_capacity(1 << 30)
    }

    fn with_capacity(bytes: u64) -> Sim {
        let (disk, indexes) = (SimDisk::with_capacity(1, bytes), Arc::new(MemoryIndexes::default()));
        let rig = Rig::new(Arc::new(disk.clone()), Arc::clone(&indexes) as Arc<dyn Indexes>, Path::new(ROOT));
        Sim { rig, disk, indexes }
    }

    /// A volume that was started once, and is stopped.
    fn started_once() -> Sim {
        let mut sim = Sim::new();
        drop(sim.start());
        sim
    }

    fn start(&mut self) -> Volume {
        self.rig.start().unwrap()
    }

    /// Everything dies. What the index had not flushed is gone in any case.
    fn crash(&self, policy: CrashPolicy) {
        self.disk.crash(policy);
        self.indexes.crash();
    }

    /// The process dies; the machine, its page cache and its disk do not notice.
    fn crash_process(&self) {
        self.indexes.crash();
    }

    fn index(&self) -> MemoryIndex {
        self.indexes.get(&self.rig.root.join("index")).unwrap()
    }

    fn lose_index(&self) {
        self.indexes.lose(&self.rig.root.join("index"));
    }

    /// Flips bits of a pack's byte on the disk.
    fn damage(&self, at: Position, byte: u32) {
        self.disk.damage(&self.rig.pack_path(at.pack.0), u64::from(at.offset + byte), 0x40);
    }
}

/// Runs a case on the simulated disk with the index in memory, and on the real disk with RocksDB.
fn on_both(case: impl Fn(&mut Rig)) {
    case(&mut Sim::new().rig);
    let folder = tempfile::tempdir().unwrap();
    let indexes = Arc::new(RocksIndexes::with_memory(1 << 20, 8 << 20));
    case(&mut Rig::new(Arc::new(RealDisk), indexes, &folder.path().join("disk-1")));
}

/// A chunk of `bytes` bytes that differs for every number. Made once, so that tests that need it a thousand times are quick.
fn chunk(number: u32, bytes: usize) -> VerifiedChunk {
    static MADE: Mutex<BTreeMap<(u32, usize), VerifiedChunk>> = Mutex::new(BTreeMap::new());
    let make = || {
        let mut data = vec![0; bytes];
        blake3::Hasher::new().update(&number.to_be_bytes()).finalize_xof().fill(&mut data);
        VerifiedChunk::hash(Domain(1), Bytes::from(data), |_| ())
    };
    MADE.lock().unwrap().entry((number, bytes)).or_insert_with(make).clone()
}

/// Puts as the service does: look first, then append or confirm.
fn put(volume: &Volume, chunk: &VerifiedChunk) -> Result<Placed, AppendError> {
    put_touched(volume, chunk, 10)
}

fn put_touched(volume: &Volume, chunk: &VerifiedChunk, touched: u64) -> Result<Placed, AppendError> {
    let prepared = volume.prepare(&chunk.address()).map_err(|error| AppendError::Failed(error.to_string()))?;
    block_on(volume.put(chunk.clone(), Stamp(touched), prepared))
}

fn touch(volume: &Volume, address: ChunkAddress, touched: u64) -> Result<Option<Placed>, AppendError> {
    let prepared = volume.prepare(&address).map_err(|error| AppendError::Failed(error.to_string()))?;
    if prepared.row.is_none() {
        return Ok(None);
    }
    block_on(volume.touch(address, Stamp(touched), prepared))
}

fn remove(volume: &Volume, address: ChunkAddress) -> Result<Removal, AppendError> {
    block_on(volume.remove(address, Box::new(|_| true)))
}

/// What a reader gets: the bytes, verified against nothing but the address, or an error.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    Right,
    Absent,
    Error,
}

/// Reads a chunk as a reader does, whole and in two halves, and checks it as a reader does.
///
/// # Panics
/// If bytes pass the check that are not the chunk's.
fn read(volume: &Volume, chunk: &VerifiedChunk) -> Read {
    let group = cairn_common::limits::GROUP_BYTES.min(chunk.length());
    let halves = [(0, group), (group - group % (64 << 10), chunk.length())];
    let ranges = halves.into_iter().filter(|(start, end)| start < end);
    let reads = ranges.map(|(start, end)| read_range(volume, chunk, start, end));
    reads.fold(read_whole(volume, chunk), |worst, read| if worst == Read::Right { read } else { worst })
}

/// The same, whole only.
fn read_whole(volume: &Volume, chunk: &VerifiedChunk) -> Read {
    read_range(volume, chunk, 0, chunk.length())
}

fn read_range(volume: &Volume, chunk: &VerifiedChunk, start: u32, end: u32) -> Read {
    let reader = match volume.open(&chunk.address()) {
        Ok(reader) => reader,
        Err(ReadError::Absent) => return Read::Absent,
        Err(_) => return Read::Error,
    };
    if reader.length() != chunk.length() {
        return Read::Error;
    }
    let Ok(data) = reader.read(start, end) else { return Read::Error };
    let slice = ChunkSlice { chunk_length: reader.length(), outboard: reader.outboard().clone(), start, data };
    if slice.verify(&chunk.address()).is_err() {
        return Read::Error;
    }
    assert_eq!(slice.data, chunk.data().slice(start as usize..end as usize), "wrong bytes passed the check");
    Read::Right
}

/// What the index says must agree with itself.
fn check_counts(index: &dyn ChunkIndex) {
    use cairn_common::ids::Slot;
    let rows = index.scan(super::super::index::After::SlotStart(Slot(0)), Slot(u16::MAX), usize::MAX).unwrap();
    let mut counted: BTreeMap<PackNumber, (u32, u64)> = BTreeMap::new();
    for (_, row) in rows {
        let pack = counted.entry(row.position.pack).or_default();
        pack.0 += 1;
        pack.1 += u64::from(super::super::pack::RecordHeader::chunk_bytes(row.length));
    }
    for (number, row) in index.packs().unwrap() {
        let (chunks, bytes) = counted.remove(&number).unwrap_or_default();
        assert_eq!((row.live_chunks, row.live_bytes), (chunks, bytes), "{number:?}");
    }
    assert!(counted.is_empty(), "rows point into packs without a row: {counted:?}");
}

fn finding(volume: &Volume, number: u32) -> Option<Finding> {
    volume.findings().iter().find(|(pack, _)| pack.0 == number).map(|(_, finding)| *finding)
}
