//! How the leader goes through the buckets that have a lifecycle: all of their keys, a stretch at a time, again and again. Where it
//! is, it alone knows; a new leader begins anew, which costs looking and changes nothing.

use crate::query::{self, LifecycleWork};
use crate::server::MasterServer;
use cairn_common::ids::Stamp;
use cairn_common::limits::EXPIRED_AT_ONCE_MAX;
use cairn_common::name::BucketName;
use cairn_common::wire::command::{Command, Done};
use cairn_common::wire::master::MasterError;
use std::collections::VecDeque;
use std::time::Duration;

/// Keys of a stretch.
const STRETCH: usize = 1000;
/// Stretches at one look.
const STRETCHES: usize = 4;
/// From the beginning of one walk over all buckets to the next, at least.
const PAUSE: Duration = Duration::from_secs(10);

/// A walk over all buckets that have rules.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// Buckets that are left; the first is being walked over.
    buckets: VecDeque<BucketName>,
    /// The last key that was looked at.
    after: Option<String>,
    /// When this walk began, on the monotonic clock.
    began: Option<Duration>,
}

impl Walk {
    /// Goes on a little.
    pub(crate) async fn go_on(&mut self, server: &MasterServer) -> Result<(), MasterError> {
        if self.buckets.is_empty() {
            let now = server.clock.monotonic();
            if self.began.is_some_and(|began| now.saturating_sub(began) < PAUSE) {
                return Ok(());
            }
            self.began = Some(now);
            self.after = None;
            self.buckets = server.scan(query::lifecycle_buckets).await?.into();
        }
        for _ in 0..STRETCHES {
            let Some(bucket) = self.buckets.front().cloned() else { break };
            match self.stretch(server, bucket).await {
                Ok(Some(after)) => self.after = after,
                // At its end, or removed meanwhile: on to the next, whatever was the matter with this one.
                done => {
                    self.buckets.pop_front();
                    self.after = None;
                    done?;
                }
            }
        }
        Ok(())
    }

    /// Ends what has ended in a stretch of a bucket; answers behind which key to go on, if there is more.
    async fn stretch(&self, server: &MasterServer, bucket: BucketName) -> Result<Option<Option<String>>, MasterError> {
        let now = Stamp::from_ms(server.clock.wall_ms());
        let (name, after) = (bucket.clone(), self.after.clone());
        let look =
            move |view: &dyn crate::store::MetaView| query::lifecycle_work(view, &name, after.as_deref(), STRETCH, now);
        let LifecycleWork { keys, uploads, next } = server.scan(look).await?;
        if !keys.is_empty() || !uploads.is_empty() {
            let done = server.execute(None, Command::Expire { bucket, keys, uploads }).await?;
            // As many as one command ends: there may be more of them here.
            if matches!(done, Done::Expired { versions } if versions >= EXPIRED_AT_ONCE_MAX as u64) {
                return Ok(Some(self.after.clone()));
            }
        }
        Ok(next.map(Some))
    }
}
