//! What a person wants done with a plugin.

use std::num::NonZeroU32;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use broker_config::PluginId;
use serde::Deserialize;
use serde_json::{Number, json};
use tokio::time::timeout;

use super::super::meta::json_answer;
use super::super::problem::{FieldProblem, Problem};
use super::{Answer, Api, Shared};
use crate::config::overrides::{Change, Refusal};
use crate::fleet::steer::{NotHeard, Order};
use crate::scale::MAX_INSTANCES;
use crate::store::pause::Paused;

/// How long somebody waits for an order to be carried out; it goes on without them.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn enable(State(api): Shared, Path(id): Path<String>) -> Answer {
    api.change(&id, Change::Enable(true)).await
}

pub(super) async fn disable(State(api): Shared, Path(id): Path<String>) -> Answer {
    api.change(&id, Change::Enable(false)).await
}

pub(super) async fn reset(State(api): Shared, Path(id): Path<String>) -> Answer {
    api.change(&id, Change::Reset).await
}

pub(super) async fn restart(State(api): Shared, Path(id): Path<String>) -> Answer {
    let (id, _) = api.known(&id).await?;
    api.order(&id, Order::Restart(id.clone())).await
}

/// The body of `scale`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scale {
    instances: Number,
}

/// A whole number, also one that is written as `2.0`: in JSON they are the same.
fn whole(number: &Number) -> Option<u32> {
    if let Some(number) = number.as_u64() {
        return number.try_into().ok();
    }
    let number = number.as_f64().filter(|number| number.fract() == 0.0)?;
    format!("{number:.0}").parse().ok()
}

pub(super) async fn scale(State(api): Shared, Path(id): Path<String>, body: Bytes) -> Answer {
    let detail = format!(
        "a JSON object with `instances`, a whole number from 1 to {MAX_INSTANCES}; `disable` stops all"
    );
    let problem = || {
        let field = FieldProblem {
            pointer: "/instances".to_owned(),
            detail: format!("must be a whole number from 1 to {MAX_INSTANCES}"),
        };
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_fields(vec![field])
    };
    let wanted = serde_json::from_slice::<Scale>(&body).ok();
    let count = wanted.and_then(|wanted| NonZeroU32::new(whole(&wanted.instances)?));
    let count = count.filter(|count| count.get() <= MAX_INSTANCES).ok_or_else(problem)?;
    api.change(&id, Change::Scale(count)).await
}

pub(super) async fn pause(State(api): Shared, Path(id): Path<String>) -> Answer {
    api.pause(&id, true).await
}

pub(super) async fn resume(State(api): Shared, Path(id): Path<String>) -> Answer {
    api.pause(&id, false).await
}

impl Api {
    async fn pause(&self, id: &str, pause: bool) -> Answer {
        let (id, _) = self.known(id).await?;
        match self.options.store.pause(&id, pause).await? {
            Paused::Changed | Paused::Same => Ok(done(&id, true)),
            Paused::Unknown => {
                let detail = format!("{id} has not announced itself yet; it has no tasks to wait");
                Err(Problem::new(StatusCode::CONFLICT, detail))
            }
        }
    }

    async fn change(&self, id: &str, change: Change) -> Answer {
        let (id, _) = self.known(id).await?;
        self.order(&id, Order::Change(id.clone(), change)).await
    }

    /// Gives an order and waits for a while until it is carried out.
    pub(super) async fn order(&self, id: &PluginId, order: Order) -> Answer {
        let taken = self.options.steering.give(order).await.map_err(not_heard)?;
        let in_effect = taken.map_err(refused)?;
        Ok(done(id, matches!(timeout(PATIENCE, in_effect).await, Ok(Ok(())))))
    }
}

/// 200 for what is in effect, 202 for what will be.
fn done(id: &PluginId, in_effect: bool) -> Response {
    let mut answer = json_answer(&json!({ "id": id, "inEffect": in_effect })).into_response();
    if !in_effect {
        *answer.status_mut() = StatusCode::ACCEPTED;
    }
    answer
}

fn not_heard(why: NotHeard) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, why.to_string())
}

fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Conflict(why) => Problem::new(StatusCode::CONFLICT, why),
        Refusal::Stale => {
            let detail = "somebody else has changed the settings meanwhile; read them again";
            Problem::new(StatusCode::PRECONDITION_FAILED, detail)
        }
        Refusal::Failed(why) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, why),
        Refusal::Settings(problems) => {
            let fields = problems.iter().map(|problem| FieldProblem {
                pointer: format!("/config/{}", problem.key.replace('~', "~0").replace('/', "~1")),
                detail: problem.rule.clone(),
            });
            let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let detail = format!("the settings are not valid: {}", all.join("; "));
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_fields(fields.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        for (text, expected) in [
            ("1", Some(1)),
            ("649.0", Some(649)),
            ("2e2", Some(200)),
            ("0", Some(0)),
            ("1.5", None),
            ("-1", None),
            ("-1.0", None),
            ("4294967296", None),
            ("1e300", None),
        ] {
            let number: Number = serde_json::from_str(text).unwrap();
            assert_eq!(whole(&number), expected, "{text}");
        }
    }
}
