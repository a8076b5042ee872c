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
    use super::super::handshake::{Credential, Identity, Vouched};
    use super::*;
    use crate::ids::{ClusterId, Generation};
    use crate::seam::{BodyStream, CallError, OsRandom, SystemClock, Transport};

    struct Open;

    #[async_trait]
    impl Verifier for Open {
        async fn secret_of(&self, _: &Identity) -> Vouched {
            Ok(None)
        }
        fn server(&self) -> (ClusterId, Generation) {
            (ClusterId([1; 16]), Generation(1))
        }
    }

    struct Echo;

    #[async_trait]
    impl FrameHandler for Echo {
        async fn request(&self, _: &Caller, _: Service, body: Bytes) -> Option<Bytes> {
            match &body[..] {
                b"slow" => tokio::time::sleep(Duration::from_millis(50)).await,
                b"silent" => return None,
                _ => {}
            }
            Some(body)
        }
        async fn message(&self, _: &Caller, _: Service, _: Bytes) -> Option<()> {
            None
        }
    }

    struct Memory;

    #[async_trait]
    impl Transport for Memory {
        async fn connect(&self, _: &str) -> Result<BoxedIo, CallError> {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            tokio::spawn(async {
                serve(Box::new(theirs), &SystemClock::new(), &OsRandom, &Open, Arc::new(Echo)).await
            });
            Ok(Box::new(ours))
        }
        async fn http(&self, _: &str, _: http::Request<Bytes>) -> Result<http::Response<BodyStream>, CallError> {
            unreachable!("these tests send frames only")
        }
    }

    fn client() -> Arc<FrameClient> {
        let (clock, random) = (Arc::new(SystemClock::new()), Arc::new(OsRandom));
        Arc::new(FrameClient::new("memory".into(), Arc::new(Memory), clock, random, Credential::anonymous(), None))
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
}
