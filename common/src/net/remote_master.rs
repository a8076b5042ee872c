//! The masters, reached over frames: finds the one that leads, and goes on to another when one is gone.
//!
//! A master that is stopped or cut off says nothing, and the others name it as their leader until they notice. So one that was
//! silent is under suspicion for a while, which is longer than they need: until then it is asked last and not believed to lead.

use super::FrameClient;
use super::handshake::Credential;
use crate::ids::ClusterId;
use crate::limits::{CONNECT_TIMEOUT_MS, MASTER_CONNECT_MS, MASTER_SILENCE_MAX_MS, MASTER_SUSPECT_MS};
use crate::seam::{CallError, Clock, Random, Transport};
use crate::wire::frame::Service;
use crate::wire::master::{Caller, Master, MasterCall, MasterError, MasterReply};
use crate::wire::{decode, encode};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a call goes on looking for a master that leads.
const SEARCH_MS: u64 = 8_000;
/// Pause between two rounds over all masters.
const ROUND_PAUSE_MS: u64 = 50;

/// All masters of a cluster, as one. A call is sent to one master at a time. It is sent to another only when the first
/// cannot have acted; a call whose answer was lost ends as `Unknown`, and the caller decides.
pub struct RemoteMaster {
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    credential: Credential,
    cluster: Option<ClusterId>,
    state: Mutex<State>,
}

struct State {
    clients: BTreeMap<String, Arc<FrameClient>>,
    /// Addresses in the order in which to ask them; the first one answered last time.
    order: Vec<String>,
    /// Addresses that were silent, and when on the clock.
    silent: BTreeMap<String, Duration>,
}

impl RemoteMaster {
    /// Masters at these base URLs. Nothing is connected yet.
    pub fn new(
        addresses: Vec<String>,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        credential: Credential,
        cluster: Option<ClusterId>,
    ) -> RemoteMaster {
        let state = Mutex::new(State { clients: BTreeMap::new(), order: addresses, silent: BTreeMap::new() });
        RemoteMaster { transport, clock, random, credential, cluster, state }
    }

    /// Replaces the addresses, when the membership has changed.
    pub fn set_addresses(&self, addresses: &[String]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.order.retain(|address| addresses.contains(address));
        for address in addresses {
            if !state.order.contains(address) {
                state.order.push(address.clone());
            }
        }
        state.clients.retain(|address, _| addresses.contains(address));
        state.silent.retain(|address, _| addresses.contains(address));
    }

    /// Which cluster the masters belong to.
    pub async fn cluster(&self) -> Result<ClusterId, MasterError> {
        let mut reason = "no master address is known".to_owned();
        for address in self.order() {
            match self.client(&address).hello().await {
                Ok(hello) => return Ok(hello.cluster),
                Err(CallError::Refused { reason, .. }) => return Err(refused(&reason)),
                Err(error) => reason = error.to_string(),
            }
        }
        Err(MasterError::Unavailable(reason))
    }

