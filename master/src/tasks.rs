//! What the leader does by itself: ends what has run out, and lets go what nobody needs. It only waits, looks, and proposes;
//! what happens is decided where every command is.

use crate::lifecycle::Walk;
use crate::members::{self, Step};
use crate::query;
use crate::server::MasterServer;
use cairn_common::ids::Stamp;
use cairn_common::wire::command::{Command, Done};
use cairn_common::wire::master::MasterError;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// Pause between two looks at the group, which should not stay for long in a shape that nobody wants.
const PAUSE: Duration = Duration::from_millis(200);
/// Looks at the group for one at everything else.
const LOOKS: u32 = 5;
/// Sessions ended by one command.
const SESSIONS_AT_ONCE: usize = 1000;

/// Runs until the master stops.
pub(crate) async fn run(server: Weak<MasterServer>, stop: Arc<Notify>) {
    let mut looks = 0_u32;
    let mut walk = Walk::default();
    loop {
        let Some(pause) = server.upgrade().map(|server| server.clock.sleep(PAUSE)) else { return };
        tokio::select! {
            biased;
            () = stop.notified() => return,
            () = pause => {}
        }
        let Some(server) = server.upgrade() else { return };
        if !server.status().leading {
            walk = Walk::default();
            continue;
        }
        if let Err(error) = tend_group(&server).await {
            tracing::debug!(%error, "the members of the masters' group are not changed yet");
        }
        looks = looks.wrapping_add(1);
        if !looks.is_multiple_of(LOOKS) {
            continue;
        }
        if let Err(error) = look(&server).await {
            tracing::debug!(%error, "what has run out is not ended yet");
        }
        if let Err(error) = walk.go_on(&server).await {
            tracing::debug!(%error, "what a lifecycle ends is not ended yet");
        }
    }
}

async fn look(server: &MasterServer) -> Result<(), MasterError> {
    let now = Stamp::from_ms(server.clock.wall_ms());
    let sessions = server.scan(move |view| query::sessions_due(view, now, SESSIONS_AT_ONCE)).await?;
    if !sessions.is_empty() {
        server.execute(None, Command::ExpireSessions { sessions }).await?;
    }
    while server.look(|view| query::release_due(view, now))? {
        let Done::Released { more: true, .. } = server.execute(None, Command::Release).await? else { break };
    }
    Ok(())
}

/// Brings the members of the group to what the membership asks for, one change at a time.
async fn tend_group(server: &MasterServer) -> Result<(), MasterError> {
    let members = server.members()?;
    match members::next_step_of_leader(&members.membership, &server.group_members(), server.node) {
        None => Ok(()),
        Some(Step::Change(change)) => {
            tracing::info!(?change, "changing the members of the masters' group");
            server.change_members(change.to_raft()).await
        }
        Some(Step::HandOver(to)) => {
            tracing::info!(%to, "this master leaves the group and hands over");
            server.transfer_leader(to)
        }
    }
}
