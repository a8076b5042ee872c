//! Masters that keep their state in memory: faithful in what a gateway can see (names, versions, conditions, listings, multipart
//! uploads), and without what it cannot (the log, quorums, leases, collection).

use super::chunks::MemoryChunks;
use async_trait::async_trait;
use bytes::Bytes;
use cairn_common::auth::{Mac, OpenTicket, ReadToken, WriteToken};
use cairn_common::bucket::{BucketSettings, covers};
use cairn_common::chunk::{ChunkId, Chunking};
use cairn_common::file::{Attributes, Checksum, Condition, ConditionOutcome, ETags, FileInfo, S3Tag};
use cairn_common::ids::{
    BootCount, BucketId, ClusterId, Domain, Epoch, Generation, KeyId, ManifestId, NodeId, SessionId, Stamp, TenantId,
    UploadId, WindowId,
};
use cairn_common::limits::PART_MIN_BYTES;
use cairn_common::manifest::{Entry, Extent, ManifestHead, Root, RootHasher};
use cairn_common::membership::{Membership, Node, NodeState, Roles};
use cairn_common::name::{BucketName, FilePath, Key};
use cairn_common::ring::{Member, RingSpec};
use cairn_common::version::VersionId;
use cairn_common::wire::command::{
    Command, CommitFile, CommitPart, Committed, CompleteMultipart, Deleted, Done, Grant, MultipartRef, NewContent,
    Refusal, Rights,
};
use cairn_common::wire::master::{
    Actor, BucketInfo, Caller, Content, Credential, FilePartsPage, Found, KeyInfo, ListAfter, ListRequest,
    ListVersions, Listed, ListedFile, ManifestPage, Master, MasterCall, MasterError, MasterReply, MasterRequest,
    Opened, PartInfo, PartsPage, PlacedEntry, RangeWanted, Status, UploadInfo, UploadsPage, Usage, Version,
    VersionsPage, WherePage,
};
use s3s::crypto::{Checksum as _, Md5};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Far beyond the clock's reach, so that nothing ends.
const NEVER_MS: u64 = u64::MAX >> 1;

/// See the module.
pub(crate) struct MemoryMasters {
    state: Mutex<State>,
    /// What every call answers instead, while it is set.
    failing: Mutex<Option<MasterError>>,
    /// How often what was asked, by the name of the request.
    asked: Mutex<BTreeMap<&'static str, usize>>,
}

#[derive(Default)]
struct State {
    last: u64,
    buckets: BTreeMap<BucketName, Bucket>,
    keys: BTreeMap<String, Credential>,
    staged: BTreeMap<UploadId, Vec<Entry>>,
    manifests: BTreeMap<ManifestId, Vec<Entry>>,
    finished: BTreeMap<UploadId, Committed>,
    /// Lengths of the parts that files were made of, by their tags.
    parts: BTreeMap<String, Vec<u64>>,
    /// Where small parts are put when they become parts of a large file.
    chunks: Option<Arc<MemoryChunks>>,
}

struct Bucket {
    id: BucketId,
    created: Stamp,
    settings: BucketSettings,
    files: BTreeMap<Key, File>,
    uploads: BTreeMap<(Key, UploadId), Upload>,
}

#[derive(Clone)]
struct File {
    info: FileInfo,
    body: Body,
}

#[derive(Clone)]
enum Body {
    /// Bytes, and the hash they had when they came.
    Inline(Bytes, [u8; 32]),
    Chunks(Vec<Entry>),
}

struct Upload {
    begun: Stamp,
    attributes: Attributes,
    checksum: Option<(String, bool)>,
    length: Option<u64>,
    parts: BTreeMap<u32, (PartInfo, Body)>,
}

impl MemoryMasters {
    /// An empty cluster with one key that may do everything.
    pub(crate) fn new(access: &str, secret: &str, chunks: Arc<MemoryChunks>) -> MemoryMasters {
        let state = Mutex::new(State { chunks: Some(Arc::clone(&chunks)), ..State::default() });
        let masters = MemoryMasters { state, failing: Mutex::default(), asked: Mutex::default() };
        masters.add_key(access, secret, true, vec![Grant { bucket: None, prefix: String::new(), rights: Rights::ALL }]);
        masters
    }

    /// Adds a key.
    pub(crate) fn add_key(&self, access: &str, secret: &str, cluster_admin: bool, grants: Vec<Grant>) {
        let key = KeyInfo {
            access: access.to_owned(),
            name: access.to_owned(),
            tenant: TenantId::FIRST,
            cluster_admin,
            grants,
            created: Stamp(1),
            expires: None,
        };
        let credential = Credential { key, secret: secret.to_owned() };
        self.state.lock().unwrap().keys.insert(access.to_owned(), credential);
    }

