//! Fetching the whole state of the masters, as of one moment, as the bytes of a backup.

use crate::client::{Client, wrong_reply};
use crate::error::Error;
use bytes::Bytes;
use cairn_common::backup::{Header, Writer};
use cairn_common::wire;
use cairn_common::wire::master::{BackupPage, MasterError, MasterReply, MasterRequest};
use futures::Stream;
use futures::stream;

/// A backup that is begun.
pub struct Backup {
    client: Client,
    id: u64,
    header: Header,
    encoded: Bytes,
}

/// Where the stream of a backup is.
enum At {
    Start,
    Page(Box<Writer>, u64),
    End,
}

impl Client {
    /// Begins a backup of the masters' state. For keys that may administer the cluster: it holds every secret of it.
    pub async fn begin_backup(&self) -> Result<Backup, Error> {
        let MasterReply::BackupBegun { id, header: encoded } = self.ask(MasterRequest::BeginBackup).await? else {
            return Err(wrong_reply().into());
        };
        let header = wire::decode(&encoded).map_err(|error| MasterError::Bug(error.to_string()))?;
        Ok(Backup { client: self.clone(), id, header, encoded })
    }
}

impl Backup {
    /// What it is of.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The bytes of the file, in pieces of about 1 MiB. They are a backup only if the stream comes to its end without an error;
    /// after one, begin anew.
    pub fn into_pieces(self) -> impl Stream<Item = Result<Bytes, Error>> + Send {
        stream::unfold((self, At::Start), |(backup, at)| async move {
            let (piece, at) = match at {
                At::End => return None,
                At::Start => {
                    let (writer, piece) = Writer::begin(&backup.encoded);
                    (Ok(piece), At::Page(Box::new(writer), 0))
                }
                At::Page(writer, page) => match backup.page(page).await {
                    Err(error) => (Err(error), At::End),
                    Ok(None) => (Ok(writer.end()), At::End),
                    Ok(Some(rows)) => {
                        let mut writer = writer;
                        (Ok(writer.page(&rows)), At::Page(writer, page + 1))
                    }
                },
            };
            Some((piece, (backup, at)))
        })
    }

    /// A page; `None` after the last.
    async fn page(&self, page: u64) -> Result<Option<Bytes>, Error> {
        let MasterReply::BackupPage(answer) = self.client.ask(MasterRequest::BackupPage { id: self.id, page }).await?
        else {
            return Err(wrong_reply().into());
        };
        match answer {
            BackupPage::Rows(rows, hash) if *blake3::hash(&rows).as_bytes() == hash => Ok(Some(rows)),
            BackupPage::Rows(..) => {
                Err(MasterError::Bug("a page of the backup was altered on the way".to_owned()).into())
            }
            BackupPage::End => Ok(None),
            BackupPage::Gone => {
                let reason = "the masters' leader has changed while the backup was fetched; begin it again";
                Err(MasterError::Unavailable(reason.to_owned()).into())
            }
        }
    }
}
