//! Whether the folder of a master is an old copy of itself.
//!
//! A log that was put back from a copy is whole, and its marker fits it; but it lacks votes that were given and entries that were
//! acknowledged. A leader remembers what each member has had. So a member asks before it takes part, while that can still be
//! known. A leader that was elected since knows nothing, and a group that starts as a whole has none: then it is not noticed.

use crate::machine::conf_in;
use crate::peers::{PeerReply, PeerRequest};
use crate::server::{Peers, StartError};
use crate::stores::Stores;
use cairn_common::ids::NodeId;
use cairn_common::wire::frame::Service;
use cairn_common::wire::{decode, encode};
use futures::future::join_all;
use std::path::Path;
use std::time::Duration;

/// How long the others may take to answer; a start is not held up for longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks the other members. `last`: index of the last entry of the log.
pub(crate) async fn check(folder: &Path, peers: &Peers, stores: &Stores, last: u64) -> Result<(), StartError> {
    let conf = conf_in(stores.current().as_ref())?;
    let others = conf.voters.iter().filter_map(|id| u32::try_from(*id).ok()).map(NodeId);
    let asked = others.filter(|node| *node != peers.node).map(|node| ask(peers, node));
    let matched = join_all(asked).await.into_iter().flatten().max().unwrap_or(0);
    if matched > last {
        return Err(StartError::OldCopy { folder: folder.to_owned(), last, matched });
    }
    Ok(())
}

async fn ask(peers: &Peers, node: NodeId) -> Option<u64> {
    let link = peers.link(node)?;
    let answer = tokio::select! {
        biased;
        answer = link.call(Service::Raft, encode(&PeerRequest::Matched).into()) => answer.ok()?,
        () = peers.seams.clock.sleep(PATIENCE) => return None,
    };
    match decode(&answer) {
        Ok(PeerReply::Matched(matched)) => Some(matched),
        _ => None,
    }
}
