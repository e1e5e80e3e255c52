//! Every subject, stream, bucket, key and consumer of a fleet; no other module writes one as text.
//!
//! A [`Names`] knows the fleet's prefix. Functions without `self` need none.

use crate::codec;
use crate::id::{Cid, InstanceId, PluginId, Prefix};
use crate::queue::Queue;

mod accounts;
mod artifact;
mod lanes;
mod route;
mod submit;

pub use self::lanes::Lane;
pub use self::route::RouteName;

/// Spells all names of one fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    prefix: Prefix,
    upper: String,
    record_root: String,
    task_root: String,
}

/// What a task's subject says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskAddress {
    /// The queue it waits in.
    pub queue: Queue,
    /// Which version or route of the plugin it is for.
    pub lane: Lane,
    /// The plugin that is to run.
    pub plugin: PluginId,
    /// The file it is to run on.
    pub cid: Cid,
}

/// What a record's subject says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordAddress {
    /// The file described.
    pub cid: Cid,
    /// The plugin that describes it.
    pub plugin: PluginId,
}

impl Default for Names {
    fn default() -> Self {
        Self::new(Prefix::default())
    }
}

impl Names {
    /// Spells the names of the fleet with this prefix.
    #[must_use]
    pub fn new(prefix: Prefix) -> Self {
        let upper = prefix.as_str().to_ascii_uppercase().replace('-', "_");
        let record_root = format!("$KV.{prefix}-records.");
        let task_root = format!("{prefix}.task.");
        Self { prefix, upper, record_root, task_root }
    }

    /// The fleet's prefix.
    #[must_use]
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    // Streams ------------------------------------------------------------------------------

    /// Files that wait to be processed, and those being processed: a work queue.
    #[must_use]
    pub fn submit_stream(&self) -> String {
        format!("{}_SUBMIT", self.upper)
    }

    /// Tasks and scheduled tasks: a work queue.
    #[must_use]
    pub fn task_stream(&self) -> String {
        format!("{}_TASKS", self.upper)
    }

    /// What workers report besides records.
    #[must_use]
    pub fn signal_stream(&self) -> String {
        format!("{}_SIGNALS", self.upper)
    }

    /// What subscribers read.
    #[must_use]
    pub fn event_stream(&self) -> String {
        format!("{}_EVENTS", self.upper)
    }

    /// Tasks given up on.
    #[must_use]
    pub fn dead_stream(&self) -> String {
        format!("{}_DEAD", self.upper)
    }

    /// What the server says about this fleet's tasks.
    #[must_use]
    pub fn advisory_stream(&self) -> String {
        format!("{}_ADVISORIES", self.upper)
    }

    // Buckets ------------------------------------------------------------------------------

    fn bucket(&self, what: &str) -> String {
        format!("{}-{what}", self.prefix)
    }

    /// The bucket of records.
    #[must_use]
    pub fn records_bucket(&self) -> String {
        self.bucket("records")
    }

    /// The bucket of manifests: every plugin that is known, also while none of it runs.
    #[must_use]
    pub fn plugins_bucket(&self) -> String {
        self.bucket("plugins")
    }

    /// The bucket of signs of life.
    #[must_use]
    pub fn instances_bucket(&self) -> String {
        self.bucket("instances")
    }

    /// The bucket of settings per plugin; holds no secret.
    #[must_use]
    pub fn config_bucket(&self) -> String {
        self.bucket("config")
    }

    /// The bucket of known paths.
    #[must_use]
    pub fn paths_bucket(&self) -> String {
        self.bucket("paths")
    }

    /// The bucket that says which coordinator leads.
    #[must_use]
    pub fn lease_bucket(&self) -> String {
        self.bucket("lease")
    }

    /// The stream behind a bucket.
    #[must_use]
    pub fn bucket_stream(bucket: &str) -> String {
        format!("KV_{bucket}")
    }

    /// The stream behind the bucket of records.
    #[must_use]
    pub fn record_stream(&self) -> String {
        Self::bucket_stream(&self.records_bucket())
    }

    /// The subject of a key: `$KV.<bucket>.<key>`.
    #[must_use]
    pub fn key_subject(bucket: &str, key: &str) -> String {
        format!("$KV.{bucket}.{key}")
    }

