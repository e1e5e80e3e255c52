//! Starts everything that an experiment is made of.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use anyhow::Context as _;
use broker_config::Names;
use broker_config::wire::instance::{Instance, InstanceState};

use super::{Chaos, Options, START};
use crate::chaos::disk::Disk;
use crate::chaos::ledger::Ledgers;
use crate::chaos::net::{End, Net};
use crate::chaos::plan::{Counts, Faults, Links};
use crate::chaos::process::{Process, Starter};
use crate::chaos::{GRAPH, clock};
use crate::cluster::{Layout, NODES};
use crate::{Cluster, Fleet, Server, within};

/// Where nobody listens.
const NOWHERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1));

impl Chaos {
    pub(super) async fn start(options: Options) -> anyhow::Result<Self> {
        let mut net = Net::default();
        let cluster = if options.faults.of_a_cluster() > 0 {
            Some(Box::pin(start_cluster(&options, &mut net)).await?)
        } else {
            None
        };
        let disk = if options.faults.of_a_disk() > 0 { Some(Disk::mount()?) } else { None };
        let server = match (&cluster, &disk) {
            (Some(cluster), _) => cluster.nodes.first().context("a server")?.clone(),
            (None, Some(disk)) => {
                Arc::new(Server::with_store(&disk.path(), options.sync.interval()).await?)
            }
            (None, None) => Arc::new(Server::start().await?),
        };
        let url = cluster.as_ref().map_or_else(|| server.url(), Cluster::url);
        let fleet = Fleet::at(&url, &server, Names::default()).await?;
        if options.faults.need_links() {
            let nodes = cluster.as_ref().map_or(&[][..], |cluster| cluster.nodes.as_slice());
            let mut servers: Vec<SocketAddr> = nodes.iter().map(|node| node.address()).collect();
            if servers.is_empty() {
                servers.push(server.address());
            }
            let pull = format!("$JS.API.CONSUMER.MSG.NEXT.{}.", fleet.names.submit_stream());
            net.clients(&servers, &pull).await?;
        }
        let url_of = |end: End| Some(net.url(end)).filter(|url| !url.is_empty());
        let url_of = |end: End| url_of(end).unwrap_or_else(|| url.clone());
        let mut starter = Starter {
            folder: options.folder.clone(),
            concurrency: options.concurrency,
            sabotage: options.sabotage,
            replicas: if cluster.is_some() { NODES } else { 1 },
            faketime: (options.faults.clock_jumps > 0).then(clock::library).transpose()?,
            started: 0,
        };
        let nodes = if options.faults.depose() { 2 } else { 1 };
        let coordinators: Vec<Process> = (0..nodes)
            .map(|node| {
                let url = url_of(End::Coordinator(node));
                starter.coordinator(&format!("coordinator-{}", node + 1), &url)
            })
            .collect::<anyhow::Result<_>>()?;
        let mut workers = Vec::new();
        let instances = Names::bucket_stream(&fleet.names.instances_bucket());
        for (plugin, ..) in GRAPH {
            for number in 0..options.workers {
                let url = url_of(End::Workers(number % 2));
                workers.push(starter.worker(plugin, &url)?);
            }
            // A plugin that needs one that nobody has heard of is refused.
            within(START, &format!("{plugin} to be ready"), async || {
                let entries = fleet.stored(&instances).await?;
                let ready = entries.iter().filter(|stored| {
                    serde_json::from_slice::<Instance>(&stored.payload)
                        .is_ok_and(|said| said.state == InstanceState::Ready)
                });
                Ok((ready.count() == workers.len()).then_some(()))
            })
            .await?;
        }
        if let Some(disk) = &disk {
            // A power cut is to meet what is written, not that the fleet has just been made.
            disk.settle()?;
        }
        let links = Links { times: 0, ..options.faults.links };
        Ok(Self {
            ledgers: Ledgers::of(options.folder.clone()),
            options,
            fleet: Arc::new(fleet),
            cluster,
            disk,
            net,
            strikes_cluster: false,
            may_repair: false,
            is_crashing: false,
            ready_ms: Vec::new(),
            starter,
            coordinators,
            deposed: None,
            workers,
            kills: Vec::new(),
            killed: Counts { workers: 0, coordinator: 0, broker: 0 },
            done: Faults { links, ..Faults::default() },
            begun_kills: 0,
            problems: Vec::new(),
            watch: None,
        })
    }
}

async fn start_cluster(options: &Options, net: &mut Net) -> anyhow::Result<Cluster> {
    let layout = Layout::free()?;
    if options.faults.need_links() {
        net.routes(&layout.routes).await?;
    }
    let route = |from, to: usize| {
        let direct = || layout.routes.get(to).copied();
        net.route(from, to).or_else(direct).unwrap_or(NOWHERE)
    };
    Box::pin(Cluster::start(&layout, route)).await
}
