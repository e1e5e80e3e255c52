//! What all parts of one worker share.

use std::fmt;
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use broker_config::mask::Mask;
use broker_config::publish::Publisher;
use broker_config::{InstanceId, Manifest, Names, RouteName};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::connect::Link;
use crate::files::Files;
use crate::lease::Leases;
use crate::metrics::Counters;
use crate::permit::Permits;
use crate::plugin::Settings;
use crate::standing::Standing;

/// The plugin, and the rim of the worker around it.
#[derive(Debug)]
pub(crate) struct Inner<P> {
    pub(crate) plugin: P,
    pub(crate) rim: Rim,
}

/// Everything but the plugin.
pub(crate) struct Rim {
    pub(crate) names: Names,
    pub(crate) manifest: Manifest,
    /// The manifest's version as text; goes into every record.
    pub(crate) version: String,
    pub(crate) instance: InstanceId,
    pub(crate) route: Option<RouteName>,
    pub(crate) host: String,
    pub(crate) started_at: String,
    pub(crate) link: Link,
    pub(crate) publisher: Publisher,
    pub(crate) leases: Arc<Leases>,
    pub(crate) permits: Arc<Permits>,
    pub(crate) totals: Counters,
    pub(crate) files: Arc<Files>,
    pub(crate) standing: watch::Sender<Standing>,
    /// Where the plugin's code runs, apart from the thread that talks to the broker.
    pub(crate) handlers: Handle,
    /// Take nothing new, finish what is held.
    pub(crate) drain: CancellationToken,
    /// Stop at once.
    pub(crate) abort: CancellationToken,
    /// There is reason to announce again.
    pub(crate) announce: Arc<Notify>,
    /// What the environment says about tasks at once; it goes before everything else.
    pub(crate) wanted: Option<NonZeroUsize>,
    pub(crate) settings: Mutex<Arc<Settings>>,
    pub(crate) mask: Mutex<Mask>,
    pub(crate) heartbeat_ms: AtomicU64,
}

impl fmt::Debug for Rim {
    /// Without the settings: there are secrets among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (plugin, instance) = (&self.manifest.id, &self.instance);
        f.debug_struct("Rim")
            .field("plugin", plugin)
            .field("instance", instance)
            .finish_non_exhaustive()
    }
}

impl Rim {
    /// The settings in force.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_settings(&self, settings: Settings) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// A text for people without the secrets among the settings, those of before included: an attempt
    /// goes on with what it began with.
    pub(crate) fn hide(&self, text: String) -> String {
        self.mask.lock().unwrap_or_else(PoisonError::into_inner).text(text)
    }

    /// Hides the secrets among these from now on, too.
    pub(crate) fn hide_all_of(&self, settings: &Settings) {
        let mut mask = self.mask.lock().unwrap_or_else(PoisonError::into_inner);
        *mask = mask.with(&Mask::of(Some(&self.manifest), settings));
    }

    pub(crate) fn heartbeat_ms(&self) -> u64 {
        self.heartbeat_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn set_heartbeat_ms(&self, heartbeat_ms: u64) {
        self.heartbeat_ms.store(heartbeat_ms, Ordering::Relaxed);
    }

    /// Tasks at once: what the environment says, else the operator, else the manifest, else one
    /// for each processor.
    pub(crate) fn concurrency(&self, operator: Option<u32>) -> usize {
        let operator = operator.and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
        let manifest = self.manifest.concurrency.and_then(|n| usize::try_from(n.get()).ok());
        self.wanted
            .map(NonZeroUsize::get)
            .or(operator)
            .or(manifest)
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZeroUsize::get))
    }
}

impl<P: Send + Sync + 'static> Inner<P> {
    /// Runs code of the plugin where handlers run, so that it cannot stop the renewal of leases;
    /// `None` if it panics.
    ///
    /// # Cancel safety
    ///
    /// When dropped, the plugin's future is dropped as well: nothing that hangs is left behind, or
    /// piles up.
    pub(crate) async fn beside<T, F, W>(self: &Arc<Self>, call: F) -> Option<T>
    where
        F: FnOnce(Arc<Self>) -> W,
        W: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        AbortOnDropHandle::new(self.rim.handlers.spawn(call(self.clone()))).await.ok()
    }
}
