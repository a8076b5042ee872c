//! The client itself: what it holds, how it is made, and how it asks the masters.

use crate::budget::Budget;
use crate::cluster::{ClusterView, Directory};
use crate::error::ConnectError;
use crate::health::Health;
use crate::options::ClientConfig;
use crate::scout::Scout;
use crate::session::Sessions;
use arc_swap::ArcSwap;
use cairn_common::error::ErrorKind;
use cairn_common::ids::NodeId;
use cairn_common::limits;
use cairn_common::net::RemoteMaster;
use cairn_common::net::handshake::{Credential, Identity};
use cairn_common::seam::{Clock, HttpTransport, OsRandom, Pool, Random, SystemClock, Transport};
use cairn_common::wire::chunk::ChunkService;
use cairn_common::wire::command::{Command, Done};
use cairn_common::wire::master::{Actor, Caller, Master, MasterCall, MasterError, MasterReply, MasterRequest};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often a client asks whether the membership has changed.
const REFRESH: Duration = Duration::from_secs(2);
/// How long a question that changes nothing is repeated before its error is handed on.
const ASK_PATIENCE: Duration = Duration::from_secs(10);
/// First pause between repetitions; doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// How long `close` waits for copies that are still being written.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// A client of one cluster. Cheap to clone; clones share connections, session and memory bound.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
    pub(crate) actor: Option<Actor>,
}

/// A chunkserver in this process: reached by plain calls instead of the network.
#[derive(Clone)]
pub struct LocalNode {
    /// Its node.
    pub node: NodeId,
    /// The chunkserver itself.
    pub chunkserver: Arc<dyn ChunkService>,
}

/// What all clones share.
pub(crate) struct Inner {
    master: Arc<dyn Master>,
    /// The same, if it is reached over the network, to tell it new addresses.
    remote: Option<Arc<RemoteMaster>>,
    caller: Caller,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pool: Pool,
    pub(crate) budget: Budget,
    pub(crate) health: Health,
    pub(crate) directory: Directory,
    pub(crate) sessions: Sessions,
    pub(crate) parallel: usize,
    /// When uploads ask for chunks by name first; `None`: never.
    pub(crate) scout: Option<Scout>,
    view: ArcSwap<ClusterView>,
    /// Copies beyond the quorum that are still being written.
    pub(crate) background: TaskTracker,
    stop: CancellationToken,
}

