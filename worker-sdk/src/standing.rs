//! PURE. Whether an instance may serve, and what it says of itself.

use broker_config::Lane;
use broker_config::wire::instance::InstanceState;

/// Everything that decides whether tasks are pulled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// What came of the settings; `None` before the first.
    pub(crate) configured: Option<Result<(), String>>,
    pub(crate) paused: bool,
    pub(crate) draining: bool,
    /// Why the plugin's own health check is not content.
    pub(crate) unhealthy: Option<String>,
    /// Tasks at once.
    pub(crate) permits: usize,
    /// Whose tasks.
    pub(crate) lane: Lane,
}

/// What the puller needs of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gate {
    pub(crate) pulling: bool,
    pub(crate) permits: usize,
}

impl Standing {
    /// What the instance is doing, and the error that people should see.
    pub(crate) fn shown(&self) -> (InstanceState, Option<String>) {
        let state = match &self.configured {
            _ if self.draining => InstanceState::Draining,
            None => InstanceState::Starting,
            Some(Err(error)) => return (InstanceState::Failed, Some(error.clone())),
            Some(Ok(())) if self.paused => InstanceState::Paused,
            Some(Ok(())) => InstanceState::Ready,
        };
        (state, self.unhealthy.clone())
    }

    /// Whether to pull, and how much.
    pub(crate) fn gate(&self) -> Gate {
        let pulling = self.configured == Some(Ok(())) && !self.paused && !self.draining;
        Gate { pulling, permits: self.permits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_ready_instance_pulls() {
        let configured = || Some(Ok(()));
        let refused = || Some(Err("apiKey is required".to_owned()));
        // configured, paused, draining, state
        let table = [
            (None, false, false, InstanceState::Starting),
            (None, true, false, InstanceState::Starting),
            (configured(), false, false, InstanceState::Ready),
            (configured(), true, false, InstanceState::Paused),
            (configured(), true, true, InstanceState::Draining),
            (refused(), false, false, InstanceState::Failed),
            (refused(), true, false, InstanceState::Failed),
            (refused(), false, true, InstanceState::Draining),
        ];
        for (configured, paused, draining, expected) in table {
            let failed = configured.as_ref().is_some_and(|result| result.is_err()) && !draining;
            let standing = Standing { configured, paused, draining, ..Standing::default() };
            let (state, error) = standing.shown();
            assert_eq!(state, expected, "{standing:?}");
            assert_eq!(standing.gate().pulling, state == InstanceState::Ready, "{standing:?}");
            assert_eq!(error.is_some(), failed, "{standing:?}");
        }
    }
}
