//! `POST /api/plugins/callback/<token>`: an HTTP plugin says how an attempt ended.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tracing::{debug, warn};

use super::meta::json_answer;
use super::problem::Problem;
use crate::bridge::answer::Callback;
use crate::bridge::pending::{Pending, Received};
use crate::bridge::urls::CALLBACK;

/// The routes of callbacks.
pub fn routes(pending: Arc<Pending>) -> Router {
    Router::new()
        .route(CALLBACK, post(async || without_token()))
        .route(&format!("{CALLBACK}/{{token}}"), post(receive))
        .with_state(pending)
}

async fn receive(
    State(pending): State<Arc<Pending>>,
    Path(token): Path<String>,
    body: Bytes,
) -> Response {
    let callback = match Callback::read(&body) {
        Ok(callback) => callback,
        Err(why) => return Problem::bad_request(why).into_response(),
    };
    let problem = match pending.receive(&token, &callback) {
        Received::Taken => {
            return json_answer(&serde_json::json!({ "received": true })).into_response();
        }
        Received::Mismatch(field) => {
            warn!(field, "a callback names something else than its URL belongs to");
            Problem::new(
                StatusCode::CONFLICT,
                format!("`{field}` is not that of this callback URL"),
            )
        }
        Received::Conflict => {
            Problem::new(StatusCode::CONFLICT, "another callback has said otherwise before")
        }
        Received::Late => {
            debug!("a callback came after its attempt was over");
            Problem::new(StatusCode::GONE, "the attempt is over; this callback changes nothing")
        }
        Received::Unknown => {
            warn!("a callback came to a URL that nobody was given");
            Problem::not_found("there is no such callback URL")
        }
    };
    problem.into_response()
}

fn without_token() -> Problem {
    Problem::not_found("call back to the `callbackUrl` of the task; it is another one each time")
}
