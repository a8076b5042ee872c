//! What applying commands and answering questions costs, on one thread, without log or network.
//!
//! `cargo run --release -p cairn-master --example apply_bench [-- COMMITS [memory|rocks]]`
//!
//! Commits come as a gateway sends them: in one session, 64 unanswered, 64 to an entry, each to a key of its own; bodies are
//! random. Applied means decided and written to the store, with the position's digest. Times are CPU time of this thread, so
//! that they mean something on a busy machine; RocksDB flushes and compacts on others meanwhile, whose time is shown apart.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark measures time and prints it")]

use cairn_common::auth::{Mac, Receipt};
use cairn_common::chunk::{ChunkAddress, Chunking};
use cairn_common::file::{Attributes, Condition, S3Tag};
use cairn_common::ids::{BootCount, ClusterId, Domain, KeyId, NodeId, SessionId, Stamp, TenantId, VolumeId, WindowId};
use cairn_common::manifest::{Entry, RootHasher};
use cairn_common::membership::Roles;
use cairn_common::name::{BucketName, FilePath, Key};
use cairn_common::wire::command::{
    ChunkReceipts, Command, CommitFile, Done, Envelope, NewChunks, NewContent, Outcome, SessionSequence,
};
use cairn_common::wire::master::{Caller, ListAfter, ListRequest, RangeWanted};
use cairn_master::query::{self, PageLimits};
use cairn_master::state::{Machine, Members};
use cairn_master::store::{MemoryStore, MetaStore};
use std::sync::Arc;
use std::time::Instant;

const ENTRY: u64 = 64;
/// Commits that are made before they are timed together.
const GROUP: u64 = 100 * ENTRY;

struct Bench {
    store: Box<dyn MetaStore>,
    machine: Machine,
    now: Stamp,
    index: u64,
    session: SessionId,
    window: WindowId,
    sequence: u64,
    servers: Vec<(NodeId, VolumeId, BootCount)>,
}

fn bucket() -> BucketName {
    BucketName::new("bench").expect("a good name")
}

impl Bench {
    /// A cluster of three nodes in three zones, R = 3.
    fn new(store: Box<dyn MetaStore>) -> Bench {
        let (session, window) = (SessionId(0), WindowId(0));
        let (machine, now) = (Machine::new(), Stamp::from_ms(1_795_000_000_000));
        let mut bench = Bench { store, machine, now, index: 0, session, window, sequence: 0, servers: Vec::new() };
        bench.one(Command::Init { cluster: ClusterId([1; 16]), replicas: 3, rise: false });
        for n in 1..=3 {
            bench.add_server(n);
        }
        bench.one(Command::CreateBucket { name: bucket(), tenant: TenantId::FIRST, replicas: None, lock: false });
        let Done::Session { session, .. } =
            bench.one(Command::OpenSession { ttl_ms: 300_000, owner: Caller::Key("AK".to_owned()) })
        else {
            panic!("no session")
        };
        bench.session = session;
        let envelope = bench.envelope(Command::OpenWindow);
        let Ok(Done::Window { window, .. }) = bench.entry(&[envelope]).remove(0) else { panic!("no window") };
        bench.window = window;
        bench
    }

    fn add_server(&mut self, n: u64) {
        let join_token = (n > 1).then(|| n.to_string());
        if let Some(id) = join_token.clone() {
            let expires = self.now.plus_ms(1000);
            self.one(Command::CreateJoinToken { id, secret_hash: [0; 32], expires });
        }
        let (zone, address) = (n.to_string(), "http://node".to_owned());
        let roles = Roles { master: true, chunkserver: true, gateway: true };
        let (name, weight) = (n.to_string(), 1);
        let add = Command::AddNode { name, zone: zone.clone(), weight, address: address.clone(), roles, join_token };
        let Done::Node(node) = self.one(add) else { panic!("no node") };
        let new_disks = vec!["disk".to_owned()];
        let boot = Command::Boot { node, address, weight, zone, volumes: Vec::new(), new_disks };
        let Done::Boot { boot, new_volumes, .. } = self.one(boot) else { panic!("no boot") };
        self.one(Command::Serve { node, boot });
        self.servers.push((node, new_volumes[0], boot));
    }

