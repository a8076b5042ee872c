//! Tests of the state machine. [`World`] is a cluster without a cluster: a store, a machine, and receipts as chunkservers would
//! give them. After every command all rules are checked from scratch.

mod access;
mod appended;
mod chunks;
mod files;
mod lifecycle;
mod membership;
mod model;
mod multipart;
mod parts;
mod release;
mod sessions;
mod settings;
mod staging;
mod versions;

use super::{Machine, Members, check};
use crate::store::key::{BucketKey, ReferenceKey, TotalsKey, UsageKey};
use crate::store::{MemoryStore, MetaStore, MetaView};
use bytes::Bytes;
use cairn_common::auth::{Mac, Receipt};
use cairn_common::chunk::{ChunkAddress, ChunkId, Chunking, IdKind};
use cairn_common::file::{Attributes, Condition, S3Tag, TagCondition};
use cairn_common::ids::{
    BootCount, ClusterId, Domain, KeyId, NodeId, SessionId, Stamp, TenantId, UploadId, VolumeId, WindowId,
};
use cairn_common::manifest::{Entry, RootHasher};
use cairn_common::membership::Roles;
use cairn_common::name::{BucketName, FilePath, Key};
use cairn_common::wire::command::{
    ChunkReceipts, Command, CommitFile, Committed, Done, Envelope, NewChunks, NewContent, Outcome, Refusal,
    SessionSequence,
};
use cairn_common::wire::master::{Caller, Usage};
use std::sync::Arc;

/// A chunkserver that serves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server {
    pub(crate) node: NodeId,
    pub(crate) volume: VolumeId,
    pub(crate) boot: BootCount,
}

/// A store and a machine, with one open session and one open window in it.
pub(crate) struct World {
    pub(crate) store: Box<dyn MetaStore>,
    machine: Machine,
    pub(crate) now: Stamp,
    index: u64,
    pub(crate) session: SessionId,
    sequence: u64,
    pub(crate) window: WindowId,
    pub(crate) servers: Vec<Server>,
    /// Whether all rules are checked after each command.
    pub(crate) checked: bool,
}

pub(crate) const START_MS: u64 = 1_795_000_000_000;

pub(crate) fn name(text: &str) -> BucketName {
    BucketName::new(text).unwrap()
}

pub(crate) fn path(key: &str) -> FilePath {
    FilePath { bucket: name("one"), key: Key::new(key).unwrap() }
}

/// Chunk number `n` of the first tenant.
pub(crate) fn address(n: u64) -> ChunkAddress {
    address_in(Domain(1), n)
}

pub(crate) fn address_in(domain: Domain, n: u64) -> ChunkAddress {
    ChunkAddress { domain, kind: IdKind::Plain, id: ChunkId(*blake3::hash(&n.to_be_bytes()).as_bytes()) }
}

/// An entry with chunk `n`, of 1000 + n bytes.
pub(crate) fn entry(n: u64) -> Entry {
    Entry::chunk(address(n), 1000 + n as u32)
}

pub(crate) fn if_absent() -> Condition {
    Condition { if_none_match: Some(TagCondition::Any), ..Condition::default() }
}

pub(crate) fn if_match(tag: &str) -> Condition {
    Condition { if_match: Some(TagCondition::OneOf(vec![tag.to_owned()])), ..Condition::default() }
}

impl World {
    /// Three nodes in three zones, R = 3, and bucket `one`.
    pub(crate) fn new() -> World {
        let mut world = World::with(Box::new(MemoryStore::new()), &["a", "b", "c"], 3);
        world.bucket("one");
        world
    }

    /// A cluster of nodes in `zones`, with `replicas` copies that do not rise.
    pub(crate) fn with(store: Box<dyn MetaStore>, zones: &[&str], replicas: u8) -> World {
        let mut world = World {
            store,
            machine: Machine::new(),
            now: Stamp::from_ms(START_MS),
            index: 0,
            session: SessionId(0),
            sequence: 0,
            window: WindowId(0),
            servers: Vec::new(),
            checked: true,
        };
        world.bare(Command::Init { cluster: ClusterId([1; 16]), replicas, rise: false }).unwrap();
        for zone in zones {
            world.add_server(zone);
        }
        world.open_session();
        world
    }

