//! Entries that somebody else writes at the same time.

use super::*;
use crate::advisories::Witness;
use crate::dispatcher::Timing;
use crate::engine::Engine;
use crate::journal::Journal;
use crate::quarantine::Warden;
use crate::registry::PluginPolicy;
use crate::slots::Slots;
use crate::store::plugins::KnownPlugin;

/// A registry that does nothing by itself; what it has not been told of, it has not heard yet.
async fn registry(fleet: &Fleet) -> anyhow::Result<(Registry, State)> {
    let broker = Broker::open(fleet.server.client().await?, Names::default()).await?;
    let options = CoordinatorOptions::default();
    let presence = PresenceHandle::default();
    let witness =
        Witness { presence: presence.clone(), journal: Journal::default(), lease: options.lease };
    let slots = Arc::new(Slots::new(8, false));
    let (_engine, engine) =
        Engine::new(broker.clone(), slots, Arc::default(), witness, Timing::default());
    let (_warden, quarantine) =
        Warden::take_up(&broker, presence.clone(), options.quarantine).await;
    let registry = Registry {
        announcements: fleet.client.subscribe("nobody").await?,
        broker,
        engine,
        presence,
        word: watch::channel(Arc::default()).1,
        lease: options.lease,
        heard: watch::channel(BTreeSet::new()).0,
        loaded: watch::channel(false).0,
        roster: watch::channel(Roster::default()).0,
        quarantine,
        drop_unexpected: false,
        files: None,
    };
    let mut state = State::default();
    registry.load(&mut state).await;
    Ok((registry, state))
}

/// The plugin `p` announces itself under this name; whether it is paused, or why it may not serve.
async fn admit(registry: &Registry, state: &mut State, name: &str) -> Result<bool, Vec<String>> {
    let announce = json!({
        "type": "metafleet.announce.v1", "instance": "p-1", "host": "here", "pid": 1, "manifest": {
            "id": "p", "name": name, "version": "1.0.0", "priority": 15, "queue": "fast",
            "dataSchema": {},
        },
    });
    let announce: Announce = serde_json::from_value(announce).unwrap();
    let taken = registry.admit(state, &p(), &announce).await;
    taken.map(|taken| taken.granted.paused).map_err(NotTaken::reasons)
}

/// A person pauses it.
async fn pause(fleet: &Fleet) -> anyhow::Result<()> {
    let known = fleet.store.plugin(&p()).await?.unwrap();
    let entry = PluginEntry { paused: true, ..known.entry };
    Ok(fleet.store.put_plugin(&KnownPlugin { entry, revision: known.revision }).await?)
}

#[tokio::test]
async fn an_announcement_does_not_undo_what_a_person_has_just_said() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let (registry, mut state) = registry(&fleet).await?;
    assert_eq!(admit(&registry, &mut state, "P").await, Ok(false));
    pause(&fleet).await?;

    assert_eq!(admit(&registry, &mut state, "Q").await, Ok(true));

    let entry = fleet.store.plugin(&p()).await?.unwrap().entry;
    assert_eq!((entry.manifest.name.as_str(), entry.paused), ("Q", true));

    // The fleet starts it, and a person removes it.
    state.word = Arc::new(Word { expected: [p()].into(), ..Word::default() });
    fleet.remove().await?;
    let refused = admit(&registry, &mut state, "R").await;
    assert!(refused.is_err_and(|reasons| reasons[0].contains("was removed")));
    assert!(fleet.store.plugin(&p()).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_plugin_is_switched_off_only_as_it_is_known() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let (registry, mut state) = registry(&fleet).await?;
    assert_eq!(admit(&registry, &mut state, "P").await, Ok(false));
    pause(&fleet).await?;
    let off = PluginPolicy { disabled: true, ..PluginPolicy::default() };
    let word = Word { policies: [(p(), off)].into(), ..Word::default() };

    registry.on_word(&mut state, Arc::new(word)).await;

    let entry = fleet.store.plugin(&p()).await?.unwrap().entry;
    assert!(entry.enabled && entry.paused, "it has changed since");
    let looked = registry.look_again(&mut state, &p()).await;
    assert!(looked.is_ok());
    let entry = fleet.store.plugin(&p()).await?.unwrap().entry;
    assert!(!entry.enabled && entry.paused);
    Ok(())
}

#[tokio::test]
async fn who_serves_a_version_that_somebody_has_replaced_is_asked_anew() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let (registry, mut state) = registry(&fleet).await?;
    assert_eq!(admit(&registry, &mut state, "P").await, Ok(false));
    let mut asked = fleet.client.subscribe(fleet.names.control(&p())).await?;
    fleet.client.flush().await?;
    let mut known = fleet.store.plugin(&p()).await?.unwrap();
    known.entry.manifest.version = "2.0.0".parse()?;
    fleet.store.put_plugin(&known).await?;

    let looked = registry.look_again(&mut state, &p()).await;

    assert!(looked.is_ok());
    assert!(timeout(LIMIT, asked.next()).await?.is_some());
    Ok(())
}

#[tokio::test]
async fn plugins_are_known_however_many_keys_their_bucket_has() -> anyhow::Result<()> {
    let fleet = Fleet::start().await?;
    let lead = fleet.lead().await?;
    assert_eq!(fleet.announce(1).await?, Vec::<String>::new());
    lead.stop().await?;
    let bucket = fleet.names.plugins_bucket();
    // More than the broker tells in one answer.
    for n in 0..1_100 {
        fleet.put(Names::key_subject(&bucket, &format!("other.{n}")), &json!({})).await?;
    }

    let (_registry, state) = timeout(LIMIT, registry(&fleet)).await??;

    assert_eq!(state.entries.into_keys().collect::<Vec<_>>(), [p()]);
    Ok(())
}
