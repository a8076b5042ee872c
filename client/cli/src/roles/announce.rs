//! Telling the masters that a node without disks has started. One with disks does so itself, volume by volume.

use super::server::Shared;
use anyhow::bail;
use cairn_common::error::ErrorKind;
use cairn_common::ids::NodeId;
use cairn_common::wire::command::{Command, Done};
use cairn_common::wire::master::{Caller, Master, MasterCall, MasterError, MasterReply, MasterRequest};
use std::time::Duration;

/// Pause before the masters are asked again.
const RETRY: Duration = Duration::from_millis(500);

/// Begins a new run of this node and confirms it: from then on it is live, under the address that it has now. Waits for the
/// masters for as long as it takes.
pub(super) async fn announce(shared: &Shared, node: NodeId, master: &dyn Master) -> anyhow::Result<()> {
    let boot = Command::Boot {
        node,
        address: shared.node_url.clone().unwrap_or_default(),
        weight: 0,
        zone: shared.settings.zone.clone(),
        volumes: Vec::new(),
        new_disks: Vec::new(),
    };
    let Done::Boot { boot, .. } = say(shared, node, master, boot).await? else {
        bail!("a master answered something else to the start of this node");
    };
    say(shared, node, master, Command::Serve { node, boot }).await?;
    Ok(())
}

/// Executing either command twice does no harm.
async fn say(shared: &Shared, node: NodeId, master: &dyn Master, command: Command) -> Result<Done, MasterError> {
    loop {
        let request = MasterRequest::Write { session: None, command: command.clone() };
        match master.call(&Caller::Node(node), MasterCall { actor: None, request }).await {
            Ok(MasterReply::Done(done)) => return Ok(done),
            Ok(_) => return Err(MasterError::Bug("a command was answered with something else".to_owned())),
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unknown) => {
                tracing::info!(%error, "waiting for the masters");
                shared.clock.sleep(RETRY).await;
            }
            Err(error) => return Err(error),
        }
    }
}