    fn one(&mut self, command: Command) -> Done {
        self.entry(&[Envelope { session: None, command }]).remove(0).expect("nothing here is refused")
    }

    fn envelope(&mut self, command: Command) -> Envelope {
        self.sequence += 1;
        let lowest = self.sequence.saturating_sub(ENTRY).max(1);
        let session = SessionSequence { session: self.session, sequence: self.sequence, lowest };
        Envelope { session: Some(session), command }
    }

    fn entry(&mut self, commands: &[Envelope]) -> Vec<Outcome> {
        let applied = self.machine.apply_entry(&*self.store, self.now.next(1), commands).expect("the store works");
        self.now = applied.stamp;
        self.index += 1;
        let before = self.store.applied().expect("the store works");
        let position = before.after(self.index, 1, applied.stamp, &applied.batch);
        self.store.write(&applied.batch, &position).expect("the store works");
        applied.outcomes
    }

    /// Applies `count` commits made by `commit`, and prints how fast.
    fn commits(&mut self, what: &str, count: u64, commit: impl Fn(&Bench, u64) -> CommitFile) {
        let (mut own, mut others, mut wall) = (0.0, 0.0, 0.0);
        for first in (0..count).step_by(GROUP as usize) {
            let numbers: Vec<u64> = (first..(first + GROUP).min(count)).collect();
            let mut entries: Vec<Vec<Envelope>> = Vec::new();
            for numbers in numbers.chunks(ENTRY as usize) {
                let commits: Vec<CommitFile> = numbers.iter().map(|n| commit(self, *n)).collect();
                let commands = commits.into_iter().map(|commit| Command::CommitFile(Box::new(commit)));
                entries.push(commands.map(|command| self.envelope(command)).collect());
            }
            let (start, thread, process) = (Instant::now(), cpu_seconds("thread-self"), cpu_of_process());
            for entry in entries {
                let outcomes = self.entry(&entry);
                assert!(outcomes.iter().all(Result::is_ok), "{:?}", outcomes[0]);
            }
            let thread = cpu_seconds("thread-self") - thread;
            own += thread;
            others += cpu_of_process() - process - thread;
            wall += start.elapsed().as_secs_f64();
        }
        let each = |seconds: f64| seconds * 1e6 / count as f64;
        let rate = count as f64 / own;
        let (own, others, wall) = (each(own), each(others), each(wall));
        println!("  {what:<40} {own:>7.2} µs CPU, others {others:>6.2}, wall {wall:>6.2}: {rate:>7.0} a second");
    }

    /// Asks `count` times and prints what one answer takes.
    fn asks(&self, what: &str, count: u64, ask: impl Fn(&Bench, &Members, u64)) {
        let members = Arc::clone(self.machine.members().expect("the cluster was made"));
        let start = cpu_seconds("thread-self");
        (0..count).for_each(|n| ask(self, &members, n));
        let each = (cpu_seconds("thread-self") - start) * 1e6 / count as f64;
        println!("  {what:<40} {each:>7.2} µs CPU");
    }
}

/// CPU time of a task of /proc, to about a millisecond.
fn cpu_seconds(task: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{task}/schedstat")).expect("Linux counts CPU time");
    let nanoseconds: f64 = text.split(' ').next().and_then(|text| text.parse().ok()).expect("nanoseconds come first");
    nanoseconds / 1e9
}

/// CPU time of all threads.
fn cpu_of_process() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux lists threads");
    let names = tasks.map(|task| task.expect("it is readable").file_name().into_string().expect("a number"));
    names.map(|name| cpu_seconds(&format!("self/task/{name}"))).sum()
}

