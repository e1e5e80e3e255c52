//! The start of a fleet: each part when those that it needs are there.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::admission::{self, Admission};
use super::base::{Base, prepare};
use super::embedded::EmbeddedBroker;
use super::plugins::{Hosts, Known, PluginPlan};
use super::recycle::Recycling;
use super::reload::Reload;
use super::renew::{Renewal, Renewer};
use super::scaling::selection::Selection;
use super::scaling::{ScaleHandle, Scaling};
use super::steer::Steering;
use super::versions::{self, Decided};
use super::{Fleet, FleetError, FleetOptions, api, confines, containers, failing, http};
use crate::bridge::{Bridge, BridgeOptions, Troubles};
use crate::config::Env;
use crate::docker::{DockerHandle, DockerRuntime};
use crate::exec::Guard;
use crate::files::{self, Offers};
use crate::http::Server;
use crate::http::api::{self as status, ApiOptions};
use crate::internal::{InternalOptions, InternalRuntime};
use crate::nats_server::{Access, Tenants};
use crate::process::restart::RestartPolicy;
use crate::process::{Masks, ProcessOptions, ProcessRuntime, Surroundings};
use crate::service::{Coordinator, CoordinatorHandle, CoordinatorOptions};
use crate::store::Store;
use crate::usage::watch::UsageWatch;

/// What has been made before anything runs.
struct Started {
    node: String,
    plan: PluginPlan,
    hosts: Hosts,
    decided: Decided,
    store: Store,
    service: Coordinator,
    handle: CoordinatorHandle,
    docker: DockerRuntime,
    containers: DockerHandle,
    usage: UsageWatch,
    in_effect: watch::Receiver<Arc<Known>>,
    file_server: Option<Server>,
    offers: Option<Offers>,
    admission: Option<Admission>,
}

impl Fleet {
    /// Starts everything; returns when the streams are there and the plugins are being started.
    ///
    /// Call it on a thread that lives as long as the process; see [`crate::exec`].
    ///
    /// # Errors
    ///
    /// [`FleetError`] says which part does not start; the others have been stopped.
    pub async fn start(options: FleetOptions) -> Result<Self, FleetError> {
        Box::pin(Self::start_parts(options)).await
    }