    // Tasks --------------------------------------------------------------------------------

    /// `mf.task.<queue>.<plugin>.<cid>`: where the work of one plugin on one file is published.
    #[must_use]
    pub fn task(&self, queue: Queue, plugin: &PluginId, cid: &Cid) -> String {
        let cid = codec::encode(cid.as_str().as_bytes());
        format!("{}{queue}.{plugin}.{cid}", self.task_root)
    }

    /// Every task.
    #[must_use]
    pub fn all_tasks(&self) -> String {
        format!("{}>", self.task_root)
    }

    /// The tasks of one plugin in one queue; the filter of its consumer.
    #[must_use]
    pub fn tasks_of(&self, queue: Queue, plugin: &PluginId) -> String {
        format!("{}{queue}.{plugin}.*", self.task_root)
    }

    /// Reads a task's subject.
    #[must_use]
    pub fn parse_task(&self, subject: &str) -> Option<TaskAddress> {
        let mut tokens = subject.strip_prefix(&self.task_root)?.split('.');
        let queue = tokens.next()?.parse().ok()?;
        let (plugin, lane) = Lane::parse(tokens.next()?)?;
        let address = TaskAddress {
            queue,
            lane,
            plugin,
            cid: codec::decode_text(tokens.next()?).ok()?.try_into().ok()?,
        };
        tokens.next().is_none().then_some(address)
    }

    /// `mf.later.<plugin>.<cid>`: where a task waits for its time; no consumer reads it.
    #[must_use]
    pub fn later(&self, plugin: &PluginId, cid: &Cid) -> String {
        let cid = codec::encode(cid.as_str().as_bytes());
        format!("{}.later.{plugin}.{cid}", self.prefix)
    }

    /// Reads plugin, lane and content id from the subject of a scheduled task.
    #[must_use]
    pub fn parse_later(&self, subject: &str) -> Option<(PluginId, Lane, Cid)> {
        let rest = subject.strip_prefix(self.prefix.as_str())?.strip_prefix(".later.")?;
        let (token, cid) = rest.split_once('.')?;
        let (plugin, lane) = Lane::parse(token)?;
        Some((plugin, lane, codec::decode_text(cid).ok()?.try_into().ok()?))
    }

    /// The scheduled tasks of one plugin.
    #[must_use]
    pub fn later_of(&self, plugin: &PluginId) -> String {
        format!("{}.later.{plugin}.*", self.prefix)
    }

    /// Every scheduled task.
    #[must_use]
    pub fn all_later(&self) -> String {
        format!("{}.later.>", self.prefix)
    }

    /// The durable consumer of a plugin's tasks in one queue, e.g. `ffmpeg_fast`.
    #[must_use]
    pub fn consumer(plugin: &PluginId, queue: Queue) -> String {
        format!("{plugin}_{queue}")
    }

    // Records ------------------------------------------------------------------------------

    /// `$KV.mf-records.<cid>.<plugin>`: where the outcome of one plugin on one file is kept.
    #[must_use]
    pub fn record(&self, cid: &Cid, plugin: &PluginId) -> String {
        let cid = codec::encode(cid.as_str().as_bytes());
        format!("{}{cid}.{plugin}", self.record_root)
    }

    /// All records of one file.
    #[must_use]
    pub fn records_of(&self, cid: &Cid) -> String {
        let cid = codec::encode(cid.as_str().as_bytes());
        format!("{}{cid}.*", self.record_root)
    }

    /// Every record.
    #[must_use]
    pub fn all_records(&self) -> String {
        format!("{}>", self.record_root)
    }

    /// Reads a record's subject.
    #[must_use]
    pub fn parse_record(&self, subject: &str) -> Option<RecordAddress> {
        let (cid, plugin) = subject.strip_prefix(&self.record_root)?.split_once('.')?;
        let cid = codec::decode_text(cid).ok()?.try_into().ok()?;
        Some(RecordAddress { cid, plugin: plugin.parse().ok()? })
    }

    // Signals and control ------------------------------------------------------------------