/// Random bytes that are the same every time.
fn noise(n: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&n.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn path(kind: &str, n: u64) -> FilePath {
    // Spread over folders, not in the order of the commits.
    let key = format!("{kind}/{:03}/file-{n:08}.bin", n.wrapping_mul(7919) % 1000);
    FilePath { bucket: bucket(), key: Key::new(key).expect("a good key") }
}

fn commit_file(path: FilePath, content: NewContent, entry: &Entry) -> CommitFile {
    let root = RootHasher::of(std::slice::from_ref(entry));
    let attributes = Attributes { content_type: Some("binary/octet-stream".to_owned()), ..Attributes::default() };
    let tag = S3Tag::Md5([7; 16]);
    CommitFile { path, content, root, length: entry.length, tag, attributes, condition: Condition::default() }
}

fn inline(_: &Bench, n: u64) -> CommitFile {
    let body = noise(n, 4096);
    let entry = Entry::chunk(ChunkAddress::of(Domain(1), &body), 4096);
    commit_file(path("inline", n), NewContent::Inline(body.into()), &entry)
}

fn chunked(bench: &Bench, n: u64) -> CommitFile {
    let address = ChunkAddress::of(Domain(1), &n.to_be_bytes());
    let length = 1 << 20;
    let window = bench.window;
    let receipt = |(node, volume, boot): &(NodeId, VolumeId, BootCount)| {
        let (key, mac) = (KeyId(1), Mac([0; 16]));
        Receipt { key, node: *node, volume: *volume, boot: *boot, window, length, mac }
    };
    let receipts = vec![ChunkReceipts { address, receipts: bench.servers.iter().map(receipt).collect() }];
    let entry = Entry::chunk(address, length);
    let new = NewChunks { staging: None, chunking: Chunking::FIXED, tail: vec![entry.clone()], receipts };
    commit_file(path("chunks", n), NewContent::Chunks(new), &entry)
}

fn run(bench: &mut Bench, count: u64) {
    bench.commits("commit of 4 KiB inline, new keys", count, inline);
    bench.commits("commit of 4 KiB inline, the same again", count, inline);
    bench.commits("commit of one chunk, new keys", count, chunked);
    bench.commits("commit of one chunk, the same again", count, chunked);
    let any = |n: u64| n.wrapping_mul(48_271) % count;
    let none = Condition::default();
    bench.asks("stat", count, |bench, _, n| {
        let view = bench.store.snapshot().expect("the store works");
        query::stat(&*view, &path("chunks", any(n)), None, &none).expect("it is there");
    });
    let limits = PageLimits { entries: 100, nodes: 3 };
    for kind in ["inline", "chunks"] {
        bench.asks(&format!("open, {kind}"), count, |bench, members, n| {
            let view = bench.store.snapshot().expect("the store works");
            let path = path(kind, any(n));
            query::open(&*view, members, (&path, None), &none, RangeWanted::All, limits).expect("it is there");
        });
    }
    let list = |delimiter: Option<&str>, after: ListAfter| ListRequest {
        bucket: bucket(),
        prefix: "chunks/".to_owned(),
        delimiter: delimiter.map(str::to_owned),
        after,
        limit: 1000,
    };
    bench.asks("list of 1000 keys", 200, |bench, _, n| {
        let view = bench.store.snapshot().expect("the store works");
        let after = ListAfter::Name(path("chunks", any(n)).key.as_str().to_owned());
        query::list(&*view, &list(None, after)).expect("it is there");
    });
    bench.asks("list of 1000 folded prefixes", 20, |bench, _, _| {
        let view = bench.store.snapshot().expect("the store works");
        let listed = query::list(&*view, &list(Some("/"), ListAfter::Start)).expect("it is there");
        assert_eq!(listed.prefixes.len(), 1000.min(count as usize));
    });
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments.next().map_or(100_032, |text| text.parse().expect("a number of commits"));
    let count = count - count % ENTRY;
    let only = arguments.next();
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if wanted("memory") {
        println!("memory, {count} files of each kind");
        run(&mut Bench::new(Box::new(MemoryStore::new())), count);
    }
    #[cfg(feature = "rocks")]
    if wanted("rocks") {
        use cairn_master::store::{RocksMemory, RocksStore};
        let folder = std::env::temp_dir().join(format!("cairn-apply-bench-{}", std::process::id()));
        let store = RocksStore::open(&folder, &RocksMemory::new(64 << 20, 32 << 20)).expect("the folder is writable");
        println!("RocksDB, {count} files of each kind");
        run(&mut Bench::new(Box::new(store)), count);
        std::fs::remove_dir_all(&folder).expect("the folder is ours");
    }
}
