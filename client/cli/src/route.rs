//! Which way bytes of files go: straight to and from the chunkservers, or through a gateway.
//!
//! With `--direct=auto` several chunkservers are asked once, before the first bytes go, whether they answer: a way that is closed is
//! known after two seconds instead of after the time-outs of a whole transfer. A transfer that fails all the same, because too few of them
//! are reached, changes the way of all that follow.

use crate::address::Remote;
use crate::failure::Failure;
use crate::relay::{Direct, Relay};
use crate::run::Session;
use cairn_client::Client;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The ways found so far, by profile: `None` is straight.
pub(crate) struct Routes {
    direct: Direct,
    known: tokio::sync::Mutex<BTreeMap<Option<String>, Option<Arc<Relay>>>>,
}

impl Routes {
    /// Nothing is known yet.
    pub(crate) fn new(direct: Direct) -> Routes {
        Routes { direct, known: tokio::sync::Mutex::default() }
    }

    /// Whether bytes may only go through a gateway.
    pub(crate) fn never_straight(&self) -> bool {
        self.direct == Direct::Never
    }

    /// The way of bytes at `remote`; a gateway, if not straight. Found out once, while all others wait.
    pub(crate) async fn of(
        &self,
        session: &Session,
        remote: &Remote,
        client: &Client,
    ) -> Result<Option<Arc<Relay>>, Failure> {
        let mut known = self.known.lock().await;
        if let Some(way) = known.get(&remote.profile) {
            return Ok(way.clone());
        }
        let settings = session.clients.settings(remote.profile.as_deref())?;
        let straight = match self.direct {
            Direct::Always => true,
            Direct::Never => false,
            Direct::Auto => settings.endpoint.is_none() || client.reaches_chunkservers().await,
        };
        let way = if straight { None } else { Some(Arc::new(Relay::new(&settings)?)) };
        if way.is_some() && self.direct == Direct::Auto {
            session.out.note("no chunkserver can be reached from here; going through the HTTP API");
        }
        known.insert(remote.profile.clone(), way.clone());
        Ok(way)
    }

    /// The way through a gateway for a transfer that failed because chunkservers were not reached, if that is allowed and it is known where
    /// one is. Later files go that way from the start.
    pub(crate) async fn fall_back(&self, session: &Session, remote: &Remote) -> Result<Option<Arc<Relay>>, Failure> {
        let settings = session.clients.settings(remote.profile.as_deref())?;
        if self.direct != Direct::Auto || settings.endpoint.is_none() {
            return Ok(None);
        }
        let mut known = self.known.lock().await;
        if let Some(Some(relay)) = known.get(&remote.profile) {
            return Ok(Some(Arc::clone(relay)));
        }
        let relay = Arc::new(Relay::new(&settings)?);
        known.insert(remote.profile.clone(), Some(Arc::clone(&relay)));
        session.out.note("too few chunkservers can be reached from here; going through the HTTP API");
        Ok(Some(relay))
    }
}