    /// A key whose time is over.
    pub(crate) fn end_key(&self, access: &str) {
        let mut state = self.state.lock().unwrap();
        state.keys.get_mut(access).unwrap().key.expires = Some(Stamp::from_ms(1));
    }

    /// Removes a key.
    pub(crate) fn remove_key(&self, access: &str) {
        self.state.lock().unwrap().keys.remove(access);
    }

    /// Makes a bucket.
    pub(crate) fn make_bucket(&self, name: &str) {
        self.state.lock().unwrap().create_bucket(&BucketName::new(name).unwrap()).unwrap();
    }

    /// Answers every call but those for membership with this.
    pub(crate) fn fail_with(&self, error: Option<MasterError>) {
        *self.failing.lock().unwrap() = error;
    }

    /// A file, if there is one.
    pub(crate) fn file(&self, bucket: &str, key: &str) -> Option<FileInfo> {
        let state = self.state.lock().unwrap();
        let bucket = state.buckets.get(&BucketName::new(bucket).unwrap())?;
        bucket.files.get(&Key::new(key).unwrap()).map(|file| file.info.clone())
    }

    /// Changes the bytes of an inline file without telling its hash.
    pub(crate) fn damage_inline(&self, bucket: &str, key: &str) {
        let mut state = self.state.lock().unwrap();
        let bucket = state.buckets.get_mut(&BucketName::new(bucket).unwrap()).unwrap();
        let file = bucket.files.get_mut(&Key::new(key).unwrap()).unwrap();
        let Body::Inline(bytes, _) = &mut file.body else { panic!("not inline") };
        let mut bad = bytes.to_vec();
        bad[0] ^= 1;
        *bytes = bad.into();
    }

    /// How often a request of this name was made.
    pub(crate) fn asked(&self, name: &str) -> usize {
        self.asked.lock().unwrap().get(name).copied().unwrap_or_default()
    }

    /// How often anything was asked but for credentials and membership: what a refused request must not lead to.
    pub(crate) fn asked_for_real(&self) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(name, _)| !matches!(**name, "Credential" | "Membership")).map(|(_, count)| count).sum()
    }

    /// Parts that open uploads hold.
    pub(crate) fn parts(&self) -> usize {
        let state = self.state.lock().unwrap();
        state.buckets.values().flat_map(|bucket| bucket.uploads.values()).map(|upload| upload.parts.len()).sum()
    }
}

#[async_trait]
impl Master for MemoryMasters {
    async fn call(&self, _: &Caller, call: MasterCall) -> Result<MasterReply, MasterError> {
        let name = name_of(&call.request);
        *self.asked.lock().unwrap().entry(name).or_default() += 1;
        if let MasterRequest::Membership { revision } = call.request {
            return Ok(MasterReply::Membership((revision < 1).then(|| Box::new(membership()))));
        }
        if let Some(error) = self.failing.lock().unwrap().clone() {
            return Err(error);
        }
        let mut state = self.state.lock().unwrap();
        let allowed = match &call.actor {
            None => true,
            Some(Actor::Anonymous) => false,
            Some(Actor::Asking(asking)) => asking
                .access
                .as_ref()
                .is_some_and(|access| state.keys.contains_key(access) && state.may(access, &call.request)),
            Some(Actor::Key(access)) => state.keys.contains_key(access) && state.may(access, &call.request),
        };
        let by_ticket = matches!(call.request, MasterRequest::Page { .. } | MasterRequest::ReadTokens { .. });
        if !allowed && !by_ticket && !state.is_public(&call.request) {
            return Err(MasterError::Denied);
        }
        state.answer(call.request)
    }
}

fn name_of(request: &MasterRequest) -> &'static str {
    match request {
        MasterRequest::Write { command: Command::CommitFile(_), .. } => "CommitFile",
        MasterRequest::Write { .. } => "Write",
        MasterRequest::Membership { .. } => "Membership",
        MasterRequest::Credential { .. } => "Credential",
        MasterRequest::Stat { .. } => "Stat",
        MasterRequest::Open { .. } => "Open",
        MasterRequest::FileParts { .. } => "FileParts",
        MasterRequest::Bucket { .. } => "Bucket",
        MasterRequest::List(_) => "List",
        _ => "other",
    }
}

impl State {
    fn stamp(&mut self) -> Stamp {
        self.last += 1;
        Stamp::from_ms(1_795_000_000_000).next(self.last)
    }

