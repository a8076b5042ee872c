//! What a user of the library can set.

use cairn_common::chunk::Chunking;
use cairn_common::file::{Attributes, Checksum, Condition};
use cairn_common::limits;
use cairn_common::seam::TlsTrust;
use cairn_common::version::VersionId;
use cairn_common::wire::master::RangeWanted;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How to reach a cluster.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Base URLs of masters; one that answers is enough, the others are learnt.
    pub masters: Vec<String>,
    /// Access key and secret. `None`: anonymous.
    pub access_key: Option<(String, String)>,
    /// Which certificates to trust.
    pub tls: TlsTrust,
    /// Memory for chunk buffers of all operations together, in bytes.
    pub buffer_bytes: usize,
    /// Chunks that one upload or download has in flight.
    pub parallel: usize,
    /// Ask for chunks by their names before their bytes are sent: for uploads that are tried again, and clients far away. Has an
    /// effect only for keys that may read everything of their tenant.
    pub find: bool,
}

impl ClientConfig {
    /// Defaults for these masters.
    pub fn new(masters: impl IntoIterator<Item = impl Into<String>>) -> ClientConfig {
        ClientConfig {
            masters: masters.into_iter().map(Into::into).collect(),
            access_key: None,
            tls: TlsTrust::System,
            buffer_bytes: limits::BUFFER_BUDGET_BYTES,
            parallel: 4,
            find: false,
        }
    }
}

/// Told how far a put is; a get yields its bytes, which can be counted. Called from the operation's own task: must return at once.
pub trait Progress: Send + Sync {
    /// `bytes` more are durable on a write quorum.
    fn advanced(&self, bytes: u64);

    /// Of those, `bytes` were stored before and were not sent again.
    fn found(&self, _bytes: u64) {}
}

/// What is stored with a file, and on which condition.
#[derive(Default)]
pub struct PutOptions {
    /// Headers and metadata.
    pub attributes: Attributes,
    /// On the version that is replaced.
    pub condition: Condition,
    /// How to cut; `None`: by content.
    pub chunking: Option<Chunking>,
    /// Length of the body if it is known; another length is an error and stores nothing.
    pub length: Option<u64>,
    /// Compute MD5 and store it as the S3 tag. For gateways: their clients expect it.
    pub md5: bool,
    /// Called with the body in order, on a computing thread, and asked at its end: for checksums of the whole body.
    pub inspector: Option<Box<dyn Inspector>>,
    /// Told how far it is.
    pub progress: Option<Arc<dyn Progress>>,
}

impl std::fmt::Debug for PutOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PutOptions")
            .field("attributes", &self.attributes)
            .field("condition", &self.condition)
            .field("chunking", &self.chunking)
            .field("length", &self.length)
            .field("md5", &self.md5)
            .finish_non_exhaustive()
    }
}

/// Why an [`Inspector`] refused a body: an error of its own, which its maker can downcast to.
pub type RefusedBody = Box<dyn std::error::Error + Send + Sync>;

/// Sees a body on its way into the store, and may refuse it before anything is visible.
pub trait Inspector: Send {
    /// The next bytes of the body.
    fn update(&mut self, bytes: &[u8]);

    /// After the last byte, before the commit: checksums to store, or why the body is refused. `md5` is that of the body if
    /// [`PutOptions::md5`] was set. The reason reaches the caller as it is, in [`PutError::Refused`](crate::PutError::Refused).
    fn finish(self: Box<Self>, md5: Option<[u8; 16]>) -> Result<BTreeMap<String, Checksum>, RefusedBody>;
}

/// What to read.
#[derive(Clone, Debug)]
pub struct GetOptions {
    /// Which bytes.
    pub range: RangeWanted,
    /// Of which version; `None`: the current one.
    pub version: Option<VersionId>,
    /// On that version.
    pub condition: Condition,
}

impl Default for GetOptions {
    fn default() -> GetOptions {
        GetOptions { range: RangeWanted::All, version: None, condition: Condition::default() }
    }
}
