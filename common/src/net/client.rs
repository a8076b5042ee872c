//! The calling side of framed connections.
//!
//! A process that is stopped, or a network that swallows everything, breaks no connection. So a caller who hears nothing for a
//! while asks the other side for a sign of life, which it gives whatever else it is doing; if none comes, the connection is given
//! up at once for all calls on it, instead of every call waiting for its own limit.

use super::handshake::{self, Credential, HandshakeError, Hello};
use super::pipe::{self, Pulse, Reader};
use crate::ids::ClusterId;
use crate::limits::{
    CALL_TIMEOUT_MS, CONNECT_TIMEOUT_MS, FRAME_MAX_BYTES, FRAME_REQUESTS_MAX, SILENCE_MAX_MS, SILENCE_MS,
};
use crate::seam::{CallError, Clock, FastMap, Random, Transport};
use crate::wire::frame::{Frame, Kind, Service};
use bytes::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;

/// One kept connection to one address, made when first needed and made again after it broke. Shared by reference; calls of
/// many tasks are in flight at once.
pub struct FrameClient {
    address: String,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    credential: Credential,
    cluster: Option<ClusterId>,
    /// Held while connecting, so that one connection is made however many calls wait for it.
    current: tokio::sync::Mutex<Option<Arc<Connection>>>,
    in_flight: Semaphore,
    silence_max: Duration,
}

struct Connection {
    sender: mpsc::Sender<Frame>,
    calls: AtomicU64,
    waiting: Mutex<Waiting>,
    hello: Hello,
    pulse: Pulse,
    /// How long it may be silent: longer where connecting, which takes several turns, took long.
    silence_max: Duration,
    /// The pulse at which a sign of life was last asked for, plus one.
    asked: AtomicU64,
    /// What reads from it and what writes to it.
    tasks: OnceLock<[AbortHandle; 2]>,
}

/// Calls without an answer yet; `None` once the connection is broken.
type Waiting = Option<FastMap<u64, oneshot::Sender<Bytes>>>;

impl FrameClient {
    /// A client that has not connected yet.
    pub fn new(
        address: String,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        credential: Credential,
        cluster: Option<ClusterId>,
    ) -> FrameClient {
        let in_flight = Semaphore::new(FRAME_REQUESTS_MAX);
        let current = tokio::sync::Mutex::new(None);
        let silence_max = Duration::from_millis(SILENCE_MAX_MS);
        FrameClient { address, transport, clock, random, credential, cluster, current, in_flight, silence_max }
    }

    /// The same, giving up a connection after another time without a sign of life.
    pub fn with_silence_max(self, silence_max: Duration) -> FrameClient {
        FrameClient { silence_max, ..self }
    }

    /// Base URL of the other side.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request and waits for its answer, at most [`CALL_TIMEOUT_MS`], and only while the other side shows that it lives. Dropping the future leaves it open whether the
    /// other side acts.
    pub async fn call(&self, service: Service, body: Bytes) -> Result<Bytes, CallError> {
        let _permit = self.in_flight.acquire().await.expect("never closed");
        let connection = self.connection().await?;
        self.call_on(&connection, service, body).await
    }

    /// Sends a message that wants no answer. `Ok`: it was queued, nothing more.
    pub async fn send(&self, service: Service, body: Bytes) -> Result<(), CallError> {
        let connection = self.connection().await?;
        let frame = Frame { kind: Kind::OneWay, service, call: 0, body };
        connection.sender.send(frame).await.map_err(|_| self.lost("the connection broke"))
    }

    /// Which cluster the other side belongs to.
    pub async fn hello(&self) -> Result<Hello, CallError> {
        Ok(self.connection().await?.hello)
    }

    async fn call_on(&self, connection: &Connection, service: Service, body: Bytes) -> Result<Bytes, CallError> {
        if body.len() > FRAME_MAX_BYTES {
            return Err(self.unreachable(&format!("a request of {} bytes is too long", body.len())));
        }
        let call = connection.calls.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        {
            let mut waiting = connection.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(waiting) = waiting.as_mut() else { return Err(self.unreachable("the connection broke")) };
            waiting.insert(call, sender);
        }
        let _forget = Forget { connection, call };
        let frame = Frame { kind: Kind::Request, service, call, body };
        let exchange = async {
            connection.sender.send(frame).await.map_err(|_| self.lost("the connection broke"))?;
            answer.await.map_err(|_| self.lost("the connection broke"))
        };
        tokio::select! {
            biased;
            answer = exchange => answer,
            error = self.watch(connection) => Err(error),
        }
    }

