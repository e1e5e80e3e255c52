//! One look at all containers: ours in full, the others by name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use bollard::models::{ContainerState, ContainerStateStatusEnum};
use bollard::query_parameters::ListContainersOptionsBuilder;

use super::super::found::{Exit, Found, State, whose};
use super::super::naming::FleetId;
use super::{CALL, Engine, EngineError, within};

/// What there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Containers of our fleet.
    pub found: Vec<Found>,
    /// Names of all others.
    pub foreign: BTreeSet<String>,
}

impl Engine {
    /// Looks at all containers.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    pub async fn look(&self, fleet: &FleetId) -> Result<Look, EngineError> {
        let options = ListContainersOptionsBuilder::new().all(true).build();
        let call = self.docker.list_containers(Some(options));
        let mut look = Look::default();
        for summary in within("list containers", CALL, call).await? {
            let labels: BTreeMap<String, String> =
                summary.labels.unwrap_or_default().into_iter().collect();
            let names = summary.names.unwrap_or_default();
            let names = names.iter().map(|name| name.trim_start_matches('/').to_owned());
            let (Some((instance, plugin, hash)), Some(id)) = (whose(fleet, &labels), summary.id)
            else {
                look.foreign.extend(names);
                continue;
            };
            let what = format!("look at the container {id}");
            let inspected =
                match within(&what, CALL, self.docker.inspect_container(&id, None)).await {
                    Ok(inspected) => inspected,
                    // It went meanwhile.
                    Err(error) if error.is_not_found() => continue,
                    Err(error) => return Err(error),
                };
            let name = inspected.name.unwrap_or_default().trim_start_matches('/').to_owned();
            let state = inspected.state.unwrap_or_default();
            let started = state.started_at.as_deref().and_then(time);
            let state = state_of(&state);
            let networks = inspected.network_settings.and_then(|settings| settings.networks);
            let networks = networks.unwrap_or_default().into_values();
            let address = |text: &String| text.parse::<IpAddr>().ok();
            let networks: Vec<_> = networks.collect();
            let address = networks.iter().find_map(|network| address(network.ip_address.as_ref()?));
            let networks = networks.into_iter().filter_map(|network| network.network_id).collect();
            let found =
                Found { id, name, instance, plugin, hash, state, started, networks, address };
            look.found.push(found);
        }
        Ok(look)
    }
}

/// The engine writes the year 1 for never.
fn time(text: &str) -> Option<jiff::Timestamp> {
    text.parse::<jiff::Timestamp>().ok().filter(|at| at.as_second() > 0)
}

pub(super) fn state_of(state: &ContainerState) -> State {
    use ContainerStateStatusEnum as Status;
    match state.status {
        Some(Status::CREATED) => State::Created,
        Some(Status::RUNNING) => State::Running,
        Some(Status::PAUSED) => State::Paused,
        Some(Status::DEAD) => State::Dead,
        Some(Status::EXITED) => State::Exited(Exit {
            code: state.exit_code.unwrap_or_default(),
            oom: state.oom_killed.unwrap_or_default(),
            error: state.error.clone().unwrap_or_default(),
            finished: state.finished_at.as_deref().and_then(time),
        }),
        Some(Status::RESTARTING | Status::REMOVING | Status::STOPPING | Status::EMPTY) | None => {
            State::Changing
        }
    }
}