    fn answer(&mut self, request: MasterRequest) -> Result<MasterReply, MasterError> {
        Ok(match request {
            MasterRequest::Write { command, .. } => MasterReply::Done(self.write(command)?),
            MasterRequest::WriteTokens { window, .. } => {
                let token = WriteToken {
                    key: KeyId(1),
                    domain: Domain(1),
                    window,
                    limit_bytes: u64::MAX,
                    finds: false,
                    expires_ms: NEVER_MS,
                    mac: Mac([0; 16]),
                };
                MasterReply::WriteTokens { tokens: vec![(NodeId(1), token)] }
            }
            MasterRequest::Bucket { name } => MasterReply::Bucket(self.bucket_info(&name)?),
            MasterRequest::Buckets => {
                let names: Vec<BucketName> = self.buckets.keys().cloned().collect();
                let infos = names.iter().map(|name| self.bucket_info(name));
                MasterReply::Buckets(infos.collect::<Result<_, Refusal>>()?)
            }
            MasterRequest::Stat { path, condition, .. } => {
                MasterReply::File(Box::new(match self.read(&path, &condition)? {
                    Found::Here(file) => Found::Here(file.info),
                    Found::NotModified(info) => Found::NotModified(info),
                }))
            }
            MasterRequest::FileParts { path, after, limit, .. } => {
                let Found::Here(file) = self.read(&path, &Condition::default())? else { unreachable!() };
                let lengths = self.parts.get(&file.info.tags.s3()).cloned().unwrap_or_default();
                let lengths = lengths.into_iter().skip(after as usize).take(limit as usize).collect();
                MasterReply::FileParts(Box::new(FilePartsPage { info: file.info, lengths }))
            }
            MasterRequest::Open { path, condition, range, .. } => {
                MasterReply::Opened(Box::new(self.open(&path, &condition, range)?))
            }
            MasterRequest::Page { ticket, offset, end } => {
                let entries = self.manifests.get(&ticket.manifest).ok_or(MasterError::BadTicket)?;
                MasterReply::Page(page(entries, offset, end))
            }
            MasterRequest::ReadTokens { .. } => MasterReply::ReadTokens(vec![(NodeId(1), read_token())]),
            MasterRequest::Cors { bucket } => MasterReply::Cors(
                self.buckets.get(&bucket).map(|bucket| bucket.settings.cors.clone()).unwrap_or_default(),
            ),
            MasterRequest::ListVersions(request) => MasterReply::Versions(self.versions(request)?),
            MasterRequest::List(request) => MasterReply::Listed(self.list(&request)?),
            MasterRequest::Parts { path, upload, after, limit } => {
                let upload = self.upload(&MultipartRef { path, upload })?;
                let limit = if limit == 0 { usize::MAX } else { limit as usize };
                let mut parts = upload.parts.range(after + 1..).map(|(_, (info, _))| info.clone());
                let page = parts.by_ref().take(limit).collect();
                MasterReply::Parts(PartsPage {
                    parts: page,
                    more: parts.next().is_some(),
                    checksum: upload.checksum.clone(),
                    appended: upload.length.map(|length| (length, upload.attributes.clone())),
                })
            }
            MasterRequest::Uploads { bucket, prefix, delimiter, after, limit } => {
                MasterReply::Uploads(self.uploads(&bucket, &prefix, delimiter.as_deref(), after, limit as usize)?)
            }
            MasterRequest::Credential { access } => MasterReply::Credential(self.keys.get(&access).cloned()),
            MasterRequest::Where { path, .. } => {
                let Found::Here(file) = self.read(&path, &Condition::default())? else { unreachable!() };
                MasterReply::Where(WherePage {
                    info: file.info,
                    replicas: 1,
                    entries: Vec::new(),
                    more: false,
                    inline: matches!(file.body, Body::Inline(..)),
                    manifest: None,
                })
            }
            MasterRequest::Status => MasterReply::Status(Box::new(self.status())),
            other => return Err(MasterError::BadRequest(format!("{other:?}"))),
        })
    }