    fn order(&self) -> Vec<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).order.clone()
    }

    /// Whom to ask in this round, and how long each may take to connect: those under suspicion only if all are, and then with time
    /// enough, for they may only be far away.
    fn round(&self) -> (Vec<String>, Duration) {
        let order = self.order();
        let trusted: Vec<String> = order.iter().filter(|address| !self.is_suspect(address)).cloned().collect();
        match trusted.is_empty() {
            true => (order, Duration::from_millis(CONNECT_TIMEOUT_MS)),
            false => (trusted, Duration::from_millis(MASTER_CONNECT_MS)),
        }
    }

    fn is_suspect(&self, address: &str) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let since = state.silent.get(address);
        since.is_some_and(|since| self.clock.monotonic() < *since + Duration::from_millis(MASTER_SUSPECT_MS))
    }

    fn suspect(&self, address: &str) {
        self.avoid(address);
        let now = self.clock.monotonic();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.silent.insert(address.to_owned(), now);
    }

    fn client(&self, address: &str) -> Arc<FrameClient> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let client = FrameClient::new(
                address.to_owned(),
                Arc::clone(&self.transport),
                Arc::clone(&self.clock),
                Arc::clone(&self.random),
                self.credential.clone(),
                self.cluster,
            );
            Arc::new(client.with_silence_max(Duration::from_millis(MASTER_SILENCE_MAX_MS)))
        };
        Arc::clone(state.clients.entry(address.to_owned()).or_insert_with(new))
    }

    fn prefer(&self, address: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.silent.remove(address);
        if state.order.first().is_some_and(|first| first == address) {
            return;
        }
        state.order.retain(|other| other != address);
        state.order.insert(0, address.to_owned());
    }

    /// A master that did not answer is asked last the next time.
    fn avoid(&self, address: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.order.retain(|other| other != address);
        state.order.push(address.to_owned());
    }

    async fn ask(
        &self,
        address: &str,
        body: Bytes,
        (connect_limit, patience): (Duration, Duration),
    ) -> Result<Result<MasterReply, MasterError>, CallError> {
        let client = self.client(address);
        // Whoever cannot be connected to was sent nothing, and another may be asked.
        tokio::select! {
            biased;
            connected = client.hello() => connected.map(drop)?,
            () = self.clock.sleep(connect_limit) => {
                let reason = "connecting took too long".to_owned();
                self.suspect(address);
                return Err(CallError::Unreachable { address: address.to_owned(), reason });
            }
        }
        let answer = tokio::select! {
            biased;
            answer = client.call(Service::Master, body) => answer?,
            () = self.clock.sleep(patience) => {
                tracing::debug!(address, "a master takes too long to answer");
                return Ok(Err(MasterError::Unknown));
            }
        };
        Ok(decode(&answer).unwrap_or_else(|error| Err(MasterError::Bug(format!("an answer cannot be read: {error}")))))
    }
}

fn refused(reason: &str) -> MasterError {
    tracing::warn!(reason, "the masters refused the connection");
    MasterError::Denied
}