    /// `mf.signal.<plugin>.<kind>`: what a worker reports; see [`crate::wire::signal`].
    #[must_use]
    pub fn signal(&self, plugin: &PluginId, kind: &str) -> String {
        format!("{}.signal.{plugin}.{kind}", self.prefix)
    }

    /// The same kind of signal from every plugin.
    #[must_use]
    pub fn signals(&self, kind: &str) -> String {
        format!("{}.signal.*.{kind}", self.prefix)
    }

    /// Reads plugin and kind from a signal's subject.
    #[must_use]
    pub fn parse_signal<'a>(&self, subject: &'a str) -> Option<(PluginId, &'a str)> {
        let rest = subject.strip_prefix(self.prefix.as_str())?.strip_prefix(".signal.")?;
        let (plugin, kind) = rest.split_once('.')?;
        Some((plugin.parse().ok()?, kind))
    }

    /// `mf.control.<plugin>`: what every instance of a plugin obeys.
    #[must_use]
    pub fn control(&self, plugin: &PluginId) -> String {
        format!("{}.control.{plugin}", self.prefix)
    }

    /// `mf.control.<plugin>.<instance>`: what one instance obeys.
    #[must_use]
    pub fn control_instance(&self, plugin: &PluginId, instance: &InstanceId) -> String {
        format!("{}.control.{plugin}.{instance}", self.prefix)
    }

    // Events and dead letters --------------------------------------------------------------

    /// `mf.event.<entity>.<what>`, e.g. `mf.event.file.settled`.
    #[must_use]
    pub fn event(&self, name: &str) -> String {
        format!("{}.event.{name}", self.prefix)
    }

    /// Every event.
    #[must_use]
    pub fn all_events(&self) -> String {
        format!("{}.event.>", self.prefix)
    }

    /// `mf.dead.<queue>.<plugin>`: where a task given up on is kept for a person.
    #[must_use]
    pub fn dead(&self, queue: Queue, plugin: &PluginId) -> String {
        format!("{}.dead.{queue}.{plugin}", self.prefix)
    }

    /// Every dead letter.
    #[must_use]
    pub fn all_dead(&self) -> String {
        format!("{}.dead.>", self.prefix)
    }

    // Keys ---------------------------------------------------------------------------------

    /// The key of an instance's sign of life: `<plugin>.<instance>`.
    #[must_use]
    pub fn instance_key(plugin: &PluginId, instance: &InstanceId) -> String {
        format!("{plugin}.{instance}")
    }

    /// The subject of an instance's sign of life.
    #[must_use]
    pub fn instance(&self, plugin: &PluginId, instance: &InstanceId) -> String {
        Self::key_subject(&self.instances_bucket(), &Self::instance_key(plugin, instance))
    }

    /// The subject of a known path: directory, name and content id, each one token, so that a
    /// directory, a path or a content id can be looked up by a filter.
    #[must_use]
    pub fn path(&self, directory: &str, name: &str, cid: Option<&Cid>) -> String {
        let cid = codec::encode(cid.map_or("", Cid::as_str).as_bytes());
        format!("$KV.{}-paths.{directory}.{name}.{cid}", self.prefix)
    }

    /// All known paths in one directory.
    #[must_use]
    pub fn paths_in(&self, directory: &str) -> String {
        format!("$KV.{}-paths.{directory}.*.*", self.prefix)
    }

    /// What is known of one path.
    #[must_use]
    pub fn path_named(&self, directory: &str, name: &str) -> String {
        format!("$KV.{}-paths.{directory}.{name}.*", self.prefix)
    }

    /// All known paths of one content id.
    #[must_use]
    pub fn paths_of(&self, cid: &Cid) -> String {
        let cid = codec::encode(cid.as_str().as_bytes());
        format!("$KV.{}-paths.*.*.{cid}", self.prefix)
    }

    /// Advisories about this fleet's tasks, and no other fleet's on the same server.
    #[must_use]
    pub fn task_advisories(&self) -> Vec<String> {
        ["MAX_DELIVERIES", "MSG_TERMINATED"]
            .map(|kind| format!("$JS.EVENT.ADVISORY.CONSUMER.{kind}.{}.*", self.task_stream()))
            .to_vec()
    }
}

#[cfg(test)]
mod tests;
