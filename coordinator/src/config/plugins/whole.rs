//! PURE: what must hold between the fields of one entry of `plugins.yml`.

use super::super::base_url::BaseUrl;
use super::super::yaml::{Node, Value};
use super::decode::Finding;
use super::{Images, PluginEntry, Protocol, Runtime};

/// What must hold between the protocol and the addresses.
pub(super) fn addresses(entry: &PluginEntry, twice: bool) -> Result<(), String> {
    let rule = match (entry.protocol, entry.runtime) {
        _ if twice => "`url` and `urls`: only one of them",
        (Protocol::Nats, _) if !entry.urls.is_empty() => {
            "`url` is for `protocol: http`; other plugins find the broker themselves"
        }
        (Protocol::Http, Runtime::Docker) if !entry.urls.is_empty() => {
            "`url` is not for containers: in its container, an HTTP plugin listens on port 8080"
        }
        (Protocol::Http, Runtime::Internal) => "`protocol: http` is for plugins that are servers",
        (Protocol::Http, Runtime::Remote) if entry.urls.is_empty() => {
            "`url` is needed: where does the remote HTTP plugin listen?"
        }
        (Protocol::Http, Runtime::Process) if entry.urls.len() > 1 => {
            "`urls` is for remote plugins; a process has one `url`, and its instances the ports after it"
        }
        (Protocol::Http, Runtime::Process) if !entry.urls.iter().all(BaseUrl::is_loopback) => {
            "`url` of a process must be on this machine, e.g. http://127.0.0.1:8080"
        }
        _ => return Ok(()),
    };
    Err(rule.to_owned())
}

/// Whether there is anything that could be started or stopped by need.
fn may_scale(entry: &PluginEntry, has_instances: bool) -> Result<(), &'static str> {
    match (entry.protocol, entry.runtime) {
        _ if has_instances => Err("`instances` and `scale`: only one of them"),
        (Protocol::Http, _) => Err("`scale` is not for `protocol: http`; say `instances`"),
        (Protocol::Nats, Runtime::Process | Runtime::Docker) => Ok(()),
        (Protocol::Nats, Runtime::Remote | Runtime::Internal) => {
            Err("`scale` is for processes and containers; nothing else is started here")
        }
    }
}

/// Whether its files may go to workers of their own.
fn may_route(entry: &PluginEntry) -> Result<(), String> {
    if entry.protocol == Protocol::Http {
        return Err(
            "`routes` are for plugins that pull their tasks; `protocol: http` does not".to_owned()
        );
    }
    let has_own = entry.routes.iter().any(|route| route.instances.is_some());
    if has_own && entry.runtime != Runtime::Process {
        return Err("`routes`: `instances` are for plugins that run as processes; start workers \
                    with METAFLEET_ROUTE instead"
            .to_owned());
    }
    match entry.transition.as_ref().map(|plan| plan.how).filter(|how| how.is_side_by_side()) {
        Some(how) => Err(format!(
            "`routes` and `transition: {how}` cannot be had together: a version that is tried has no \
             workers of a route; use `graceful` or `immediate`"
        )),
        None => Ok(()),
    }
}

/// What holds for the fields together.
pub(super) fn whole(entry: &mut PluginEntry, node: &Node, found: &mut Vec<Finding>) {
    let Value::Map(fields) = &node.value else { return };
    let line_of = |names: &[&str]| {
        fields.iter().find(|field| names.contains(&field.key.as_str())).map(|field| field.line)
    };
    let runtime = line_of(&["runtime", "type"]);
    if line_of(&["image"]).is_some() && runtime.is_none() {
        entry.runtime = Runtime::Docker;
    }
    if !entry.enabled {
        return;
    }
    if let (Runtime::Docker, None, Some(line)) = (entry.runtime, line_of(&["image"]), runtime) {
        found.push(Finding { line, rule: "`runtime: docker` needs an `image`".to_owned() });
    }
    let rules = [
        (
            entry.runtime != Runtime::Docker,
            "labels",
            "`labels` are for containers, and this is none",
        ),
        (
            entry.runtime == Runtime::Process
                && entry.mounts.iter().any(|mount| mount.source != mount.target),
            "mounts",
            "`mounts`: a process sees folders where they are, so both sides of the `:` must be the \
             same",
        ),
        (
            !matches!(entry.runtime, Runtime::Docker | Runtime::Process),
            "mounts",
            "`mounts` are for containers and processes, and this is neither",
        ),
        (
            line_of(&["runtime"]).is_some(),
            "type",
            "`type` is the older word for `runtime`; only one of them",
        ),
        (
            entry.runtime == Runtime::Internal,
            "command",
            "`command` and `dir` are for programs; a built-in plugin is none",
        ),
        (
            entry.runtime == Runtime::Internal,
            "dir",
            "`command` and `dir` are for programs; a built-in plugin is none",
        ),
        (
            entry.protocol == Protocol::Http && matches!(entry.image, Some(Images::ByVersion(_))),
            "image",
            "`image` by version is for `protocol: nats`; an HTTP plugin goes over as a whole",
        ),
        (
            !matches!(entry.runtime, Runtime::Docker | Runtime::Process),
            "recycle",
            "`recycle` is for processes and containers; nothing else is started here",
        ),
        (
            matches!(entry.runtime, Runtime::Docker | Runtime::Process)
                && entry.protocol == Protocol::Http,
            "recycle",
            "`recycle` is not for `protocol: http`, whose servers do not say what they have done",
        ),
        (
            entry.protocol == Protocol::Http,
            "progressTimeout",
            "`progressTimeout` is not for `protocol: http`, which knows no progress; say `timeout`",
        ),
        (
            entry.runtime != Runtime::Process,
            "isolation",
            "`isolation` is for processes, and this is none",
        ),
    ];
    for (is_wrong, name, rule) in rules {
        if let (true, Some(line)) = (is_wrong, line_of(&[name])) {
            found.push(Finding { line, rule: rule.to_owned() });
        }
    }
    if let Some(line) = line_of(&["scale"])
        && let Err(rule) = may_scale(entry, line_of(&["instances"]).is_some())
    {
        found.push(Finding { line, rule: rule.to_owned() });
    }
    if let Some(line) = line_of(&["routes"]).filter(|_| !entry.routes.is_empty())
        && let Err(rule) = may_route(entry)
    {
        found.push(Finding { line, rule });
    }
    let twice = line_of(&["url"]).is_some() && line_of(&["urls"]).is_some();
    if let (true, Err(rule), Some(line)) =
        (found.is_empty(), addresses(entry, twice), line_of(&["url", "urls", "protocol"]))
    {
        found.push(Finding { line, rule });
    }
}
