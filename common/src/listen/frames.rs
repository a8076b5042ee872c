//! The route on which a connection becomes one of frames.

use crate::net::handshake::{HandshakeError, Verifier};
use crate::net::{FrameHandler, serve};
use crate::seam::{Clock, Random};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};
use hyper_util::rt::TokioIo;
use std::sync::Arc;

/// What answers on framed connections, and who may open them.
#[derive(Clone)]
pub struct FrameService {
    /// Answers requests.
    pub handler: Arc<dyn FrameHandler>,
    /// Knows who may connect.
    pub verifier: Arc<dyn Verifier>,
    /// For time limits.
    pub clock: Arc<dyn Clock>,
    /// For challenges.
    pub random: Arc<dyn Random>,
}

/// `GET /v1/frames` with `Upgrade: cairn-frames`: the connection carries frames from there on.
pub fn frames_route(service: FrameService) -> Router {
    Router::new().route("/v1/frames", get(upgrade)).with_state(service)
}

async fn upgrade(State(service): State<FrameService>, mut request: Request) -> Response {
    if request.headers().get(header::UPGRADE) != Some(&HeaderValue::from_static("cairn-frames")) {
        return StatusCode::UPGRADE_REQUIRED.into_response();
    }
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let io = match upgraded.await {
            Ok(upgraded) => Box::new(TokioIo::new(upgraded)),
            Err(error) => {
                tracing::debug!(%error, "a connection did not become one of frames");
                return;
            }
        };
        let FrameService { handler, verifier, clock, random } = service;
        match serve(io, clock.as_ref(), random.as_ref(), verifier.as_ref(), handler).await {
            Ok(()) => {}
            Err(error @ HandshakeError::Refused) => tracing::warn!(%error, "a frame connection was refused"),
            Err(error) => tracing::debug!(%error, "a frame connection ended"),
        }
    });
    let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, "cairn-frames")];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}