    /// The same world on another store with the same rows.
    pub(crate) fn on(&self, store: Box<dyn MetaStore>) -> World {
        let machine = Machine { members: self.machine.members().cloned() };
        World { store, machine, servers: self.servers.clone(), ..*self }
    }

    /// Applies one entry at the next stamp.
    pub(crate) fn entry(&mut self, commands: &[Envelope]) -> Vec<Outcome> {
        let base = self.now.next(1);
        let applied = self.machine.apply_entry(&*self.store, base, commands).unwrap();
        self.now = applied.stamp;
        self.index += 1;
        let position = self.store.applied().unwrap().after(self.index, 1, applied.stamp, &applied.batch);
        self.store.write(&applied.batch, &position).unwrap();
        if self.checked {
            assert_eq!(check(&*self.store).unwrap(), [], "after {commands:?} -> {:?}", applied.outcomes);
        }
        applied.outcomes
    }

    /// Applies a command outside of any session.
    pub(crate) fn bare(&mut self, command: Command) -> Outcome {
        self.entry(&[Envelope { session: None, command }]).pop().unwrap()
    }

    /// A command in the world's session, with its next number.
    pub(crate) fn envelope(&mut self, command: Command) -> Envelope {
        self.sequence += 1;
        let place = SessionSequence { session: self.session, sequence: self.sequence, lowest: self.sequence };
        Envelope { session: Some(place), command }
    }

    /// Applies a command in the world's session.
    pub(crate) fn run(&mut self, command: Command) -> Outcome {
        let envelope = self.envelope(command);
        self.entry(&[envelope]).pop().unwrap()
    }

    pub(crate) fn wait_ms(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
    }

    /// Opens another session with a window, and uses those from here on.
    pub(crate) fn open_session(&mut self) {
        let owner = Caller::Key("tester".to_owned());
        let Ok(Done::Session { session, .. }) = self.bare(Command::OpenSession { ttl_ms: 300_000, owner }) else {
            panic!("no session");
        };
        (self.session, self.sequence) = (session, 0);
        self.open_window();
    }

    pub(crate) fn open_window(&mut self) {
        let Ok(Done::Window { window, .. }) = self.run(Command::OpenWindow) else { panic!("no window") };
        self.window = window;
    }

    pub(crate) fn add_node(&mut self, name: &str, zone: &str) -> Outcome {
        let join_token = (!self.servers.is_empty()).then(|| {
            let id = format!("token of {name}");
            let expires = self.now.plus_ms(60_000);
            self.bare(Command::CreateJoinToken { id: id.clone(), secret_hash: [0; 32], expires }).unwrap();
            id
        });
        let roles = Roles { master: true, chunkserver: true, gateway: true };
        let (name, zone, address) = (name.to_owned(), zone.to_owned(), "http://node".to_owned());
        self.bare(Command::AddNode { name, zone, weight: 100, address, roles, join_token })
    }

    /// A node's `Boot` with the disks it has and those that are new to it.
    pub(crate) fn boot(
        &mut self,
        node: NodeId,
        zone: &str,
        volumes: &[(VolumeId, BootCount)],
        new: &[&str],
    ) -> Outcome {
        self.bare(Command::Boot {
            node,
            address: "http://node".to_owned(),
            weight: 100,
            zone: zone.to_owned(),
            volumes: volumes.to_vec(),
            new_disks: new.iter().map(|label| (*label).to_owned()).collect(),
        })
    }

    pub(crate) fn add_server(&mut self, zone: &str) -> Server {
        let name = format!("node-{}", self.servers.len() + 1);
        let Ok(Done::Node(node)) = self.add_node(&name, zone) else { panic!("no node") };
        let Ok(Done::Boot { boot, new_volumes, .. }) = self.boot(node, zone, &[], &["disk"]) else { panic!("no boot") };
        self.bare(Command::Serve { node, boot }).unwrap();
        let server = Server { node, volume: new_volumes[0], boot };
        self.servers.push(server);
        server
    }

    pub(crate) fn bucket(&mut self, bucket: &str) {
        let tenant = TenantId::FIRST;
        self.bare(Command::CreateBucket { name: name(bucket), tenant, replicas: None, lock: false }).unwrap();
    }