#[async_trait]
impl Master for RemoteMaster {
    /// `caller` is ignored: the connection's credential says who calls.
    async fn call(&self, _caller: &Caller, call: MasterCall) -> Result<MasterReply, MasterError> {
        let unknown = "no master address is known";
        if self.order().is_empty() {
            // There is nobody to wait for.
            return Err(MasterError::Unavailable(unknown.to_owned()));
        }
        let body = Bytes::from(encode(&call));
        let patience = Duration::from_millis(call.request.answer_ms());
        let deadline = self.clock.monotonic() + Duration::from_millis(SEARCH_MS);
        let mut reason = unknown.to_owned();
        loop {
            let mut hint = None;
            let (addresses, connect_limit) = self.round();
            for address in addresses {
                let mut at = address;
                // A hint is followed at once, but only once: two masters may each believe in the other.
                for _ in 0..2 {
                    match self.ask(&at, body.clone(), (connect_limit, patience)).await {
                        Ok(Err(MasterError::NotLeader { leader })) => {
                            reason = format!("{at} does not lead");
                            hint = leader.filter(|leader| *leader != at && !self.is_suspect(leader));
                        }
                        Ok(Err(MasterError::Unknown)) => {
                            self.avoid(&at);
                            return Err(MasterError::Unknown);
                        }
                        Ok(answer) => {
                            self.prefer(&at);
                            return answer;
                        }
                        Err(CallError::Refused { reason, .. }) => return Err(refused(&reason)),
                        Err(error) if error.nothing_was_sent() => reason = error.to_string(),
                        Err(error) => {
                            tracing::debug!(%error, "a call to a master was lost");
                            self.suspect(&at);
                            return Err(MasterError::Unknown);
                        }
                    }
                    let Some(leader) = hint.take() else { break };
                    at = leader;
                }
            }
            if self.clock.monotonic() >= deadline {
                return Err(MasterError::Unavailable(reason));
            }
            self.clock.sleep(Duration::from_millis(ROUND_PAUSE_MS)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::FrameHandler;
    use super::super::testing::{QuickClock, StoppableServer};
    use super::*;
    use crate::net::handshake::Credential;
    use crate::seam::{BodyStream, BoxedIo, OsRandom};
    use crate::wire::master::MasterRequest;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    /// A master that leads from some moment on, and before that names another.
    struct Candidate {
        leads: AtomicBool,
        names: &'static str,
        asked: AtomicU64,
    }

    #[async_trait]
    impl FrameHandler for Candidate {
        async fn request(&self, _: &Caller, _: Service, _: Bytes) -> Option<Bytes> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let leader = Some(self.names.to_owned());
            let answer: Result<MasterReply, MasterError> = match self.leads.load(Ordering::Relaxed) {
                true => Ok(MasterReply::Membership(None)),
                false => Err(MasterError::NotLeader { leader }),
            };
            Some(encode(&answer).into())
        }

        async fn message(&self, _: &Caller, _: Service, _: Bytes) -> Option<()> {
            None
        }
    }

    /// Two masters by the names `a` and `b`.
    struct Two {
        a: StoppableServer,
        b: StoppableServer,
        tried_a: AtomicU64,
    }

    #[async_trait]
    impl Transport for Two {
        async fn connect(&self, address: &str) -> Result<BoxedIo, CallError> {
            if address == "b" {
                return self.b.connect(address).await;
            }
            self.tried_a.fetch_add(1, Ordering::Relaxed);
            self.a.connect(address).await
        }

        async fn http(&self, _: &str, _: http::Request<Bytes>) -> Result<http::Response<BodyStream>, CallError> {
            unreachable!("these tests send frames only")
        }
    }

    fn candidate(leads: bool, names: &'static str) -> Arc<Candidate> {
        Arc::new(Candidate { leads: AtomicBool::new(leads), names, asked: AtomicU64::new(0) })
    }

    #[tokio::test]
    async fn a_leader_that_falls_silent_is_left_although_the_others_still_name_it() {
        let (old, new) = (candidate(true, "a"), candidate(false, "a"));
        let server = |of: &Arc<Candidate>| StoppableServer::new(Arc::clone(of) as Arc<dyn FrameHandler>);
        let (a, b) = (server(&old), server(&new));
        let two = Arc::new(Two { a, b, tried_a: AtomicU64::new(0) });
        let clock = Arc::new(QuickClock::default());
        let (transport, time) = (Arc::clone(&two) as Arc<dyn Transport>, Arc::clone(&clock) as Arc<dyn Clock>);
        let addresses = vec!["a".to_owned(), "b".to_owned()];
        let masters = RemoteMaster::new(addresses, transport, time, Arc::new(OsRandom), Credential::anonymous(), None);
        let call = || MasterCall { actor: None, request: MasterRequest::Membership { revision: 0 } };
        masters.call(&Caller::Anonymous, call()).await.unwrap();
        two.a.stop();
        let before = clock.monotonic();
        let lost = masters.call(&Caller::Anonymous, call()).await.unwrap_err();
        assert_eq!(lost, MasterError::Unknown, "it may have acted");
        let noticed = clock.monotonic() - before;
        assert!(noticed.as_millis() < 2 * u128::from(MASTER_SILENCE_MAX_MS), "{noticed:?}");
        // The other one names the silent one until it leads itself.
        let elected = async {
            clock.sleep(Duration::from_millis(MASTER_SUSPECT_MS / 2)).await;
            new.leads.store(true, Ordering::Relaxed);
        };
        let (answer, ()) = tokio::join!(masters.call(&Caller::Anonymous, call()), elected);
        answer.unwrap();
        assert!(new.asked.load(Ordering::Relaxed) > 0, "the other one was asked");
        assert_eq!(two.tried_a.load(Ordering::Relaxed), 1, "the silent one was not tried again");
    }
}
