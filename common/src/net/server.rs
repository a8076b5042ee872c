//! The answering side of framed connections.

use super::handshake::{self, HandshakeError, Verifier};
use super::pipe;
use crate::limits::{FRAME_MAX_BYTES, FRAME_REQUESTS_MAX, HEADER_TIMEOUT_MS};
use crate::seam::{BoxedIo, Clock, Random};
use crate::wire::frame::{Frame, Kind, Service};
use crate::wire::master::Caller;
use async_trait::async_trait;
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Answers requests that came in frames.
#[async_trait]
pub trait FrameHandler: Send + Sync + 'static {
    /// The answer to a request of `caller`. `None` ends the connection: the request was none of this service's.
    async fn request(&self, caller: &Caller, service: Service, body: Bytes) -> Option<Bytes>;

    /// Takes a message that wants no answer. `None` ends the connection.
    async fn message(&self, caller: &Caller, service: Service, body: Bytes) -> Option<()>;
}

/// Serves one connection until it ends. Requests are answered as they are done, not in order; at most
/// [`FRAME_REQUESTS_MAX`] are worked on at a time, then nothing more is read.
pub async fn serve(
    io: BoxedIo,
    clock: &dyn Clock,
    random: &dyn Random,
    verifier: &dyn Verifier,
    handler: Arc<dyn FrameHandler>,
) -> Result<(), HandshakeError> {
    let (handshaken, caller) = tokio::select! {
        biased;
        accepted = handshake::accept(io, random, verifier) => accepted?,
        () = clock.sleep(Duration::from_millis(HEADER_TIMEOUT_MS)) => {
            return Err(HandshakeError::Io(io::ErrorKind::TimedOut.into()));
        }
    };
    let (mut reader, writer, sender) = pipe::split(handshaken);
    let writing = tokio::spawn(writer.run());
    let caller = Arc::new(caller);
    let permits = Arc::new(Semaphore::new(FRAME_REQUESTS_MAX));
    let result = loop {
        let frame = match reader.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => break Ok(()),
            Err(error) => break Err(HandshakeError::Io(error)),
        };
        match frame.kind {
            // A sign of life is wanted. If frames wait to be written, those are the sign.
            Kind::Request if frame.service == Service::Connection => {
                let _ = sender.try_send(Frame { kind: Kind::Answer, body: Bytes::new(), ..frame });
            }
            Kind::Request => {
                let permit = Arc::clone(&permits).acquire_owned().await.expect("never closed");
                let (handler, caller, sender) = (Arc::clone(&handler), Arc::clone(&caller), sender.clone());
                tokio::spawn(async move {
                    if let Some(body) = handler.request(&caller, frame.service, frame.body).await {
                        assert!(body.len() <= FRAME_MAX_BYTES, "an answer of {} bytes", body.len());
                        let answer = Frame { kind: Kind::Answer, service: frame.service, call: frame.call, body };
                        // The connection may be gone; the caller then sees that by itself.
                        let _ = sender.send(answer).await;
                    }
                    drop(permit);
                });
            }
            Kind::OneWay => {
                if handler.message(&caller, frame.service, frame.body).await.is_none() {
                    break Err(HandshakeError::Protocol);
                }
            }
            Kind::Hello | Kind::Auth | Kind::Welcome | Kind::Answer => break Err(HandshakeError::Protocol),
        }
        if writing.is_finished() {
            break Ok(());
        }
    };
    drop(sender);
    result
}

#[cfg(test)]
mod tests {
    use super::super::FrameClient;
    use super::super::handshake::Credential;
    use super::super::testing::{QuickClock, StoppableServer};
    use super::*;
    use crate::limits::{CALL_TIMEOUT_MS, SILENCE_MAX_MS};
    use crate::seam::{CallError, OsRandom, SystemClock, Transport};

    struct Echo;

    #[async_trait]
    impl FrameHandler for Echo {
        async fn request(&self, _: &Caller, _: Service, body: Bytes) -> Option<Bytes> {
            match &body[..] {
                b"slow" => tokio::time::sleep(Duration::from_millis(50)).await,
                b"silent" => return None,
                b"never" => std::future::pending().await,
                _ => {}
            }
            Some(body)
        }
        async fn message(&self, _: &Caller, _: Service, _: Bytes) -> Option<()> {
            None
        }
    }

    fn client() -> Arc<FrameClient> {
        let (clock, random) = (Arc::new(SystemClock::new()), Arc::new(OsRandom));
        let server = Arc::new(StoppableServer::new(Arc::new(Echo)));
        Arc::new(FrameClient::new("memory".into(), server, clock, random, Credential::anonymous(), None))
    }

    #[tokio::test]
    async fn answers_find_their_callers_in_any_order() {
        let client = client();
        let slow = client.call(Service::Master, Bytes::from_static(b"slow"));
        let fast = async {
            for n in 0..100u8 {
                assert_eq!(client.call(Service::Chunk, vec![n; 10].into()).await.unwrap(), vec![n; 10]);
            }
        };
        let (slow, ()) = tokio::join!(slow, fast);
        assert_eq!(slow.unwrap(), &b"slow"[..]);
    }

    #[tokio::test]
    async fn a_broken_connection_fails_its_calls_as_lost_and_is_made_again() {
        let client = client();
        let pending = client.call(Service::Master, Bytes::from_static(b"silent"));
        let breaking = async {
            client.call(Service::Master, Bytes::from_static(b"x")).await.unwrap();
            client.send(Service::Master, Bytes::from_static(b"the handler ends the connection")).await.unwrap();
        };
        let (pending, ()) = tokio::join!(pending, breaking);
        assert!(matches!(pending, Err(CallError::Lost { .. })));
        assert_eq!(client.call(Service::Master, Bytes::from_static(b"again")).await.unwrap(), &b"again"[..]);
    }

    /// How long a call takes that is not answered, and why it ended.
    async fn unanswered(stopped: bool) -> (u64, String) {
        let clock = Arc::new(QuickClock::default());
        let server = Arc::new(StoppableServer::new(Arc::new(Echo)));
        let random = Arc::new(OsRandom);
        let (transport, time) = (Arc::clone(&server) as Arc<dyn Transport>, Arc::clone(&clock) as Arc<dyn Clock>);
        let client = FrameClient::new("memory".into(), transport, time, random, Credential::anonymous(), None);
        client.call(Service::Master, Bytes::from_static(b"x")).await.unwrap();
        if stopped {
            server.stop();
        }
        let before = clock.monotonic();
        let error = client.call(Service::Master, Bytes::from_static(b"never")).await.unwrap_err();
        assert!(!error.nothing_was_sent(), "{error}");
        ((clock.monotonic() - before).as_millis() as u64, error.to_string())
    }

    #[tokio::test]
    async fn a_side_that_is_stopped_is_given_up_and_one_that_is_slow_is_waited_for() {
        let (took_ms, why) = unanswered(true).await;
        assert!((SILENCE_MAX_MS..SILENCE_MAX_MS + 1000).contains(&took_ms), "{took_ms} ms: {why}");
        let (took_ms, why) = unanswered(false).await;
        assert!(took_ms >= CALL_TIMEOUT_MS, "{took_ms} ms: {why}");
    }
}
