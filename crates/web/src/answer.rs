//! How results and refusals look on the wire.

use admin::{Refused, Why};
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// A refusal as an answer: `{"error": {"word": WORD, "message": SENTENCE}}`.
#[derive(Debug)]
pub(crate) struct Refusal(Refused);

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self(refused)
    }
}

#[derive(Serialize)]
struct Wrapped<'r> {
    error: &'r Refused,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.0.why {
            Why::Invalid => StatusCode::BAD_REQUEST,
            Why::NoTable => StatusCode::CONFLICT,
            Why::NotFound => StatusCode::NOT_FOUND,
            Why::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(Wrapped { error: &self.0 })).into_response()
    }
}

/// An act's result.
pub(crate) type Answer<T> = Result<Json<T>, Refusal>;

/// Waits for an act that blocks, on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Answer<T> {
    match tokio::task::spawn_blocking(act).await {
        Ok(result) => Ok(Json(result?)),
        Err(error) => {
            tracing::error!(%error, "an act of the operator failed");
            let message = "the daemon failed in this act; its log says more";
            Err(Refused::new(Why::Unavailable, message).into())
        }
    }
}