    fn write(&mut self, command: Command) -> Result<Done, Refusal> {
        let expires = Stamp::from_ms(NEVER_MS >> Stamp::COUNTER_BITS);
        Ok(match command {
            Command::OpenSession { .. } => Done::Session { session: SessionId(self.stamp().0), expires },
            Command::OpenWindow => Done::Window { window: WindowId(self.stamp().0), expires },
            Command::RenewSession { .. } | Command::EndSession { .. } | Command::CloseWindow { .. } => Done::Nothing,
            Command::CreateBucket { name, .. } => Done::Bucket { bucket: self.create_bucket(&name)? },
            Command::DeleteBucket { name } => {
                let bucket = self.bucket(&name)?;
                if !bucket.files.is_empty() || !bucket.uploads.is_empty() {
                    return Err(Refusal::BucketNotEmpty(name));
                }
                self.buckets.remove(&name);
                Done::Nothing
            }
            Command::CommitFile(commit) => Done::Committed(self.commit_file(*commit)?),
            Command::DeleteFiles { bucket, files } => Done::Deleted(self.delete(&bucket, files)?),
            Command::CopyFile(copy) => {
                let source = self.source(&copy.from, &copy.from_condition)?;
                let attributes = copy.attributes.unwrap_or(source.info.attributes);
                Done::Committed(self.place(&copy.to, &copy.condition, source.info.tags, attributes, source.body)?)
            }
            Command::RenameFile { from, to, from_condition, condition } => {
                let source = self.source(&from, &from_condition)?;
                let target = FilePath { bucket: from.bucket.clone(), key: to };
                let File { info, body } = source;
                let committed = self.place(&target, &condition, info.tags, info.attributes, body)?;
                if target.key != from.key {
                    self.bucket(&from.bucket)?.files.remove(&from.key);
                }
                Done::Committed(committed)
            }
            Command::BeginStaging { .. } => {
                let id = UploadId(self.stamp().0);
                self.staged.insert(id, Vec::new());
                Done::Upload(id)
            }
            Command::AppendSegment { staging, entries, .. } => {
                self.staged.get_mut(&staging).ok_or(Refusal::NoSuchUpload(staging))?.extend(entries);
                Done::Appended { segments: 0 }
            }
            Command::BeginMultipart { path, attributes, checksum, length } => {
                let begun = self.stamp();
                let id = UploadId(begun.0);
                let upload = Upload { begun, attributes, checksum, length, parts: BTreeMap::new() };
                self.bucket(&path.bucket)?.uploads.insert((path.key, id), upload);
                Done::Upload(id)
            }
            Command::CommitPart(commit) => self.commit_part(*commit)?,
            Command::CopyPart { upload, number, from, from_condition, range, .. } => {
                self.copy_part(&upload, number, &from, &from_condition, range)?
            }
            Command::CompleteMultipart(complete) => Done::Committed(self.complete(*complete)?),
            Command::AbortMultipart { upload } => {
                self.upload(&upload)?;
                let MultipartRef { path, upload } = upload;
                self.bucket(&path.bucket)?.uploads.remove(&(path.key, upload));
                Done::Nothing
            }
            Command::SetBucket { name, change } => {
                change.check()?;
                let BucketSettings { quota, public, tags, lifecycle, cors, .. } = &mut self.bucket(&name)?.settings;
                *quota = change.quota(*quota);
                *public = change.public.unwrap_or_else(|| public.clone());
                *tags = change.tags.unwrap_or_else(|| tags.clone());
                *cors = change.cors.unwrap_or_else(|| cors.clone());
                *lifecycle = change.lifecycle.unwrap_or_else(|| lifecycle.clone());
                Done::Nothing
            }
            Command::SetTags { path, tags, .. } => {
                let found = self.bucket(&path.bucket)?.files.get_mut(&path.key);
                found.ok_or(Refusal::NoSuchFile(path))?.info.attributes.tags = tags;
                Done::Nothing
            }
            other => return Err(Refusal::Invalid(format!("{other:?}"))),
        })
    }

    /// Whether everybody may ask for this.
    fn is_public(&self, request: &MasterRequest) -> bool {
        let (MasterRequest::Stat { path, .. } | MasterRequest::Open { path, .. }) = request else { return false };
        let public = self.buckets.get(&path.bucket).map(|bucket| &bucket.settings.public);
        public.is_some_and(|public| public.iter().any(|prefix| covers(prefix, path.key.as_str())))
    }

    /// Whether a key that is there may ask for this, of what the gateway leaves to the masters.
    fn may(&self, access: &str, request: &MasterRequest) -> bool {
        let key = &self.keys[access].key;
        let may_delete = |bucket, name: &Key| key.allows(bucket, Some(name.as_str()), |rights| rights.delete);
        match request {
            // There are no policies here: what no grant allows, nothing allows.
            MasterRequest::May { .. } => false,
            MasterRequest::Stat { path, .. } | MasterRequest::Open { path, .. } => {
                key.allows(&path.bucket, Some(path.key.as_str()), |rights| rights.read)
            }
            MasterRequest::Write { command: Command::DeleteFiles { bucket, files }, .. } => {
                files.iter().all(|(name, _)| may_delete(bucket, name))
            }
            MasterRequest::Write { command: Command::DeleteVersions { bucket, versions, .. }, .. } => {
                versions.iter().all(|(name, ..)| may_delete(bucket, name))
            }
            _ => true,
        }
    }

