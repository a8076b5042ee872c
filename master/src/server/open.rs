//! Opening what a master keeps, and starting its member of the group.

use super::{Peers, StartError};
use crate::machine::{FIRST, StoreMachine, conf_in, init_state};
use crate::peers::{Links, SnapshotServer};
use crate::raft::{EngineLog, Group, GroupConfig, LogError, LogStore as _};
use crate::store::MetaStore as _;
use crate::stores::Stores;
use cairn_common::ids::{NodeId, Stamp};
use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};

/// The time of the newest command in a state whose group has others to ask what time it is.
pub(super) fn last_ms(stores: &Stores, node: NodeId) -> Result<Option<u64>, StartError> {
    let store = stores.current();
    let stamp = store.applied()?.stamp;
    let conf = conf_in(store.as_ref())?;
    let is_alone = conf.voters == [u64::from(node.0)];
    Ok((stamp > Stamp::ZERO && !is_alone).then(|| stamp.ms()))
}

/// Opens the log and brings it and the state together: a new cluster's first master makes both.
pub(super) fn open_log(folder: &Path, stores: &Stores, node: NodeId, joining: bool) -> Result<EngineLog, StartError> {
    let mut log = EngineLog::open(&folder.join("log"))?;
    let store = stores.current();
    if store.applied()?.index == 0 && log.last_index()? <= FIRST.0 && !joining {
        stores.note_member()?;
        init_state(store.as_ref(), node)?;
        log.reset(FIRST.0, FIRST.1)?;
    }
    // The state was taken over from elsewhere, and a crash came before the log was begun anew behind it.
    if let Some((index, term)) = stores.taken_over()
        && log.truncated()?.0 < index
    {
        log.reset(index, term)?;
    }
    Ok(log)
}

pub(super) fn start_group(
    node: NodeId,
    peers: &Arc<Peers>,
    snapshots: &Arc<SnapshotServer>,
    machine: StoreMachine,
    log: EngineLog,
) -> Result<Arc<Group>, LogError> {
    // The links tell the group who cannot be reached, and the group sends through the links.
    let group: Arc<OnceLock<Weak<Group>>> = Arc::default();
    let unreachable = {
        let group = Arc::clone(&group);
        move |node| {
            if let Some(group) = group.get().and_then(Weak::upgrade) {
                group.unreachable(node);
            }
        }
    };
    let connect = {
        let peers = Arc::clone(peers);
        move |node| peers.link(node)
    };
    let links = Links::new(tokio::runtime::Handle::current(), Box::new(connect), Box::new(unreachable));
    let config = GroupConfig {
        node,
        run: peers.seams.random.number(),
        outbox: Box::new(move |messages| links.send(messages)),
        snapshots: Some(Arc::clone(snapshots) as Arc<_>),
        fatal: Box::new(end_process),
    };
    let started = Arc::new(Group::start(config, machine, log, Arc::clone(&peers.seams.clock))?);
    let _ = group.set(Arc::downgrade(&started));
    Ok(started)
}

/// A log or a state in doubt must not be written to, nor read from, any more.
pub(super) fn end_process(reason: String) {
    tracing::error!(reason, "this master cannot go on and ends its process");
    std::process::abort();
}
