//! Results that more than one verb prints.

use crate::output::{Column, Record, left, right};
use crate::units::{moment, printable, size};
use cairn_common::file::FileInfo;
use cairn_common::name::FilePath;
use cairn_common::wire::command::Committed;
use cairn_common::wire::master::{BucketInfo, ListedFile};
use serde::Serialize;
use std::collections::BTreeMap;

/// A bucket.
#[derive(Serialize)]
pub(super) struct BucketRecord {
    bucket: String,
    files: u64,
    bytes: u64,
    uploads: u64,
    pending_bytes: u64,
    replicas: u8,
    replicas_follow: bool,
    created: String,
}

impl From<BucketInfo> for BucketRecord {
    fn from(info: BucketInfo) -> BucketRecord {
        BucketRecord {
            bucket: info.name.to_string(),
            files: info.usage.files,
            bytes: info.usage.bytes,
            uploads: info.usage.uploads,
            pending_bytes: info.usage.pending_bytes,
            replicas: info.replicas,
            replicas_follow: info.replicas_follow,
            created: moment(info.created.ms()),
        }
    }
}

impl Record for BucketRecord {
    const COLUMNS: &'static [Column] = &[
        left("CREATED"),
        right("FILES"),
        right("SIZE"),
        right("COPIES"),
        right("UPLOADS"),
        right("PENDING"),
        left("BUCKET"),
    ];

    fn kind(&self) -> &'static str {
        "bucket"
    }

    fn cells(&self, exact: bool) -> Vec<String> {
        vec![
            self.created.clone(),
            self.files.to_string(),
            size(self.bytes, exact),
            self.replicas.to_string(),
            self.uploads.to_string(),
            size(self.pending_bytes, exact),
            self.bucket.clone(),
        ]
    }
}

/// A file in a listing.
#[derive(Serialize)]
pub(super) struct ListedRecord {
    path: String,
    size: u64,
    modified: String,
    version: u64,
    etag: String,
    s3_etag: String,
    #[serde(skip)]
    key: String,
}

impl ListedRecord {
    pub(super) fn new(path: String, file: ListedFile) -> ListedRecord {
        ListedRecord {
            path,
            size: file.length,
            modified: moment(file.stamp.ms()),
            version: file.stamp.0,
            etag: file.tags.native(),
            s3_etag: file.tags.s3(),
            key: file.key.into(),
        }
    }
}

impl Record for ListedRecord {
    const COLUMNS: &'static [Column] = &[left("MODIFIED"), right("SIZE"), left("KEY")];

    fn kind(&self) -> &'static str {
        "file"
    }

    fn cells(&self, exact: bool) -> Vec<String> {
        vec![self.modified.clone(), size(self.size, exact), printable(&self.key)]
    }
}

/// Everything about a file.
#[derive(Serialize)]
pub(super) struct FileRecord {
    path: String,
    size: u64,
    modified: String,
    version: u64,
    etag: String,
    s3_etag: String,
    content_type: Option<String>,
    content_encoding: Option<String>,
    content_language: Option<String>,
    content_disposition: Option<String>,
    cache_control: Option<String>,
    expires: Option<String>,
    metadata: BTreeMap<String, String>,
    checksums: BTreeMap<String, String>,
}

impl FileRecord {
    pub(super) fn new(path: String, info: FileInfo) -> FileRecord {
        let attributes = info.attributes;
        let checksums = attributes.checksums.into_iter().map(|(name, checksum)| {
            let parts = checksum.parts.map(|parts| format!("-{parts}")).unwrap_or_default();
            (name, format!("{}{parts}", hex::encode(checksum.value)))
        });
        FileRecord {
            path,
            size: info.length,
            modified: moment(info.stamp.ms()),
            version: info.stamp.0,
            etag: info.tags.native(),
            s3_etag: info.tags.s3(),
            content_type: attributes.content_type,
            content_encoding: attributes.content_encoding,
            content_language: attributes.content_language,
            content_disposition: attributes.content_disposition,
            cache_control: attributes.cache_control,
            expires: attributes.expires,
            metadata: attributes.user,
            checksums: checksums.collect(),
        }
    }
}