    fn create_bucket(&mut self, name: &BucketName) -> Result<BucketId, Refusal> {
        if self.buckets.contains_key(name) {
            return Err(Refusal::BucketExists { name: name.clone(), same_tenant: true });
        }
        let created = self.stamp();
        let bucket = Bucket {
            id: BucketId(created.0),
            created,
            settings: BucketSettings::default(),
            files: BTreeMap::new(),
            uploads: BTreeMap::new(),
        };
        let id = bucket.id;
        self.buckets.insert(name.clone(), bucket);
        Ok(id)
    }

    fn bucket(&mut self, name: &BucketName) -> Result<&mut Bucket, Refusal> {
        self.buckets.get_mut(name).ok_or_else(|| Refusal::NoSuchBucket(name.clone()))
    }

    fn bucket_info(&mut self, name: &BucketName) -> Result<BucketInfo, Refusal> {
        let bucket = self.bucket(name)?;
        let usage = Usage {
            files: bucket.files.len() as u64,
            bytes: bucket.files.values().map(|file| file.info.length).sum(),
            uploads: bucket.uploads.len() as u64,
            pending_bytes: 0,
            ..Usage::default()
        };
        let (id, created, settings) = (bucket.id, bucket.created, bucket.settings.clone());
        Ok(BucketInfo {
            name: name.clone(),
            id,
            tenant: TenantId::FIRST,
            created,
            replicas: 1,
            replicas_follow: true,
            usage,
            settings,
        })
    }

    fn find(&mut self, path: &FilePath) -> Result<Option<File>, Refusal> {
        Ok(self.bucket(&path.bucket)?.files.get(&path.key).cloned())
    }

    fn read(&mut self, path: &FilePath, condition: &Condition) -> Result<Found<File>, Refusal> {
        let found = self.find(path)?.ok_or_else(|| Refusal::NoSuchFile(path.clone()))?;
        match condition.judge(Some(found.info.facts())) {
            ConditionOutcome::Holds => Ok(Found::Here(found)),
            ConditionOutcome::Failed => Err(Refusal::ConditionFailed { path: path.clone() }),
            ConditionOutcome::NotModified => Ok(Found::NotModified(Box::new(found.info))),
        }
    }

    fn source(&mut self, path: &FilePath, condition: &Condition) -> Result<File, Refusal> {
        match self.read(path, condition)? {
            Found::Here(file) => Ok(file),
            Found::NotModified(_) => Err(Refusal::ConditionFailed { path: path.clone() }),
        }
    }

    /// The fake keeps no history: every file is its only version.
    fn versions(&mut self, request: ListVersions) -> Result<VersionsPage, Refusal> {
        let ListVersions { bucket, prefix, delimiter, after, limit } = request;
        let after = after.map_or(ListAfter::Start, |(key, _)| ListAfter::Token(key));
        let listed = self.list(&ListRequest { bucket, prefix, delimiter, after, limit })?;
        let version = |file: ListedFile| Version {
            key: file.key,
            id: VersionId::Null,
            stamp: file.stamp,
            latest: true,
            file: Some((file.length, file.tags)),
        };
        Ok(VersionsPage {
            versions: listed.files.into_iter().map(version).collect(),
            prefixes: listed.prefixes,
            next: listed.next.map(|key| (key, Some(VersionId::Null))),
        })
    }

    fn open(&mut self, path: &FilePath, condition: &Condition, range: RangeWanted) -> Result<Found<Opened>, Refusal> {
        let file = match self.read(path, condition)? {
            Found::Here(file) => file,
            Found::NotModified(info) => return Ok(Found::NotModified(info)),
        };
        let info = file.info;
        let range = match (range, self.parts.get(&info.tags.s3())) {
            (RangeWanted::Part(number), Some(lengths)) => {
                let before = lengths.iter().take(number as usize - 1).sum::<u64>();
                lengths.get(number as usize - 1).map(|length| (before, before + length))
            }
            (range, _) => range.of(info.length),
        };
        let Some((start, end)) = range else {
            return Ok(Found::Here(Opened { info, range: (0, 0), content: Content::Unsatisfiable }));
        };
        let content = match file.body {
            // The hash of what was stored, not of what is there now.
            Body::Inline(bytes, hash) => Content::Inline { bytes, hash },
            Body::Chunks(entries) => {
                let manifest = ManifestId(self.stamp().0);
                let page = page(&entries, start, end);
                let head = ManifestHead {
                    root: info.tags.root,
                    length: info.length,
                    entries: entries.len() as u64,
                    chunking: Some(Chunking::FIXED),
                };
                self.manifests.insert(manifest, entries);
                let ticket = OpenTicket { manifest, domain: Domain(1), expires_ms: NEVER_MS, mac: Mac([0; 16]) };
                Content::Chunks { ticket, head, page }
            }
        };
        Ok(Found::Here(Opened { info, range: (start, end), content }))
    }

