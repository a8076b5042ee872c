//! Giving the whole state to an administrator, who keeps it as a backup: as of one moment, while writes go on.
//!
//! The same walk that gives the state to other masters. It lives in the leader's memory: a new leader does not have it, and says so.

use crate::peers::{PeerReply, rows_of_page};
use crate::server::MasterServer;
use cairn_common::backup::Header;
use cairn_common::wire;
use cairn_common::wire::master::{BackupPage, MasterError, MasterReply};

impl MasterServer {
    pub(super) async fn begin_backup(&self) -> Result<MasterReply, MasterError> {
        self.must_lead()?;
        let generation = self.members()?.membership.generation;
        let tag = self.begin_snapshot().await?;
        tracing::info!(stamp = %tag.position.stamp, "a backup of the state is begun");
        let header = Header::new(
            self.cluster,
            (generation, self.generation),
            tag.position.stamp,
            self.clock.wall_ms(),
            *self.keyring.cluster_key(),
        );
        Ok(MasterReply::BackupBegun { id: tag.id, header: wire::encode(&header).into() })
    }

    pub(super) async fn backup_page(&self, id: u64, page: u64) -> Result<BackupPage, MasterError> {
        self.must_lead()?;
        Ok(match self.snapshot_page(id, page).await {
            PeerReply::Page { rows } => {
                let bytes = rows_of_page(&rows);
                let hash = *blake3::hash(&bytes).as_bytes();
                BackupPage::Rows(bytes.into(), hash)
            }
            PeerReply::End { .. } => BackupPage::End,
            PeerReply::Gone | PeerReply::Checkpoints(..) | PeerReply::Matched(_) => BackupPage::Gone,
        })
    }
}
