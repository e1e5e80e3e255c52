//! PURE: a description → what the engine is asked to make.
//!
//! What is the same for every container stands here; what differs comes from the description.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, DeviceRequest, HostConfig, HostConfigLogConfig, Mount, MountTmpfsOptions,
    MountType, RestartPolicy, RestartPolicyNameEnum,
};

use super::super::describe::Description;
use super::super::isolation::{PIDS, TMP_BYTES};
use super::super::naming::FleetId;

/// Only its owner's own network has names for it; anything else is refused at once.
const NO_DNS: &str = "127.0.0.1";

/// The request.
pub(super) fn body(description: &Description, fleet: &FleetId) -> ContainerCreateBody {
    let isolation = &description.isolation;
    let env = description.env.iter().map(|(name, value)| format!("{name}={value}"));
    ContainerCreateBody {
        image: Some(description.image_id.clone()),
        cmd: description.command.clone(),
        env: Some(env.collect()),
        labels: Some(description.all_labels(fleet).into_iter().collect()),
        user: isolation.user.clone(),
        hostname: Some(description.name.to_string()),
        host_config: Some(host_config(description)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(description: &Description) -> HostConfig {
    let isolation = &description.isolation;
    let memory = isolation.memory.map(|bytes| i64::try_from(bytes.get()).unwrap_or(i64::MAX));
    let exec = if isolation.tmp_exec { "exec" } else { "noexec" };
    let tmp = format!("rw,nosuid,nodev,{exec},size={TMP_BYTES},mode=1777");
    let log = [("max-size", "10m"), ("max-file", "3")];
    let gpu = DeviceRequest {
        count: Some(-1),
        capabilities: Some(vec![vec!["gpu".to_owned()]]),
        ..DeviceRequest::default()
    };
    HostConfig {
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        privileged: Some(false),
        readonly_rootfs: Some(true),
        ipc_mode: Some("private".to_owned()),
        pids_limit: Some(PIDS),
        memory,
        // The same = no swap beyond it.
        memory_swap: memory,
        nano_cpus: Some(isolation.nano_cpus),
        tmpfs: Some(HashMap::from([("/tmp".to_owned(), tmp)])),
        mounts: Some(mounts(description)),
        network_mode: Some(description.network.clone()),
        extra_hosts: Some(
            description.hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect(),
        ),
        dns: (!isolation.is_open).then(|| vec![NO_DNS.to_owned()]),
        device_requests: isolation.gpu.then(|| vec![gpu]),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(log.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
        }),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            ..RestartPolicy::default()
        }),
        ..HostConfig::default()
    }
}

fn mounts(description: &Description) -> Vec<Mount> {
    let bind = description.mounts.iter().map(|mount| Mount {
        typ: Some(MountType::BIND),
        source: Some(mount.source.to_string_lossy().into_owned()),
        target: Some(mount.target.to_string_lossy().into_owned()),
        read_only: Some(!mount.writable),
        ..Mount::default()
    });
    // Else the engine would make a folder of its own there, without a limit.
    let is_taken = |volume: &&String| {
        description.mounts.iter().any(|mount| mount.target.to_str() == Some(volume.as_str()))
    };
    let volumes =
        description.volumes.iter().filter(|volume| !is_taken(volume)).map(|volume| Mount {
            typ: Some(MountType::TMPFS),
            target: Some(volume.clone()),
            tmpfs_options: Some(MountTmpfsOptions {
                size_bytes: i64::try_from(TMP_BYTES).ok(),
                mode: Some(0o1777),
                ..MountTmpfsOptions::default()
            }),
            ..Mount::default()
        });
    bind.chain(volumes).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::describe::tests::{description, wanted};
    use super::*;

    fn fleet() -> FleetId {
        FleetId::new(&"p".parse().unwrap(), "1")
    }

    #[test]
    fn a_container_is_locked_down_by_default() {
        let body = body(&description(&wanted("a", 1)), &fleet());
        let host = body.host_config.unwrap();
        assert_eq!(body.user.as_deref(), Some("65534:65534"));
        assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(
            (host.cap_add, host.devices, host.binds, host.device_requests),
            (None, None, None, None)
        );
        assert_eq!(host.security_opt, Some(vec!["no-new-privileges".to_owned()]));
        assert_eq!((host.privileged, host.readonly_rootfs), (Some(false), Some(true)));
        assert_eq!(
            (host.pids_limit, host.memory, host.memory_swap),
            (Some(256), Some(1 << 30), Some(1 << 30))
        );
        assert_eq!((host.pid_mode, host.uts_mode, host.userns_mode), (None, None, None));
        assert_eq!(host.network_mode.as_deref(), Some("n"));
        assert_eq!(host.dns, Some(vec!["127.0.0.1".to_owned()]));
        assert!(host.tmpfs.unwrap()["/tmp"].contains("noexec,size=67108864"));
        assert_eq!(host.log_config.unwrap().config.unwrap()["max-size"], "10m");
        assert!(host.mounts.unwrap().iter().all(|mount| mount.read_only == Some(true)));
    }

    #[test]
    fn volumes_of_an_image_become_bounded_memory() {
        let mut description = description(&wanted("a", 1));
        description.volumes = vec!["/data".to_owned()];
        let mounts = host_config(&description).mounts.unwrap();
        let data = mounts.iter().find(|mount| mount.target.as_deref() == Some("/data")).unwrap();
        assert_eq!(data.typ, Some(MountType::TMPFS));
        assert_eq!(data.tmpfs_options.as_ref().unwrap().size_bytes, Some(64 << 20));
    }
}