    fn commit_file(&mut self, commit: CommitFile) -> Result<Committed, Refusal> {
        commit.attributes.check()?;
        let CommitFile { path, content, root, length, tag, attributes, condition } = commit;
        let body = self.body(content)?;
        assert_eq!(body.length(), length, "the gateway states the right length");
        self.place(&path, &condition, ETags { root, s3: tag }, attributes, body)
    }

    fn body(&mut self, content: NewContent) -> Result<Body, Refusal> {
        Ok(match content {
            NewContent::Inline(bytes) => Body::inline(bytes),
            NewContent::Chunks(chunks) => {
                let mut entries = match chunks.staging {
                    Some(staging) => self.staged.remove(&staging).ok_or(Refusal::NoSuchUpload(staging))?,
                    None => Vec::new(),
                };
                entries.extend(chunks.tail);
                Body::Chunks(entries)
            }
        })
    }

    fn place(
        &mut self,
        path: &FilePath,
        condition: &Condition,
        tags: ETags,
        attributes: Attributes,
        body: Body,
    ) -> Result<Committed, Refusal> {
        let before = self.find(path)?;
        if condition.judge(before.as_ref().map(|file| file.info.facts())) != ConditionOutcome::Holds {
            return Err(Refusal::ConditionFailed { path: path.clone() });
        }
        let stamp = self.stamp();
        let length = body.length();
        let info = FileInfo { stamp, version: None, length, tags, attributes };
        self.bucket(&path.bucket)?.files.insert(path.key.clone(), File { info, body });
        Ok(Committed { stamp, version: None, length, tags, replicas_durable: 1, replaced: before.is_some() })
    }

    fn delete(&mut self, name: &BucketName, files: Vec<(Key, Condition)>) -> Result<Vec<Deleted>, Refusal> {
        let bucket = self.bucket(name)?;
        let delete = |(key, condition): (Key, Condition)| {
            let found = bucket.files.get(&key).map(|file| file.info.facts());
            let there = found.is_some();
            if condition.judge(found) != ConditionOutcome::Holds {
                return Deleted::ConditionFailed;
            }
            bucket.files.remove(&key);
            if there { Deleted::Removed } else { Deleted::Absent }
        };
        Ok(files.into_iter().map(delete).collect())
    }

    fn list(&mut self, request: &ListRequest) -> Result<Listed, Refusal> {
        let bucket = self.bucket(&request.bucket)?;
        let mut listed = Listed { files: Vec::new(), prefixes: Vec::new(), next: None };
        let mut last: Option<String> = None;
        for (key, file) in &bucket.files {
            let Some(rest) = key.as_str().strip_prefix(request.prefix.as_str()) else { continue };
            let folded = fold(&request.prefix, rest, request.delimiter.as_deref());
            let passed = match &request.after {
                ListAfter::Start => false,
                ListAfter::Name(name) => key.as_str() <= name.as_str(),
                ListAfter::Token(name) => key.as_str() <= name.as_str() || folded.as_ref() == Some(name),
            };
            if passed || folded.as_ref().is_some_and(|folded| listed.prefixes.last() == Some(folded)) {
                continue;
            }
            if listed.files.len() + listed.prefixes.len() == request.limit as usize {
                listed.next = last;
                break;
            }
            last = Some(folded.clone().unwrap_or_else(|| key.as_str().to_owned()));
            match folded {
                Some(folded) => listed.prefixes.push(folded),
                None => listed.files.push(ListedFile {
                    key: key.clone(),
                    stamp: file.info.stamp,
                    length: file.info.length,
                    tags: file.info.tags,
                }),
            }
        }
        Ok(listed)
    }

    fn upload(&mut self, named: &MultipartRef) -> Result<&mut Upload, Refusal> {
        let key = (named.path.key.clone(), named.upload);
        let bucket = self.bucket(&named.path.bucket)?;
        bucket.uploads.get_mut(&key).ok_or(Refusal::NoSuchUpload(named.upload))
    }

