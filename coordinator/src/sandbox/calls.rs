//! System calls that no plugin needs, refused by a filter: what Docker's profile refuses, and what
//! Landlock does not see.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

use super::{Network, Sandbox};

/// Refused whatever the arguments are.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_name_to_handle_at,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];
/// The same, where only this processor has them.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[libc::c_long] = &[
    libc::SYS__sysctl,
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_modify_ldt,
    libc::SYS_sysfs,
    libc::SYS_uselib,
    libc::SYS_ustat,
    // Of modules, as before Linux 2.6.
    174,
    177,
    178,
    // The numbers under which the x32 interface has some of those above.
    521,
    528,
    539,
    540,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[libc::c_long] = &[];
/// Change owners, modes, times and attributes of files, which Landlock does not see; refused unless
/// there is a folder that may be written to.
const ATTRIBUTES: &[libc::c_long] = &[
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    // `fchmodat2`, `setxattrat` and `removexattrat`: the same number everywhere.
    452,
    463,
    466,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fremovexattr,
    libc::SYS_fsetxattr,
    libc::SYS_lremovexattr,
    libc::SYS_lsetxattr,
    libc::SYS_removexattr,
    libc::SYS_setxattr,
    libc::SYS_utimensat,
];
/// The same, where only this processor has them.
#[cfg(target_arch = "x86_64")]
const ATTRIBUTES_HERE: &[libc::c_long] = &[
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_futimesat,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
];
#[cfg(not(target_arch = "x86_64"))]
const ATTRIBUTES_HERE: &[libc::c_long] = &[];
/// Answered as if the kernel did not know them, so that programs take the way they took before these
/// came: this filter cannot look into what they point to, and Landlock does not see what they do.
const UNKNOWN: &[libc::c_long] = &[
    libc::SYS_clone3,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
];
/// Set in numbers of the x32 interface, which a filter by number would otherwise not see.
#[cfg(target_arch = "x86_64")]
const OTHER_INTERFACE: i64 = 0x4000_0000;
/// New namespaces, in the flags of `clone`.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];
/// Requests that put characters into a terminal as if a person had typed them.
const TERMINAL: [u64; 2] = [0x5412, 0x541c];
/// Opens a connection by sending, which Landlock does not see.
const FAST_OPEN: u64 = 0x2000_0000;
/// The part of a socket's type that is no flag.
const TYPE_MASK: u64 = 0xf;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Applies the filters to this thread.
pub(super) fn restrict(sandbox: &Sandbox) -> Result<(), Error> {
    // A processor for which filters cannot be made; `support` says so.
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else { return Ok(()) };
    for program in programs(sandbox, arch)? {
        match apply_filter(&program) {
            // A kernel without filters.
            Err(Error::Seccomp(error))
                if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => {}
            applied => applied?,
        }
    }
    Ok(())
}

fn programs(sandbox: &Sandbox, arch: TargetArch) -> Result<[BpfProgram; 2], Error> {
    let errno = |code: libc::c_int| SeccompAction::Errno(code.unsigned_abs());
    let build = |rules, action| -> Result<BpfProgram, Error> {
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch);
        Ok(filter.and_then(TryInto::try_into)?)
    };
    let unknown = UNKNOWN.iter().map(|call| (*call, Vec::new())).collect();
    Ok([
        build(everywhere(refused(sandbox)?), errno(libc::EPERM))?,
        build(everywhere(unknown), errno(libc::ENOSYS))?,
    ])
}