    pub(crate) fn receipt(&self, server: Server, length: u32) -> Receipt {
        let Server { node, volume, boot } = server;
        Receipt { key: KeyId(1), node, volume, boot, window: self.window, length, mac: Mac([0; 16]) }
    }

    /// Receipts of `servers` for each different chunk of `entries`.
    pub(crate) fn receipts_of(&self, servers: &[Server], entries: &[Entry]) -> Vec<ChunkReceipts> {
        let mut chunks: Vec<ChunkReceipts> = Vec::new();
        for entry in entries {
            let cairn_common::manifest::Extent::Chunk { address, chunk_length, .. } = entry.extent else { continue };
            if chunks.iter().all(|chunk| chunk.address != address) {
                let receipts = servers.iter().map(|server| self.receipt(*server, chunk_length)).collect();
                chunks.push(ChunkReceipts { address, receipts });
            }
        }
        chunks
    }

    /// New chunks with receipts of all servers.
    pub(crate) fn chunks(&self, staging: Option<UploadId>, tail: &[Entry]) -> NewChunks {
        let receipts = self.receipts_of(&self.servers, tail);
        NewChunks { staging, chunking: Chunking::FIXED, tail: tail.to_vec(), receipts }
    }

    pub(crate) fn put(&mut self, commit: CommitFile) -> Result<Committed, Refusal> {
        match self.run(Command::CommitFile(Box::new(commit)))? {
            Done::Committed(committed) => Ok(committed),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn put_inline(&mut self, key: &str, body: &'static [u8]) -> Committed {
        self.put(inline(key, body)).unwrap()
    }

    /// A file of these chunks, with receipts of all servers.
    pub(crate) fn put_chunks(&mut self, key: &str, chunks: &[u64]) -> Committed {
        let entries: Vec<Entry> = chunks.iter().map(|n| entry(*n)).collect();
        let new = self.chunks(None, &entries);
        self.put(of_chunks(key, new)).unwrap()
    }

    pub(crate) fn delete(&mut self, key: &str) -> Outcome {
        let files = vec![(Key::new(key).unwrap(), Condition::default())];
        self.run(Command::DeleteFiles { bucket: name("one"), files })
    }

    /// Lets go of all that is due; answers how many rows that took.
    pub(crate) fn release(&mut self) -> u64 {
        let mut all = 0;
        loop {
            match self.bare(Command::Release) {
                Ok(Done::Released { rows, more }) => {
                    assert!(rows <= cairn_common::limits::RELEASE_ROWS_MAX as u64);
                    all += rows;
                    if !more {
                        return all;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        let bucket = self.view().row(&BucketKey(&name("one"))).unwrap().unwrap();
        self.view().row(&UsageKey(bucket.id)).unwrap().unwrap()
    }

    /// References to chunk `n`.
    pub(crate) fn references(&self, n: u64) -> u64 {
        self.view().row(&ReferenceKey::of(address(n))).unwrap().map_or(0, |row| row.count)
    }

    pub(crate) fn releasing(&self) -> u64 {
        self.view().row(&TotalsKey).unwrap().unwrap_or_default().releasing
    }

    pub(crate) fn members(&self) -> Arc<Members> {
        Arc::clone(self.machine.members().unwrap())
    }

    pub(crate) fn view(&self) -> &dyn MetaView {
        &*self.store
    }
}

/// A new version of `key` with these bytes inline.
pub(crate) fn inline(key: &str, body: &'static [u8]) -> CommitFile {
    let chunk = Entry::chunk(ChunkAddress::of(Domain(1), body), body.len() as u32);
    let root = RootHasher::of(if body.is_empty() { &[] } else { std::slice::from_ref(&chunk) });
    CommitFile {
        path: path(key),
        content: NewContent::Inline(Bytes::from_static(body)),
        root,
        length: body.len() as u64,
        tag: S3Tag::Root,
        attributes: Attributes::default(),
        condition: Condition::default(),
    }
}

/// A new version of `key` of these chunks and no others.
pub(crate) fn of_chunks(key: &str, new: NewChunks) -> CommitFile {
    let root = RootHasher::of(&new.tail);
    let length = new.tail.iter().map(|entry| entry.length).sum();
    CommitFile { content: NewContent::Chunks(new), root, length, ..inline(key, b"") }
}