    fn uploads(
        &mut self,
        name: &BucketName,
        prefix: &str,
        delimiter: Option<&str>,
        after: Option<(String, Option<UploadId>)>,
        limit: usize,
    ) -> Result<UploadsPage, Refusal> {
        let bucket = self.bucket(name)?;
        let mut page = UploadsPage { uploads: Vec::new(), prefixes: Vec::new(), next: None };
        let mut last = None;
        for ((key, id), upload) in &bucket.uploads {
            let Some(rest) = key.as_str().strip_prefix(prefix) else { continue };
            let folded = fold(prefix, rest, delimiter);
            let passed = after.as_ref().is_some_and(|(after, upload)| match upload {
                Some(upload) => (key.as_str(), *id) <= (after.as_str(), *upload),
                None => key.as_str() <= after.as_str() || folded.as_ref() == Some(after),
            });
            if passed || folded.as_ref().is_some_and(|folded| page.prefixes.last() == Some(folded)) {
                continue;
            }
            if page.uploads.len() + page.prefixes.len() == limit {
                page.next = last;
                break;
            }
            match folded {
                Some(folded) => {
                    last = Some((folded.clone(), None));
                    page.prefixes.push(folded);
                }
                None => {
                    last = Some((key.as_str().to_owned(), Some(*id)));
                    page.uploads.push(UploadInfo { key: key.clone(), upload: *id, begun: upload.begun });
                }
            }
        }
        Ok(page)
    }

    fn commit_part(&mut self, commit: CommitPart) -> Result<Done, Refusal> {
        let body = self.body(commit.content)?;
        self.add_part(&commit.upload, commit.number, commit.md5, commit.checksums, body)
    }

    fn add_part(
        &mut self,
        upload: &MultipartRef,
        number: u32,
        md5: [u8; 16],
        checksums: BTreeMap<String, Checksum>,
        body: Body,
    ) -> Result<Done, Refusal> {
        let (stamp, length) = (self.stamp(), body.length());
        let info = PartInfo { number, stamp, length, md5, checksums };
        let upload = self.upload(upload)?;
        if upload.length.is_some() && number as usize != upload.parts.len() + 1 {
            return Err(Refusal::InvalidPartOrder(number));
        }
        upload.parts.insert(number, (info, body));
        Ok(Done::Part { md5, length, stamp })
    }

    /// Real masters refer to the source's manifest; here it is enough to take its entries. The tag is made up of its root.
    /// Like them, it refers to nothing that has no manifest.
    fn copy_part(
        &mut self,
        upload: &MultipartRef,
        number: u32,
        from: &FilePath,
        condition: &Condition,
        range: Option<(u64, u64)>,
    ) -> Result<Done, Refusal> {
        let source = self.source(from, condition)?;
        let length = source.info.length;
        let (start, end) = range.unwrap_or((0, length));
        if end > length || start >= end {
            return Err(Refusal::InvalidRange { length });
        }
        let body = match source.body {
            Body::Inline(..) => return Err(Refusal::SourceInline(from.clone())),
            Body::Chunks(entries) => Body::Chunks(cut(&entries, start, end)),
        };
        let mut md5 = [0; 16];
        md5.copy_from_slice(&source.info.tags.root.0[..16]);
        self.add_part(upload, number, md5, BTreeMap::new(), body)
    }

