//! The masters, reached over frames: finds the one that leads, and goes on to another when one is gone.

use super::FrameClient;
use super::handshake::Credential;
use crate::ids::ClusterId;
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
const ROUND_PAUSE_MS: u64 = 100;

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
        let state = Mutex::new(State { clients: BTreeMap::new(), order: addresses });
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

    fn client(&self, address: &str) -> Arc<FrameClient> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(FrameClient::new(
                address.to_owned(),
                Arc::clone(&self.transport),
                Arc::clone(&self.clock),
                Arc::clone(&self.random),
                self.credential.clone(),
                self.cluster,
            ))
        };
        Arc::clone(state.clients.entry(address.to_owned()).or_insert_with(new))
    }

    fn prefer(&self, address: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
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
        patience: Duration,
    ) -> Result<Result<MasterReply, MasterError>, CallError> {
        let client = self.client(address);
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
            for address in self.order() {
                let mut at = address;
                // A hint is followed at once, but only once: two masters may each believe in the other.
                for _ in 0..2 {
                    match self.ask(&at, body.clone(), patience).await {
                        Ok(Err(MasterError::NotLeader { leader })) => {
                            reason = format!("{at} does not lead");
                            hint = leader.filter(|leader| *leader != at);
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
                            self.avoid(&at);
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