impl Record for FileRecord {
    const COLUMNS: &'static [Column] = &[
        left("PATH"),
        right("SIZE"),
        left("MODIFIED"),
        left("VERSION"),
        left("ETAG"),
        left("S3-ETAG"),
        left("CONTENT-TYPE"),
        left("METADATA"),
        left("CHECKSUMS"),
    ];

    fn kind(&self) -> &'static str {
        "stat"
    }

    fn cells(&self, exact: bool) -> Vec<String> {
        let list = |map: &BTreeMap<String, String>| {
            let pairs = map.iter().map(|(name, value)| printable(&format!("{name}={value}")));
            pairs.collect::<Vec<_>>().join(" ")
        };
        vec![
            printable(&self.path),
            size(self.size, exact),
            self.modified.clone(),
            self.version.to_string(),
            self.etag.clone(),
            self.s3_etag.clone(),
            printable(self.content_type.as_deref().unwrap_or("-")),
            list(&self.metadata),
            list(&self.checksums),
        ]
    }
}

/// What was done to one item.
#[derive(Serialize)]
pub(super) struct ActionRecord {
    /// Which verb did it; its `type`.
    #[serde(skip)]
    pub(super) verb: &'static str,
    /// Where it comes from: a path or an address; absent for removals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<String>,
    /// What was made, changed or removed.
    pub(super) path: String,
    /// Its length, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<u64>,
    /// Bytes of it that were there before and were not moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) found: Option<u64>,
    /// Its native ETag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) etag: Option<String>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<u64>,
    /// Durable copies of its least copied chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) replicas_durable: Option<u8>,
    /// Whether nothing was done because of `--dry-run`.
    pub(super) dry_run: bool,
}

impl ActionRecord {
    /// Something that has only a name.
    pub(super) fn of(verb: &'static str, path: impl ToString, dry_run: bool) -> ActionRecord {
        let path = path.to_string();
        ActionRecord {
            verb,
            source: None,
            path,
            size: None,
            found: None,
            etag: None,
            version: None,
            replicas_durable: None,
            dry_run,
        }
    }

    /// Something that came from somewhere.
    pub(super) fn from(
        verb: &'static str,
        source: impl ToString,
        path: impl ToString,
        size: Option<u64>,
        dry_run: bool,
    ) -> ActionRecord {
        ActionRecord { source: Some(source.to_string()), size, ..ActionRecord::of(verb, path, dry_run) }
    }

    /// With the version that was read.
    pub(super) fn version(self, info: &FileInfo) -> ActionRecord {
        ActionRecord { etag: Some(info.tags.native()), version: Some(info.stamp.0), ..self }
    }

    /// With what the masters said about the new version.
    pub(super) fn committed(self, committed: &Committed) -> ActionRecord {
        ActionRecord {
            size: Some(committed.length),
            etag: Some(committed.tags.native()),
            version: Some(committed.stamp.0),
            replicas_durable: Some(committed.replicas_durable),
            ..self
        }
    }
}

impl Record for ActionRecord {
    const COLUMNS: &'static [Column] = &[left("DONE"), right("SIZE"), left("PATH"), left("FROM")];

    fn kind(&self) -> &'static str {
        self.verb
    }

    fn cells(&self, exact: bool) -> Vec<String> {
        let done = if self.dry_run { format!("would {}", self.verb) } else { self.verb.to_owned() };
        let bytes = self.size.map_or_else(|| "-".to_owned(), |bytes| size(bytes, exact));
        vec![done, bytes, printable(&self.path), printable(self.source.as_deref().unwrap_or("-"))]
    }
}

/// The address of a file, with the profile it was named under.
pub(super) fn address(profile: Option<&str>, path: &FilePath) -> String {
    let profile = profile.map(|profile| format!("{profile}@")).unwrap_or_default();
    format!("cairn://{profile}{path}")
}