impl Client {
    /// Connects over the network. Fails if no master answers, or none accepts the key.
    pub async fn connect(config: ClientConfig) -> Result<Client, ConnectError> {
        if config.masters.is_empty() {
            return Err(ConnectError::Config("no master address is given".to_owned()));
        }
        let transport: Arc<dyn Transport> = Arc::new(HttpTransport::new(&config.tls).map_err(ConnectError::Config)?);
        let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(SystemClock::new()), Arc::new(OsRandom));
        let (identity, secret) = match &config.access_key {
            Some((access, secret)) => (Identity::Key(access.clone()), Identity::key_secret(secret)),
            None => (Identity::Anonymous, Credential::anonymous().secret),
        };
        let master = Arc::new(RemoteMaster::new(
            config.masters.clone(),
            Arc::clone(&transport),
            Arc::clone(&clock),
            Arc::clone(&random),
            Credential { identity, secret },
            None,
        ));
        let remote = Some(Arc::clone(&master));
        let directory = Directory::new(transport, Arc::clone(&clock), random, None);
        Client::start(master, remote, Caller::Anonymous, clock, directory, &config).await
    }

    /// Connects within a process that runs roles itself: the master is `master`, called in the name of `caller`; the
    /// chunkserver `local` is called directly; everything else is reached by `transport`.
    pub async fn embedded(
        master: Arc<dyn Master>,
        remote: Option<Arc<RemoteMaster>>,
        caller: Caller,
        local: Option<LocalNode>,
        transport: Arc<dyn Transport>,
        config: &ClientConfig,
    ) -> Result<Client, ConnectError> {
        let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (Arc::new(SystemClock::new()), Arc::new(OsRandom));
        let directory = Directory::new(transport, Arc::clone(&clock), random, local);
        Client::start(master, remote, caller, clock, directory, config).await
    }

    async fn start(
        master: Arc<dyn Master>,
        remote: Option<Arc<RemoteMaster>>,
        caller: Caller,
        clock: Arc<dyn Clock>,
        directory: Directory,
        config: &ClientConfig,
    ) -> Result<Client, ConnectError> {
        let call = MasterCall { actor: None, request: MasterRequest::Membership { revision: 0 } };
        let MasterReply::Membership(Some(membership)) = master.call(&caller, call).await? else {
            return Err(ConnectError::Master(wrong_reply()));
        };
        let view = ClusterView::new(*membership, None).map_err(|error| ConnectError::Config(error.to_string()))?;
        let inner = Arc::new(Inner {
            master,
            remote,
            caller,
            clock,
            pool: Pool::for_computing(),
            budget: Budget::new(config.buffer_bytes),
            health: Health::default(),
            directory,
            sessions: Sessions::default(),
            parallel: config.parallel.max(1),
            scout: config.find.then(Scout::default),
            view: ArcSwap::from_pointee(view),
            background: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        inner.tell_masters();
        tokio::spawn(keep_fresh(Arc::downgrade(&inner), inner.stop.clone()));
        Ok(Client { inner, actor: None })
    }

    /// The same client asking in the name of `actor`. Only gateways may.
    pub fn acting_as(&self, actor: Actor) -> Client {
        Client { inner: Arc::clone(&self.inner), actor: Some(actor) }
    }

    /// The cluster as this client knows it now.
    pub fn view(&self) -> Arc<ClusterView> {
        self.inner.view.load_full()
    }

    /// Waits for copies that are still being written, and ends the session. The client cannot write afterwards.
    pub async fn close(&self) {
        self.inner.background.close();
        let clock = &self.inner.clock;
        tokio::select! {
            biased;
            () = self.inner.background.wait() => {}
            () = clock.sleep(CLOSE_PATIENCE) => tracing::warn!("copies beyond the quorum were not finished"),
        }
        self.inner.stop.cancel();
        self.inner.sessions.end(&self.inner).await;
    }

    /// Asks something that changes nothing; repeated for a while if no master can be reached.
    pub(crate) async fn ask(&self, request: MasterRequest) -> Result<MasterReply, MasterError> {
        self.inner.ask(self.actor.clone(), request).await
    }

    /// Changes the state, exactly once; repeated for a while under the same number if the answer is lost.
    pub(crate) async fn write(&self, command: Command) -> Result<Done, MasterError> {
        self.inner.sessions.write(&self.inner, self.actor.clone(), command).await
    }
}

impl Inner {
    /// One call to a master, not repeated.
    pub(crate) async fn call(&self, actor: Option<Actor>, request: MasterRequest) -> Result<MasterReply, MasterError> {
        self.master.call(&self.caller, MasterCall { actor, request }).await
    }

    pub(crate) async fn ask(&self, actor: Option<Actor>, request: MasterRequest) -> Result<MasterReply, MasterError> {
        let mut patience = Patience::new(self.clock.as_ref(), ASK_PATIENCE);
        loop {
            match self.call(actor.clone(), request.clone()).await {
                Err(error) if error.kind().is_retryable() && patience.wait().await => {}
                // Nothing was changed, so nothing is unknown.
                Err(MasterError::Unknown) => return Err(MasterError::Unavailable("the answer was lost".to_owned())),
                answer => return answer,
            }
        }
    }

    pub(crate) fn view(&self) -> Arc<ClusterView> {
        self.view.load_full()
    }

    /// Fetches the membership if there is a newer one.
    pub(crate) async fn refresh(&self) -> Result<(), MasterError> {
        let before = self.view();
        let request = MasterRequest::Membership { revision: before.membership().revision };
        let MasterReply::Membership(newer) = self.call(None, request).await? else { return Err(wrong_reply()) };
        let Some(newer) = newer else { return Ok(()) };
        match ClusterView::new(*newer, Some(&before)) {
            Ok(view) => {
                tracing::debug!(epoch = %view.epoch(), revision = view.membership().revision, "the membership has changed");
                self.view.store(Arc::new(view));
                self.tell_masters();
                Ok(())
            }
            Err(error) => Err(MasterError::Bug(error.to_string())),
        }
    }

    fn tell_masters(&self) {
        let masters = self.view().masters();
        if let Some(remote) = self.remote.as_ref().filter(|_| !masters.is_empty()) {
            remote.set_addresses(&masters);
        }
    }
}

/// Keeps view and session fresh until the client is closed or dropped.
async fn keep_fresh(inner: std::sync::Weak<Inner>, stop: CancellationToken) {
    let mut renewed = Duration::ZERO;
    loop {
        let Some(now) = inner.upgrade() else { return };
        let sleep = now.clock.sleep(REFRESH);
        drop(now);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep => {}
        }
        let Some(inner) = inner.upgrade() else { return };
        if let Err(error) = inner.refresh().await {
            tracing::debug!(%error, "cannot refresh the membership");
        }
        let now = inner.clock.monotonic();
        inner.sessions.close_unused_windows(&inner).await;
        if now.saturating_sub(renewed) >= Duration::from_millis(limits::SESSION_RENEW_MS) {
            renewed = now;
            inner.sessions.renew(&inner).await;
        }
    }
}

/// How long to go on trying, with growing pauses.
pub(crate) struct Patience<'a> {
    clock: &'a dyn Clock,
    until: Duration,
    pause: Duration,
}

impl<'a> Patience<'a> {
    pub(crate) fn new(clock: &'a dyn Clock, patience: Duration) -> Patience<'a> {
        Patience { clock, until: clock.monotonic() + patience, pause: PAUSE_MIN }
    }

    /// Waits before another try; `false`: patience is at its end.
    pub(crate) async fn wait(&mut self) -> bool {
        if self.clock.monotonic() + self.pause > self.until {
            return false;
        }
        self.clock.sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        true
    }
}

/// The answer of a master is to another question: a bug on one of both sides.
pub(crate) fn wrong_reply() -> MasterError {
    MasterError::Bug("the answer is to another question".to_owned())
}

/// Whether an error says that nothing was done and trying again may help.
pub(crate) fn is_passing(error: &MasterError) -> bool {
    error.kind() == ErrorKind::Unavailable
}