    /// Returns when a call that begins now should be given up.
    async fn watch(&self, connection: &Connection) -> CallError {
        let begun = self.clock.monotonic();
        let (mut pulse, mut heard) = (connection.pulse.now(), begun);
        loop {
            self.clock.sleep(Duration::from_millis(SILENCE_MS)).await;
            let (now, beats) = (self.clock.monotonic(), connection.pulse.now());
            if now.saturating_sub(begun) >= Duration::from_millis(CALL_TIMEOUT_MS) {
                return self.lost("no answer in time");
            }
            if beats != pulse {
                (pulse, heard) = (beats, now);
            } else if now.saturating_sub(heard) >= connection.silence_max {
                connection.give_up();
                connection.abort(2);
                return self.lost("no sign of life");
            } else {
                connection.ask_for_life(pulse);
            }
        }
    }

    async fn connection(&self) -> Result<Arc<Connection>, CallError> {
        let mut current = self.current.lock().await;
        if let Some(connection) = current.as_ref().filter(|connection| !connection.is_broken()) {
            return Ok(Arc::clone(connection));
        }
        let begun = self.clock.monotonic();
        let connecting = async {
            let io = self.transport.connect(&self.address).await?;
            handshake::connect(io, self.random.as_ref(), &self.credential, self.cluster)
                .await
                .map_err(|error| self.handshake_error(&error))
        };
        let (handshaken, hello) = tokio::select! {
            biased;
            connected = connecting => connected?,
            () = self.clock.sleep(Duration::from_millis(CONNECT_TIMEOUT_MS)) => {
                return Err(self.unreachable("connecting took too long"));
            }
        };
        let (reader, writer, sender) = pipe::split(handshaken);
        let connection = Arc::new(Connection {
            sender,
            calls: AtomicU64::new(1),
            waiting: Mutex::new(Some(FastMap::default())),
            hello,
            pulse: reader.pulse(),
            silence_max: self.silence_max.max(self.clock.monotonic().saturating_sub(begun) * 2),
            asked: AtomicU64::new(0),
            tasks: OnceLock::new(),
        });
        let writing = tokio::spawn(writer.run());
        let reading = tokio::spawn(read_answers(reader, Arc::downgrade(&connection)));
        let _ = connection.tasks.set([reading.abort_handle(), writing.abort_handle()]);
        *current = Some(Arc::clone(&connection));
        Ok(connection)
    }

    fn handshake_error(&self, error: &HandshakeError) -> CallError {
        match error {
            HandshakeError::Io(_) | HandshakeError::NotNow(_) => self.unreachable(&error.to_string()),
            _ => CallError::Refused { address: self.address.clone(), reason: error.to_string() },
        }
    }

    fn unreachable(&self, reason: &str) -> CallError {
        CallError::Unreachable { address: self.address.clone(), reason: reason.to_owned() }
    }

    fn lost(&self, reason: &str) -> CallError {
        CallError::Lost { address: self.address.clone(), reason: reason.to_owned() }
    }
}

impl Connection {
    fn is_broken(&self) -> bool {
        self.sender.is_closed() || self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Tells every waiting caller that the connection is broken.
    fn give_up(&self) {
        // Dropping the senders tells them.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Ends the task that reads, and the one that writes if both are to end: what was queued goes out unless nobody takes it.
    fn abort(&self, tasks: usize) {
        self.tasks.get().into_iter().flatten().take(tasks).for_each(AbortHandle::abort);
    }

    /// Asks for a sign of life, once for each time that something was heard. A queue that is full is as silent as the other side.
    fn ask_for_life(&self, pulse: u64) {
        if self.asked.swap(pulse + 1, Ordering::Relaxed) != pulse + 1 {
            let frame = Frame { kind: Kind::Request, service: Service::Connection, call: 0, body: Bytes::new() };
            let _ = self.sender.try_send(frame);
        }
    }
}

impl Drop for Connection {
    // A side that is stopped would never end the stream by itself.
    fn drop(&mut self) {
        self.abort(1);
    }
}

/// Takes a call off the list when its caller is gone, answered or not.
struct Forget<'a> {
    connection: &'a Connection,
    call: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        let mut waiting = self.connection.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = waiting.as_mut() {
            waiting.remove(&self.call);
        }
    }
}

async fn read_answers(mut reader: Reader, connection: std::sync::Weak<Connection>) {
    let ended = loop {
        let frame = match reader.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => break None,
            Err(error) => break Some(error),
        };
        let Some(connection) = connection.upgrade() else { return };
        let mut waiting = connection.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let caller = waiting.as_mut().and_then(|waiting| waiting.remove(&frame.call));
        if let (Some(caller), Kind::Answer) = (caller, frame.kind) {
            // The caller may have given up.
            let _ = caller.send(frame.body);
        }
    };
    if let Some(error) = ended {
        tracing::debug!(%error, "a frame connection broke");
    }
    if let Some(connection) = connection.upgrade() {
        connection.give_up();
    }
}
