//! Whether chunkservers can be reached from where this client runs, found out before anything depends on it.
//!
//! A packet that a firewall swallows is answered by nothing: a transfer finds out only as its connections run into their time-outs, chunk
//! by chunk. A short question to several chunkservers at once tells as much in less time, and costs one round trip where they are
//! there.

use crate::client::Client;
use bytes::Bytes;
use cairn_common::membership::{Membership, Node, NodeState};
use cairn_common::seam::{Clock, Transport};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use std::time::Duration;

/// How long to wait for the first answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Chunkservers that are asked: so many that one rack, or one machine that is down, does not stand for all.
const ASKED_MAX: usize = 16;
/// Of those, how many at once in the beginning.
const ASKED_FIRST: usize = 3;
/// When the others are asked too.
const OTHERS_AFTER: Duration = Duration::from_millis(300);

impl Client {
    /// Whether any chunkserver answers from here, within two seconds. One answer proves that there is a way; it is `false` only if of
    /// up to sixteen chunkservers none gave one, so not for one that is down. `true` as well where there is none to ask, and where one
    /// runs in this process. Moves no data; cancel-safe.
    pub async fn reaches_chunkservers(&self) -> bool {
        let (view, directory) = (self.view(), &self.inner.directory);
        let nodes = asked(view.membership());
        if nodes.is_empty() || nodes.iter().any(|node| directory.is_local(node.id)) {
            return true;
        }
        let addresses: Vec<&str> = nodes.iter().map(|node| node.address.as_str()).collect();
        any_answers(&addresses, directory.transport(), self.inner.clock.as_ref()).await
    }
}

/// Whether one of these answers a question, whatever the answer is, before patience ends.
async fn any_answers(addresses: &[&str], transport: &dyn Transport, clock: &dyn Clock) -> bool {
    let ask = |(index, address): (usize, &&str)| {
        let address = (*address).to_owned();
        async move {
            if index >= ASKED_FIRST {
                clock.sleep(OTHERS_AFTER).await;
            }
            let Ok(question) = http::Request::get("/healthz").body(Bytes::new()) else { return false };
            let answer = transport.http(&address, question).await;
            if let Err(error) = &answer {
                tracing::debug!(%error, "a chunkserver cannot be reached");
            }
            answer.is_ok()
        }
    };
    let mut answers: FuturesUnordered<_> = addresses.iter().enumerate().map(ask).collect();
    let any = async {
        while let Some(answered) = answers.next().await {
            if answered {
                return true;
            }
        }
        false
    };
    tokio::select! {
        biased;
        any = any => any,
        () = clock.sleep(PATIENCE) => false,
    }
}

/// Those to ask: at most [`ASKED_MAX`], spread over all that serve.
fn asked(membership: &Membership) -> Vec<&Node> {
    let serves = |node: &&Node| node.roles.chunkserver && !node.address.is_empty() && node.state == NodeState::Live;
    let serving: Vec<&Node> = membership.nodes.values().filter(serves).collect();
    let count = serving.len().min(ASKED_MAX);
    (0..count).map(|index| serving[index * serving.len() / count]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use cairn_common::ids::{BootCount, ClusterId, Generation, NodeId};
    use cairn_common::membership::Roles;
    use cairn_common::seam::{BodyStream, BoxedIo, CallError};
    use futures::future::BoxFuture;
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Chunkservers whose addresses say how they are, and how many were asked.
    #[derive(Default)]
    struct Network(AtomicUsize);

    #[async_trait]
    impl Transport for Network {
        async fn connect(&self, address: &str) -> Result<BoxedIo, CallError> {
            Err(CallError::Unreachable { address: address.to_owned(), reason: "not used".to_owned() })
        }

        async fn http(
            &self,
            address: &str,
            _request: http::Request<Bytes>,
        ) -> Result<http::Response<BodyStream>, CallError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            match address {
                "up" => Ok(http::Response::new(futures::stream::empty().boxed())),
                "refuses" => Err(CallError::Unreachable { address: address.to_owned(), reason: "refused".to_owned() }),
                _ => std::future::pending().await,
            }
        }
    }

    /// Every sleep is over as soon as nobody else has anything to do.
    struct Impatient;

    impl Clock for Impatient {
        fn wall_ms(&self) -> u64 {
            0
        }

        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }

        fn sleep(&self, _duration: Duration) -> BoxFuture<'static, ()> {
            Box::pin(tokio::task::yield_now())
        }
    }

    #[tokio::test]
    async fn one_chunkserver_that_answers_is_enough_and_none_is_not() {
        for (addresses, reached) in [
            (&["up"][..], true),
            (&["silent", "refuses", "up"], true),
            (&["silent", "refuses", "silent", "refuses", "silent", "up"], true),
            (&["silent", "silent", "silent", "silent"], false),
            (&["refuses"], false),
        ] {
            let network = Network::default();
            // The end of patience comes in a later turn than the answers of those that are asked last.
            let found = any_answers(addresses, &network, &Impatient).await;
            assert_eq!(found, reached, "{addresses:?}");
        }
    }

    #[tokio::test]
    async fn the_others_are_not_bothered_where_the_first_answer() {
        let network = Network::default();
        assert!(any_answers(&["up"; 10], &network, &Impatient).await);
        assert_eq!(network.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn those_that_are_asked_are_spread_over_all_that_serve() {
        let node = |id: u64, state| {
            let (roles, boot) = (Roles { chunkserver: true, ..Roles::default() }, BootCount(1));
            let (name, zone, address) = (id.to_string(), id.to_string(), format!("http://n{id}"));
            let volumes = BTreeMap::new();
            let id = NodeId(id as u32);
            (id, Node { id, name, zone, weight: 1, address, roles, state, boot, served_boot: boot, volumes })
        };
        let with = |count: u64, state| Membership {
            cluster: ClusterId([1; 16]),
            generation: Generation(1),
            revision: 1,
            nodes: (0..count).map(|id| node(id, state)).collect(),
            rings: Vec::new(),
            replicas: 3,
            replicas_rise: false,
            voters: 1,
        };
        let ids = |count, state| asked(&with(count, state)).iter().map(|node| node.id.0).collect::<Vec<_>>();
        assert_eq!(ids(3, NodeState::Live), [0, 1, 2]);
        assert_eq!(ids(3, NodeState::Removed), [] as [u32; 0]);
        let many = ids(160, NodeState::Live);
        assert_eq!((many.len(), many[0], many[15]), (ASKED_MAX, 0, 150));
    }
}
