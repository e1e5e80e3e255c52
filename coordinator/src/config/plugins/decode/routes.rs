//! PURE: the field `routes`: names of routes, and which files go each way.

use std::num::NonZeroU32;

use broker_config::{Filter, RouteName};

use super::amounts::{RESOURCE_FIELDS, bytes, number, set_resource};
use super::{Field, Finding, Findings, Set, Value, each, read, rule, unknown};
use crate::config::plugins::{Resources, RouteEntry, Runtime};

const FIELDS: &str = "when, runtime, instances, resources";
const WHEN_FIELDS: &str = "minSize, maxSize, mimeTypes, extensions, libraries";
/// A consumer for each queue of each route; a list of machines is not meant.
pub(in super::super) const MOST: usize = 16;

/// Reads the field: a map from names to routes, in the order in which they are tried.
pub(super) fn routes(field: &Field, found: &mut Findings) -> Result<Vec<RouteEntry>, String> {
    let parts = match &field.node.value {
        Value::Map(parts) => parts,
        Value::Null => return Ok(Vec::new()),
        Value::Bool(_) | Value::Number(_) | Value::Text { .. } | Value::List(_) => {
            return Err(rule(field, "a map from the names of routes to their fields"));
        }
    };
    if parts.len() > MOST {
        return Err(rule(field, &format!("at most {MOST} routes")));
    }
    let mut routes = Vec::new();
    for part in parts {
        match part.key.parse() {
            Ok(name) => routes.extend(one(name, part, found)),
            Err(error) => {
                let error: broker_config::id::InvalidId = error;
                let rule = format!("`routes`: the name {}", error.rule);
                found.push(Finding { line: part.line, rule });
            }
        }
    }
    Ok(routes)
}

fn one(name: RouteName, field: &Field, found: &mut Findings) -> Option<RouteEntry> {
    let (filter, folders) = (Filter::default(), Vec::new());
    let mut route = RouteEntry {
        name,
        line: field.line,
        filter,
        libraries: None,
        folders,
        instances: None,
        resources: None,
    };
    let before = found.len();
    let result = each(field, FIELDS, found, |_| Ok(()));
    if let (Ok(()), Value::Map(parts)) = (&result, &field.node.value) {
        for part in parts {
            let result = set(&mut route, part, found);
            let result = result.map_err(|rule| format!("`routes`: `{name}`: {rule}"));
            super::note(found, part, result);
        }
    }
    super::note(found, field, result.map_err(|rule| format!("`routes`: {rule}")));
    let is_remote = matches!(&field.node.value, Value::Map(parts)
        if parts.iter().any(|part| part.key == "runtime"));
    let rule = match (route.instances, route.resources) {
        (Some(_), _) if is_remote => {
            Some("`instances` and `runtime: remote`: only one of them".to_owned())
        }
        (None, Some(_)) => Some("`resources` are for `instances` of the fleet's own".to_owned()),
        (Some(_) | None, _) => None,
    };
    let rule = rule.map(|rule| format!("`routes`: `{name}`: {rule}"));
    found.extend(rule.map(|rule| Finding { line: field.line, rule }));
    let says_nothing = route.filter == Filter::default() && route.libraries.is_none();
    if says_nothing && found.len() == before {
        let rule = format!("`routes`: `{name}` needs a `when` with one of {WHEN_FIELDS}");
        found.push(Finding { line: field.line, rule });
    }
    // What is wrong further down says only where it stands in the route.
    let parts = found.iter_mut().skip(before);
    for part in parts.filter(|part| !part.rule.starts_with("`routes`")) {
        part.rule = format!("`routes`: `{name}`: {}", part.rule);
    }
    (found.len() == before).then_some(route)
}

fn set(route: &mut RouteEntry, field: &Field, found: &mut Findings) -> Set {
    match field.key.as_str() {
        "when" => each(field, WHEN_FIELDS, found, |part| condition(route, part)),
        "runtime" => {
            let expected = "remote: whoever starts a worker tells it METAFLEET_ROUTE";
            let runtime: Runtime = read(field, expected)?;
            (runtime == Runtime::Remote).then_some(()).ok_or_else(|| rule(field, expected))
        }
        "instances" => number(field, 1).map(|count| route.instances = NonZeroU32::new(count)),
        "resources" => {
            let mut resources = Resources::default();
            each(field, RESOURCE_FIELDS, found, |part| set_resource(&mut resources, part))?;
            route.resources = Some(resources);
            Ok(())
        }
        _ => Err(unknown(field, FIELDS)),
    }
}

fn condition(route: &mut RouteEntry, field: &Field) -> Set {
    match field.key.as_str() {
        "minSize" => bytes(field).map(|size| route.filter.min_size = Some(size.get())),
        "maxSize" => bytes(field).map(|size| route.filter.max_size = Some(size.get())),
        "mimeTypes" => texts(field).map(|list| route.filter.mime_types = Some(list)),
        "extensions" => texts(field).map(|list| route.filter.extensions = Some(list)),
        "libraries" => texts(field).map(|list| route.libraries = Some(list)),
        _ => Err(unknown(field, WHEN_FIELDS)),
    }
}