    async fn start_parts(options: FleetOptions) -> Result<Self, FleetError> {
        let data_dir = options.data_dir.clone();
        let names = options.coordinator.names.clone();
        let (base, connection, access) = match options.connection.clone() {
            Some(connection) => {
                let lock = data_dir.lock().await?;
                (Base::Existing(lock), connection.clone(), Access::Shared(connection))
            }
            None => {
                let tenants = Tenants::Each {
                    plugins: admission::first(&options)?,
                    forgets_others: !options.temporary,
                };
                let broker = EmbeddedBroker::start(data_dir.clone(), names.clone(), tenants);
                let broker = Box::pin(broker).await?;
                let own = broker.handle.coordinator.clone();
                let each = Access::Each(broker.handle.logins.clone());
                (Base::Own(Box::new(broker)), own, each)
            }
        };
        let confines = confines::of(&options, &access);
        let FleetOptions {
            plugins,
            http,
            files,
            roots,
            grace,
            pace,
            temporary,
            coordinator,
            builtins,
            ..
        } = options;
        let prefix = names.prefix().clone();
        let surroundings = Surroundings::new(access.common(), prefix, grace, confines, &Env);
        let masks = Masks::default();
        let (runtime, processes) = ProcessRuntime::new(ProcessOptions {
            masks: masks.clone(),
            guard: Guard::this_program(),
            log_dir: data_dir.log(),
            grace,
            restart: RestartPolicy::default(),
        });
        let coordinator_drain = CancellationToken::new();
        let prepared = async {
            let boxed = containers::surroundings(&data_dir, names.prefix(), grace, &roots)?;
            let processes_of = surroundings.clone();
            let mut hosts = Hosts { processes: processes_of, containers: boxed, builtins };
            // Before the broker is asked for anything: what a person has written wrong is told first.
            PluginPlan::make(&plugins, &hosts, &Decided::new())?;
            confines::write_login(&hosts.processes.confines)?;
            let client = connection.connect("metafleet-coordinator").await?;
            prepare(&client, &names, coordinator.replicas).await?;
            let store = Store::open(client, names.clone()).await?;
            let mut decided = versions::decided(&store).await?;
            let mut plan = PluginPlan::make(&plugins, &hosts, &decided)?;
            if versions::begin_new(&store, &plan).await? {
                decided = versions::decided(&store).await?;
                plan = PluginPlan::make(&plugins, &hosts, &decided)?;
            }
            let mut admission = Admission::new(&access, &data_dir);
            if let Some(admission) = &mut admission {
                admission.hold(plan.tenants(), |_| false).await?;
            }
            confines::tell(&hosts.processes.confines, &plan.instances);
            let files = match files {
                Some(options) => Some(files::start(options, &store).await?),
                None => None,
            };
            let (file_server, offers) = files.unzip();
            let node = data_dir.node_id()?;
            let coordinator = CoordinatorOptions {
                node: node.clone(),
                word: plan.word(),
                drop_unexpected: true,
                files: offers.clone(),
                ..coordinator
            };
            let (service, handle) = Coordinator::new(store.client().clone(), coordinator);
            let mut docker = containers::options(&data_dir, &hosts.containers, &access);
            docker.masks = masks.clone();
            let engine = docker.address.clone();
            let (mut docker, containers) = DockerRuntime::new(docker);
            masks.learn(&plan.known.effective, &plan.known.manifests);
            let (steering, requests, shown) = Steering::new(plan.known.clone());
            let in_effect = steering.watch();
            let (usage, used) =
                UsageWatch::new(processes.clone(), containers.clone(), engine.clone());
            let routes = if temporary {
                None
            } else {
                Some(status::routes(ApiOptions {
                    token: api::token(&data_dir)?,
                    salt: api::salt()?,
                    store: store.clone(),
                    coordinator: handle.clone(),
                    processes: processes.clone(),
                    containers: containers.clone(),
                    engine,
                    used,
                    steering,
                    stop: coordinator_drain.clone(),
                }))
            };
            let mut http = http;
            if plan.http.any_in_containers() {
                http::know_containers(&mut http);
            }
            let (bridge, followed) = if plan.http.is_empty() {
                (None, Vec::new())
            } else {
                let (plugins, followed) = plan.http.clone().split(&processes, &containers);
                let options = BridgeOptions {
                    plugins,
                    addresses: http.clone(),
                    routes: routes.clone().unwrap_or_default(),
                    access: access.clone(),
                    prefix: names.prefix().clone(),
                    grace,
                    store: store.clone(),
                };
                let bridge = Bridge::start(options).await?;
                docker.set_bridge(bridge.listening);
                let confines = &mut hosts.processes.confines;
                confines::open_bridge(&bridge, confines, &mut plan.instances);
                (Some(bridge), followed)
            };
            let of_bridge = bridge.as_ref().map(|bridge| bridge.listening.0);
            let listening = api::listen(&http.api, of_bridge, routes).await?;
            let started = Started {
                node,
                plan,
                hosts,
                decided,
                store,
                service,
                handle,
                docker,
                containers,
                usage,
                in_effect,
                file_server,
                offers,
                admission,
            };
            Ok((started, bridge, followed, listening, requests, shown))
        };
        let (started, bridge, followed, listening, requests, shown) = match Box::pin(prepared).await
        {
            Ok(prepared) => prepared,
            Err(error) => {
                confines::remove_login(&surroundings.confines);
                base.stop().await;
                return Err(error);
            }
        };
        let Started {
            node,
            plan,
            hosts,
            decided,
            store,
            service,
            handle,
            docker,
            containers,
            usage,
            in_effect,
            file_server,
            offers,
            admission,
        } = started;
        let mut coordinating = JoinSet::new();
        coordinating.spawn(service.run(coordinator_drain.clone()));

        let process_drain = CancellationToken::new();
        let mut processing = JoinSet::new();
        processing.spawn(runtime.run(process_drain.clone()));
        let troubles = bridge.as_ref().map(Bridge::watch_troubles).unwrap_or_default();
        let told = failing::tell(store.clone(), processes.watch(), troubles, process_drain.clone());
        processing.spawn(told);
        let (stop, none) = (process_drain.clone(), Troubles::default());
        processing.spawn(failing::tell(store.clone(), in_effect, none, stop));
        let (watched, boxes) = (processes.watch(), containers.watch());
        processing.spawn(http::follow(followed, watched, boxes, process_drain.clone()));
        let (runtime, internal) = InternalRuntime::new(InternalOptions {
            builtins: hosts.builtins.clone(),
            access,
            prefix: names.prefix().clone(),
            grace,
            restart: RestartPolicy::default(),
        });
        processing.spawn(runtime.run(process_drain.clone()));
        let (stop, none) = (process_drain.clone(), Troubles::default());
        processing.spawn(failing::tell(store.clone(), internal.watch(), none, stop));
        // Nobody asks a fleet that runs for one command what it uses.
        if !temporary {
            processing.spawn(usage.run(process_drain.clone()));
        }
        let uses_containers = !plan.containers.is_empty();
        let runs_containers = uses_containers || containers::may_be_left(&data_dir);
        if runs_containers {
            processing.spawn(docker.run(process_drain.clone()));
            let (stop, none) = (process_drain.clone(), Troubles::default());
            processing.spawn(failing::tell(store.clone(), containers.watch(), none, stop));
            let stop = process_drain.clone();
            processing.spawn(containers::tell_signs(store.clone(), containers.clone(), stop));
        }
        let has_plugins = uses_containers
            || !plan.instances.is_empty()
            || !plan.internal.is_empty()
            || bridge.is_some();
        internal.set_wanted(plan.internal.clone());
        let confines = hosts.processes.confines.clone();
        let selection =
            Selection::new(processes.clone(), runs_containers.then(|| containers.clone()));
        selection.plan(plan.planned(), &BTreeSet::new());
        let scaling = Scaling {
            store: store.clone(),
            node,
            coordinator: handle.clone(),
            selection: selection.clone(),
            pace,
        };
        processing.spawn(scaling.run(process_drain.clone()));
        let containers_here = runs_containers.then(|| containers.clone());
        let renewer = Renewer { processes: processes.clone(), containers: containers_here };
        let recycling = Recycling {
            store: store.clone(),
            selection: selection.clone(),
            renewer: renewer.clone(),
        };
        processing.spawn(recycling.run(process_drain.clone()));
        let renewal = Renewal { store: store.clone(), renewer };
        processing.spawn(renewal.run(process_drain.clone()));
        let scaling = ScaleHandle::new(selection.clone());
        let reload = Arc::new(Notify::new());
        let following = Reload {
            sources: plugins,
            hosts,
            processes: processes.clone(),
            internal: internal.clone(),
            containers: runs_containers.then(|| containers.clone()),
            selection,
            coordinator: handle.clone(),
            store: store.clone(),
            asked: reload.clone(),
            requests,
            shown,
            masks,
            decided,
            admission,
        };
        let mut problems = plan.problems.clone();
        problems.extend(listening.problem);
        if let Some(server) = listening.server {
            processing.spawn(server.run(process_drain.clone()));
        }
        if let Some(server) = file_server {
            processing.spawn(server.run(process_drain.clone()));
        }
        processing.spawn(following.run(plan, process_drain.clone()));

        let fleet = Self {
            connection,
            coordinator: handle,
            processes,
            internal,
            containers,
            scaling,
            problems,
            reload,
            has_plugins,
            bridge,
            api: listening.url,
            files: offers.map(|offers| offers.url().to_owned()),
            coordinating,
            coordinator_drain,
            processing,
            process_drain,
            confines,
            base,
            store,
        };
        match fleet.publish(temporary) {
            Ok(()) => Ok(fleet),
            Err(error) => {
                fleet.stop().await;
                Err(error.into())
            }
        }
    }
}
