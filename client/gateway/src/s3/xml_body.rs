//! Bodies that `s3s` reads whole: XML lists and documents. Bounded in size and number, and compared with the digests that came
//! with them, which `s3s` does not do.
//!
//! `s3s` answers every failure of such a body with an internal error, so the right answer is left in a [`Failure`] and put in
//! its place.

use super::error::{self, error as answer};
use crate::limits::{LARGE_XML_BYTES, LARGE_XML_MAX, XML_LIST_MAX_BYTES, XML_MAX_BYTES};
use crate::upload::{BodyError, BodyInspector, Expected, IncomingBody};
use bytes::Bytes;
use cairn_client::Inspector as _;
use futures::future::BoxFuture;
use http::Method;
use http_body::{Frame, SizeHint};
use s3s::crypto::{Checksum as _, Md5};
use s3s::{S3Error, S3ErrorCode};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for large bodies.
#[derive(Clone)]
pub(crate) struct LargeBodies(Arc<Semaphore>);

impl Default for LargeBodies {
    fn default() -> LargeBodies {
        LargeBodies(Arc::new(Semaphore::new(LARGE_XML_MAX)))
    }
}

/// Why a body failed, for the answer.
#[derive(Clone, Default)]
pub(crate) struct Failure(Arc<Mutex<Option<S3Error>>>);

impl Failure {
    /// The answer, if the body failed.
    pub(crate) fn take(&self) -> Option<S3Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: S3Error) -> BodyError {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        BodyError::BrokenOff
    }
}

/// A body that is read whole.
pub(crate) struct XmlBody {
    inner: IncomingBody,
    left: usize,
    /// Bytes to come, if that is known. At the last of them the digests are compared: `s3s` may not ask for more.
    to_come: Option<u64>,
    digests: Option<(Md5, Box<BodyInspector>)>,
    failure: Failure,
    place: Place,
}

/// A large body's place among those that are held in memory.
enum Place {
    NotNeeded,
    Awaited(BoxFuture<'static, Option<OwnedSemaphorePermit>>),
    Held { _place: Option<OwnedSemaphorePermit> },
}

impl XmlBody {
    /// A body of `length` bytes, if that is known, that must be what is `expected`.
    pub(crate) fn new(
        inner: IncomingBody,
        method: &Method,
        length: Option<u64>,
        expected: Expected,
        large: &LargeBodies,
    ) -> (XmlBody, Failure) {
        let left = if method == Method::POST { XML_LIST_MAX_BYTES } else { XML_MAX_BYTES };
        let place = if length.is_some_and(|length| length <= LARGE_XML_BYTES) {
            Place::NotNeeded
        } else {
            let places = Arc::clone(&large.0);
            Place::Awaited(Box::pin(async move { places.acquire_owned().await.ok() }))
        };
        let digests = Some((Md5::new(), Box::new(BodyInspector::new(expected, Arc::default()))));
        let failure = Failure::default();
        (XmlBody { inner, left, to_come: length, digests, failure: failure.clone(), place }, failure)
    }

    fn take_in(&mut self, bytes: &Bytes) -> Result<(), BodyError> {
        let Some(left) = self.left.checked_sub(bytes.len()) else {
            let message = "The body is larger than such a request may have";
            return Err(self.failure.set(answer(S3ErrorCode::MaxMessageLengthExceeded, message)));
        };
        self.left = left;
        if let Some((md5, inspector)) = &mut self.digests {
            md5.update(bytes);
            inspector.update(bytes);
        }
        self.to_come = self.to_come.map(|to_come| to_come.saturating_sub(bytes.len() as u64));
        if self.to_come == Some(0) { self.end() } else { Ok(()) }
    }

    fn end(&mut self) -> Result<(), BodyError> {
        let Some((md5, inspector)) = self.digests.take() else { return Ok(()) };
        match inspector.finish(Some(md5.finalize())) {
            Ok(_) => Ok(()),
            Err(refused) => {
                let answer = error::put(cairn_client::PutError::Refused(refused));
                Err(self.failure.set(answer))
            }
        }
    }
}

impl http_body::Body for XmlBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Place::Awaited(place) = &mut this.place {
            let held = ready!(place.as_mut().poll(context));
            this.place = Place::Held { _place: held };
        }
        let outcome = match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
            None => match this.end() {
                Ok(()) => return Poll::Ready(None),
                Err(error) => Err(error),
            },
            Some(Ok(frame)) => {
                let taken = frame.data_ref().map_or(Ok(()), |bytes| this.take_in(bytes));
                taken.map(|()| frame)
            }
            Some(Err(error)) => {
                this.failure.set(error::body(&error));
                Err(error)
            }
        };
        Poll::Ready(Some(outcome))
    }

    // No `is_end_stream`: the end must be polled for, there the digests are compared.
    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
