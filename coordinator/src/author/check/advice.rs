//! PURE: what to do about a field of a manifest that is wrong.

/// What to do about the field that a pointer leads to.
pub(super) fn of(pointer: &str) -> &'static str {
    let mut segments = pointer.split('/').skip(1);
    match segments.next().unwrap_or_default() {
        "id" => "use a-z, 0-9 and -, at most 64 of them, e.g. `word-count`",
        "name" => "say in a few words what people call it",
        "version" => "use a semantic version, e.g. 1.0.0",
        "priority" => "use a whole number from 10 to 100; lower runs earlier, higher wins a key",
        "queue" => "use `fast` for what takes seconds at most, else `background`",
        "dataSchema" => {
            "list each key that is written, e.g. \"text/lines\": {\"label\": \"Lines\", \"type\": \"string\"}; \
             the type is string, set or json"
        }
        "timeout" | "progressTimeout" => "use milliseconds, e.g. 30000",
        "dependencies" => "list the ids of plugins that must run first",
        "reads" => "list patterns of keys, e.g. \"fileinfo/*\" or \"file/name\"",
        "filter" => {
            "use mimeTypes, extensions, minSize and maxSize, e.g. {\"mimeTypes\": [\"text/*\"]}"
        }
        "configSchema" => {
            "each setting has a type: string, number, boolean, or select with options; its default must fit"
        }
        "retry" => "e.g. {\"maxAttempts\": 3, \"delaysMs\": [1000, 10000]}",
        "onDependencyFailure" => "use `run` or `skip`",
        "concurrency" | "maxInFlight" => "use a whole number from 1 on, or leave it out",
        "entryPoint" => {
            "name the program within the folder of the plugin, e.g. {\"main\": \"run\", \"args\": []}"
        }
        "permissions" => {
            "name what it needs and cannot do without; the person grants it in plugins.yml"
        }
        "protocol" => "leave it out, or say 1",
        "capabilities" => "use names with true or false, e.g. {\"network\": true}",
        _ => "see `The manifest` in plugins/README.md",
    }
}
