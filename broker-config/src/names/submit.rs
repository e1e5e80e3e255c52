//! Where files are handed in.

use super::Names;
use crate::id::PluginId;
use crate::queue::Queue;

impl Names {
    /// `mf.submit.<queue>`: where files are handed in.
    #[must_use]
    pub fn submit(&self, queue: Queue) -> String {
        format!("{}.submit.{queue}", self.prefix)
    }

    /// `mf.submit.<queue>.<plugin>`: where it comes out what a plugin hands in that has an account of
    /// its own, so that nobody can hand in in another's name.
    #[must_use]
    pub fn submit_by(&self, queue: Queue, plugin: &PluginId) -> String {
        format!("{}.submit.{queue}.{plugin}", self.prefix)
    }

    /// Every submission that names no plugin in its subject.
    #[must_use]
    pub fn all_submits(&self) -> String {
        format!("{}.submit.*", self.prefix)
    }

    /// Every submission of plugins that have accounts of their own.
    #[must_use]
    pub fn all_submits_by(&self) -> String {
        format!("{}.submit.*.*", self.prefix)
    }

    /// What is handed in through one queue, by whomever; the filters of its consumer.
    #[must_use]
    pub fn submits_of(&self, queue: Queue) -> [String; 2] {
        [self.submit(queue), format!("{}.submit.{queue}.*", self.prefix)]
    }

    /// Reads the queue from a submission's subject.
    #[must_use]
    pub fn parse_submit(&self, subject: &str) -> Option<Queue> {
        self.split_submit(subject).map(|(queue, _)| queue)
    }

    /// Reads who handed in from a submission's subject, where it says so.
    #[must_use]
    pub fn submitter(&self, subject: &str) -> Option<PluginId> {
        self.split_submit(subject)?.1
    }

    fn split_submit(&self, subject: &str) -> Option<(Queue, Option<PluginId>)> {
        let rest = subject.strip_prefix(self.prefix.as_str())?.strip_prefix(".submit.")?;
        Some(match rest.split_once('.') {
            None => (rest.parse().ok()?, None),
            Some((queue, plugin)) => (queue.parse().ok()?, Some(plugin.parse().ok()?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_of_a_submission_says_the_queue_and_maybe_who_handed_in() {
        let names = Names::default();
        let plugin: PluginId = "unzip".parse().unwrap();
        let by = names.submit_by(Queue::Background, &plugin);
        assert_eq!(by, "mf.submit.background.unzip");
        for (subject, queue, who) in [
            ("mf.submit.fast", Some(Queue::Fast), None),
            (by.as_str(), Some(Queue::Background), Some(plugin)),
            ("mf.submit.fast.un.zip", None, None),
            ("mf.submit.fast.Unzip", None, None),
            ("mf.submit.slow", None, None),
            ("mf.task.fast", None, None),
        ] {
            assert_eq!(names.parse_submit(subject), queue, "{subject}");
            assert_eq!(names.submitter(subject), who, "{subject}");
        }
    }
}