fn texts(field: &Field) -> Result<Vec<String>, String> {
    let expected = "a list of texts, at least one";
    let list: Vec<String> = read(field, expected)?;
    let is_good = !list.is_empty() && list.iter().all(|text| !text.is_empty());
    is_good.then_some(list).ok_or_else(|| rule(field, expected))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::path::Path;

    use super::*;
    use crate::config::PluginsFile;
    use crate::config::vars::vars;

    fn parse(text: &str) -> PluginsFile {
        let text = format!("plugins:\n  p:\n    isolation: off\n{text}");
        PluginsFile::parse(Path::new("plugins.yml"), &text, &vars(&[("SIZE", "4g")])).unwrap()
    }

    #[test]
    fn routes_are_read_in_the_order_of_the_file() {
        let file = parse(
            "    routes:\n      gpu:\n        runtime: remote\n        when:\n          minSize: ${SIZE}\n          \
             libraries: [movies]\n          mimeTypes: [\"video/*\"]\n          extensions: [mkv]\n      \
             big: {when: {minSize: 100, maxSize: 1k}, instances: 2, resources: {memory: 8g}}\n",
        );

        assert!(file.problems.is_empty(), "{:?}", file.problems);
        let routes = &file.entries[&"p".parse().unwrap()].routes;
        let texts = |text: &str| Some(vec![text.to_owned()]);
        let gpu = RouteEntry {
            name: "gpu".parse().unwrap(),
            line: 5,
            filter: Filter {
                min_size: Some(4 << 30),
                max_size: None,
                mime_types: texts("video/*"),
                extensions: texts("mkv"),
            },
            libraries: texts("movies"),
            folders: Vec::new(),
            instances: None,
            resources: None,
        };
        let big = RouteEntry {
            name: "big".parse().unwrap(),
            line: 12,
            filter: Filter { min_size: Some(100), max_size: Some(1 << 10), ..Filter::default() },
            libraries: None,
            folders: Vec::new(),
            instances: NonZeroU32::new(2),
            resources: Some(Resources { memory: NonZeroU64::new(8 << 30), cpus: None }),
        };
        assert_eq!(*routes, [gpu, big]);
    }

    #[test]
    fn a_broken_route_is_told_with_its_line_and_its_rule() {
        let many: String =
            (0..=MOST).map(|n| format!("      r{n}: {{when: {{minSize: 1}}}}\n")).collect();
        for (text, line, rule) in [
            ("    routes: [gpu]\n", 4, "`routes` must be a map from the names"),
            ("    routes:\n      next: {when: {minSize: 1}}\n", 5, "the name must be 1 to 24"),
            ("    routes:\n      G_P: {when: {minSize: 1}}\n", 5, "the name must be 1 to 24"),
            ("    routes:\n      gpu:\n", 5, "`routes`: `gpu` needs a `when`"),
            ("    routes:\n      gpu: {when: {}}\n", 5, "`routes`: `gpu` needs a `when`"),
            ("    routes:\n      gpu: fast\n", 5, "`routes`: `gpu` must be a map of fields"),
            (
                "    routes:\n      gpu: {when: {minSize: 1}, where: x}\n",
                5,
                "`routes`: `gpu`: unknown field `where`; known are when, runtime, instances",
            ),
            (
                "    routes:\n      gpu:\n        when: {minSize: soon}\n",
                6,
                "`when`: `minSize` must be bytes, or a text like `512m` or `4g`",
            ),
            (
                "    routes:\n      gpu:\n        when:\n          size: 1\n",
                7,
                "`when`: unknown field `size`; known are minSize",
            ),
            (
                "    routes:\n      gpu: {when: {extensions: []}}\n",
                5,
                "`when`: `extensions` must be a list of texts, at least one",
            ),
            (
                "    routes:\n      gpu: {runtime: docker, when: {minSize: 1}}\n",
                5,
                "`routes`: `gpu`: `runtime` must be remote",
            ),
            (
                "    routes:\n      gpu: {runtime: remote, instances: 1, when: {minSize: 1}}\n",
                5,
                "`gpu`: `instances` and `runtime: remote`: only one of them",
            ),
            (
                "    routes:\n      gpu: {resources: {memory: 1g}, when: {minSize: 1}}\n",
                5,
                "`gpu`: `resources` are for `instances` of the fleet's own",
            ),
            (
                "    routes:\n      gpu: {instances: 0, when: {minSize: 1}}\n",
                5,
                "`gpu`: `instances` must be a whole number from 1",
            ),
            (
                "    protocol: http\n    url: http://127.0.0.1:1\n    routes: {gpu: {when: {minSize: 1}}}\n",
                6,
                "`routes` are for plugins that pull their tasks",
            ),
            (
                "    transition: gradual\n    routes: {gpu: {when: {minSize: 1}}}\n",
                5,
                "`routes` and `transition: gradual` cannot be had together",
            ),
            (
                "    transition: {how: blue-green}\n    routes: {gpu: {when: {minSize: 1}}}\n",
                5,
                "`routes` and `transition: blue-green` cannot be had together",
            ),
            (&format!("    routes:\n{many}"), 4, "`routes` must be at most 16 routes"),
        ] {
            let file = parse(text);
            let told: Vec<_> = file.problems.iter().map(ToString::to_string).collect();
            let place = format!("plugins.yml:{line}: ");
            let is_told =
                matches!(&told[..], [one] if one.starts_with(&place) && one.contains(rule));
            assert!(is_told, "{text}: {told:?}");
            assert!(file.entries.is_empty(), "{text}");
        }
    }
}
