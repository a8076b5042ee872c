//! Errors as HTTP answers: a status for whoever looks at one, and the encoded error for our clients.

use axum::response::{IntoResponse, Response};
use cairn_common::auth::TokenError;
use cairn_common::wire::chunk::ChunkError;
use cairn_common::wire::encode;
use http::StatusCode;

/// An error on its way out.
pub(super) struct ApiError(pub(super) ChunkError);

impl From<ChunkError> for ApiError {
    fn from(error: ChunkError) -> ApiError {
        ApiError(error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (status(&self.0), encode(&self.0)).into_response()
    }
}

fn status(error: &ChunkError) -> StatusCode {
    match error {
        ChunkError::Token(TokenError::Expired) => StatusCode::UNAUTHORIZED,
        ChunkError::Token(TokenError::Invalid) | ChunkError::Denied => StatusCode::FORBIDDEN,
        ChunkError::Absent => StatusCode::NOT_FOUND,
        ChunkError::HashMismatch | ChunkError::BadRequest(_) => StatusCode::BAD_REQUEST,
        ChunkError::BadRange => StatusCode::RANGE_NOT_SATISFIABLE,
        ChunkError::Full | ChunkError::LimitReached => StatusCode::INSUFFICIENT_STORAGE,
        ChunkError::Volume(_) | ChunkError::Unavailable(_) | ChunkError::OtherEpoch(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ChunkError::Damaged | ChunkError::Unknown(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