/// The rules for both interfaces of the processor.
#[cfg(target_arch = "x86_64")]
fn everywhere(rules: Rules) -> Rules {
    let other: Rules =
        rules.iter().map(|(call, rules)| (call | OTHER_INTERFACE, rules.clone())).collect();
    rules.into_iter().chain(other).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn everywhere(rules: Rules) -> Rules {
    rules
}

/// A rule holds when all its conditions do; a call is refused when one of its rules holds.
fn refused(sandbox: &Sandbox) -> Result<Rules, Error> {
    use SeccompCmpOp::{Eq, MaskedEq, Ne};

    let mut rules: Rules =
        REFUSED.iter().chain(REFUSED_HERE).map(|call| (*call, Vec::new())).collect();
    if sandbox.writes.is_empty() {
        let attributes = ATTRIBUTES.iter().chain(ATTRIBUTES_HERE);
        rules.extend(attributes.map(|call| (*call, Vec::new())));
    }
    // Limits of other programs.
    rules.insert(libc::SYS_prlimit64, vec![rule(&[(0, Ne, 0)])?]);
    let flags = NAMESPACES.iter().map(|flag| {
        let flag = number(*flag);
        rule(&[(0, MaskedEq(flag), flag)])
    });
    rules.insert(libc::SYS_clone, flags.collect::<Result<_, _>>()?);
    let requests = TERMINAL.map(|request| rule(&[(1, Eq, request)]));
    rules.insert(libc::SYS_ioctl, requests.into_iter().collect::<Result<_, _>>()?);
    for (call, argument) in [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)]
    {
        rules.insert(call, vec![rule(&[(argument, MaskedEq(FAST_OPEN), FAST_OPEN)])?]);
    }

    let [inet, inet6, netlink] = [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK].map(number);
    let [tcp, udp] = [libc::IPPROTO_TCP, libc::IPPROTO_UDP].map(number);
    let [stream, datagram] = [libc::SOCK_STREAM, libc::SOCK_DGRAM].map(number);
    // Servers ask for their own address by UDP, and those in Node speak with their parts by sockets
    // of the machine; refused, they would not start.
    let is_server = sandbox.listens.is_some();
    let uses_udp = match &sandbox.network {
        Network::Open => true,
        Network::Ports { by_name, .. } => *by_name || is_server,
    };
    // Other families: those of the machine itself (Docker's socket), of packets, of devices.
    let mut others = vec![(0, Ne, inet), (0, Ne, inet6), (0, Ne, netlink)];
    if is_server {
        others.push((0, Ne, number(libc::AF_UNIX)));
    }
    let mut sockets = vec![rule(&others)?];
    // Netlink only for what names and addresses are looked up with.
    sockets.push(rule(&[(0, Eq, netlink), (2, Ne, 0)])?);
    for family in [inet, inet6] {
        for kind in 0..=TYPE_MASK {
            let is_type = (1, MaskedEq(TYPE_MASK), kind);
            if kind == stream {
                // Others than TCP over streams are not what Landlock watches.
                sockets.push(rule(&[(0, Eq, family), is_type, (2, Ne, 0), (2, Ne, tcp)])?);
            } else if kind == datagram && uses_udp {
                sockets.push(rule(&[(0, Eq, family), is_type, (2, Ne, 0), (2, Ne, udp)])?);
            } else {
                sockets.push(rule(&[(0, Eq, family), is_type])?);
            }
        }
    }
    rules.insert(libc::SYS_socket, sockets);
    Ok(rules)
}

fn number(constant: libc::c_int) -> u64 {
    u64::from(constant.unsigned_abs())
}

/// Conditions: the argument, how it is compared, with what.
fn rule(conditions: &[(u8, SeccompCmpOp, u64)]) -> Result<SeccompRule, Error> {
    let conditions = conditions.iter().map(|(argument, how, value)| {
        SeccompCondition::new(*argument, SeccompCmpArgLen::Dword, how.clone(), *value)
    });
    let conditions: Result<Vec<SeccompCondition>, _> = conditions.collect();
    Ok(SeccompRule::new(conditions?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_made_for_every_processor_that_is_known() {
        let closed = Network::default();
        let by_name = Network::Ports { connect: [4222].into(), by_name: true };
        for network in [closed, by_name, Network::Open] {
            let sandbox = Sandbox { network, ..Sandbox::default() };
            for arch in [TargetArch::x86_64, TargetArch::aarch64, TargetArch::riscv64] {
                let made = programs(&sandbox, arch).unwrap();
                // The kernel takes no longer ones.
                assert!(made.iter().all(|program| (10..4096).contains(&program.len())));
            }
        }
    }

    #[test]
    fn udp_is_for_those_who_look_up_names() {
        let by_name = Network::Ports { connect: [4222].into(), by_name: true };
        let length = |network: Network| {
            let sandbox = Sandbox { network, ..Sandbox::default() };
            programs(&sandbox, TargetArch::x86_64).unwrap().iter().map(Vec::len).sum::<usize>()
        };
        assert_eq!(length(Network::Open), length(by_name.clone()));
        assert!(length(Network::default()) < length(by_name));
        let sockets = |listens| {
            let sandbox = Sandbox { listens, ..Sandbox::default() };
            programs(&sandbox, TargetArch::x86_64).unwrap().iter().map(Vec::len).sum::<usize>()
        };
        assert!(sockets(None) < sockets(Some(8080)), "a server has more");
    }

    #[test]
    fn modes_are_for_those_who_may_write() {
        let closed = refused(&Sandbox::default()).unwrap();
        let writes = vec!["/out".into()];
        let writing = refused(&Sandbox { writes, ..Sandbox::default() }).unwrap();
        assert!(closed.contains_key(&libc::SYS_fchmodat));
        assert!(!writing.contains_key(&libc::SYS_fchmodat));
        assert!(writing.contains_key(&libc::SYS_ptrace));
    }
}