    fn complete(&mut self, complete: CompleteMultipart) -> Result<Committed, Refusal> {
        let CompleteMultipart { upload: named, parts, condition, checksums } = complete;
        if let Some(committed) = self.finished.get(&named.upload) {
            return Ok(committed.clone());
        }
        let upload = self.upload(&named)?;
        let mut bodies = Vec::new();
        let mut md5s = Vec::new();
        let count = parts.len();
        if let Some(pair) = parts.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            return Err(Refusal::InvalidPartOrder(pair[1].0));
        }
        for (index, (number, tag)) in parts.iter().enumerate() {
            let found = upload.parts.get(number).filter(|(info, _)| hex::encode(info.md5) == *tag);
            let (info, body) = found.ok_or(Refusal::InvalidPart(*number))?;
            if upload.length.is_none() && index + 1 < count && info.length < PART_MIN_BYTES {
                return Err(Refusal::PartTooSmall { number: *number, length: info.length });
            }
            md5s.extend_from_slice(&info.md5);
            bodies.push(body.clone());
        }
        let attributes = Attributes { checksums, ..upload.attributes.clone() };
        let lengths: Vec<u64> = bodies.iter().map(Body::length).collect();
        let length: u64 = lengths.iter().sum();
        if upload.length.is_some_and(|whole| whole != length) {
            return Err(Refusal::Invalid("the upload is not whole".to_owned()));
        }
        let body = self.join(bodies);
        let root = match &body {
            Body::Inline(_, hash) => Root(*hash),
            Body::Chunks(entries) => RootHasher::of(entries),
        };
        let tags = ETags { root, s3: S3Tag::Multipart(Md5::checksum(&md5s), count as u32) };
        self.parts.insert(tags.s3(), lengths);
        let committed = self.place(&named.path, &condition, tags, attributes, body)?;
        self.bucket(&named.path.bucket)?.uploads.remove(&(named.path.key, named.upload));
        self.finished.insert(named.upload, committed.clone());
        Ok(committed)
    }

    fn join(&self, bodies: Vec<Body>) -> Body {
        if bodies.len() == 1 {
            return bodies.into_iter().next().unwrap();
        }
        let chunks = self.chunks.as_ref().unwrap();
        let entries = bodies.into_iter().flat_map(|body| match body {
            Body::Inline(bytes, _) => vec![chunks.keep(bytes)],
            Body::Chunks(entries) => entries,
        });
        Body::Chunks(entries.collect())
    }

    fn status(&self) -> Status {
        Status {
            membership: membership(),
            heartbeats: BTreeMap::new(),
            usage: Usage::default(),
            buckets: self.buckets.len() as u64,
            releasing: 0,
            misplaced: 0,
            stamp: Stamp(self.last),
            term: 1,
            applied: self.last,
            leader: Some(NodeId(1)),
            alarms: Vec::new(),
            collect: Default::default(),
            rebalance: Default::default(),
            entries: self.last,
            commands: self.last,
        }
    }
}

impl Body {
    fn inline(bytes: Bytes) -> Body {
        let hash = ChunkId::of(&bytes).0;
        Body::Inline(bytes, hash)
    }

    fn length(&self) -> u64 {
        match self {
            Body::Inline(bytes, _) => bytes.len() as u64,
            Body::Chunks(entries) => entries.iter().map(|entry| entry.length).sum(),
        }
    }
}

/// The stretch of a list of entries from `start` to `end`.
fn cut(entries: &[Entry], start: u64, end: u64) -> Vec<Entry> {
    placed(entries, start, end).into_iter().map(|(_, entry)| entry).collect()
}

/// Entries that lie in `start..end`, each cut to it, with their places.
fn placed(entries: &[Entry], start: u64, end: u64) -> Vec<(u64, Entry)> {
    let mut at = 0;
    let mut found = Vec::new();
    for entry in entries {
        let next = at + entry.length;
        let (from, to) = (at.max(start), next.min(end));
        if from < to {
            let mut entry = entry.clone();
            let Extent::Chunk { offset, .. } = &mut entry.extent else { panic!("only chunks here") };
            *offset += (from - at) as u32;
            entry.length = to - from;
            found.push((from, entry));
        }
        at = next;
    }
    found
}

fn fold(prefix: &str, rest: &str, delimiter: Option<&str>) -> Option<String> {
    let delimiter = delimiter?;
    let at = rest.find(delimiter)?;
    Some(format!("{prefix}{}", &rest[..at + delimiter.len()]))
}

/// A short page, so that long files need several.
fn page(entries: &[Entry], start: u64, end: u64) -> ManifestPage {
    let replicas = vec![(NodeId(1), read_token())];
    let entries = placed(entries, start, end).into_iter().take(5);
    let entries = entries.map(|(offset, entry)| PlacedEntry { offset, entry, replicas: replicas.clone() });
    ManifestPage { entries: entries.collect(), expires_ms: NEVER_MS }
}

fn read_token() -> ReadToken {
    ReadToken { key: KeyId(1), expires_ms: NEVER_MS, mac: Mac([0; 16]) }
}

fn membership() -> Membership {
    let node = Node {
        id: NodeId(1),
        name: "node-1".to_owned(),
        zone: "a".to_owned(),
        weight: 1,
        address: "http://127.0.0.1:1".to_owned(),
        roles: Roles { master: true, chunkserver: true, gateway: true },
        state: NodeState::Live,
        boot: BootCount(1),
        served_boot: BootCount(1),
        volumes: BTreeMap::new(),
    };
    let member = Member { node: NodeId(1), zone: "a".to_owned(), weight: 1 };
    Membership {
        cluster: ClusterId([1; 16]),
        generation: Generation(1),
        revision: 1,
        nodes: BTreeMap::from([(NodeId(1), node)]),
        rings: vec![RingSpec::new(Epoch(1), vec![member])],
        replicas: 1,
        replicas_rise: false,
        voters: 3,
    }
}
