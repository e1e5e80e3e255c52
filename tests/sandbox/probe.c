/*
 * A plugin process that means harm: tries what a sandbox must deny and says how each attempt ended.
 *
 *   probe all    attempts of all kinds
 *   probe mild   only those that do no harm where they are allowed
 *
 * The file `arguments` in its folder has HOME, VICTIM, PORT and SOCKET, one on each line:
 * HOME has `library/film.txt`, `data`, `.ssh/id` and `other.txt`; VICTIM is the pid of a program of the
 * same user; on PORT of this machine and on SOCKET somebody listens.
 */
#define main probe_of_containers
#include "../docker/probe.c"
#undef main

#include <sys/xattr.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static const char *at(const char *folder, const char *name) {
	static char paths[4][4096];
	static int next;
	char *path = paths[next++ % 4];
	snprintf(path, sizeof paths[0], "%s/%s", folder, name);
	return path;
}

static const char *of_process(const char *pid, const char *name) {
	static char path[128];
	snprintf(path, sizeof path, "/proc/%s/%s", pid, name);
	return path;
}

/* Leaves nothing behind where it is allowed. */
static int writes_once(const char *path) {
	int result = writes(path), error = errno;
	if (result == 0)
		unlink(path);
	errno = error;
	return result;
}

static int links(const char *path) {
	char target[4096];
	return readlink(path, target, sizeof target) > 0 ? 0 : -1;
}

static int lists(const char *path) {
	DIR *dir = opendir(path);
	int found = 0;
	while (dir && readdir(dir))
		found++;
	if (dir)
		closedir(dir);
	return found ? 0 : -1;
}

static int listens(int port) {
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(port)};
	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int result = bind(fd, (struct sockaddr *)&here, sizeof here) || listen(fd, 1) ? -1 : 0;
	int error = errno;
	close(fd);
	errno = error;
	return result;
}

static int opens_fast(int port) {
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int result = sendto(fd, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&to, sizeof to) == 1 ? 0 : -1;
	int error = errno;
	close(fd);
	errno = error;
	return result;
}

static int fills_disk(const char *path) {
	signal(SIGXFSZ, SIG_IGN);
	return fills(path, 80);
}

static void attempts_on_files(const char *home, const char *scratch) {
	const char *film = at(home, "library/film.txt");
	printf("%s the library\n", reads(film) == 0 ? "reads" : "does not read");
	printf("%s for temporary files\n", writes(at(scratch, "own")) == 0 ? "has room" : "has no room");
	told("write into the library", writes_once(at(home, "library/harm")));
	told("overwrite a file of the library", closes(open(film, O_WRONLY)));
	told("empty a file of the library", truncate(film, 4));
	told("change the modes of a file of the library", chmod(film, 0644));
	told("change the owner of a file of the library", chown(film, geteuid(), -1));
	told("change the times of a file of the library", utimensat(AT_FDCWD, film, NULL, 0));
	told("attributes of a file of the library", setxattr(film, "user.harm", "1", 1, 0));
	told("link a file of the library elsewhere", link(film, at(scratch, "link")));
	told("a folder in the library", mkdir(at(home, "library/harmful"), 0755));
	told("write into its own folder", writes_once("harm"));
	told("write to /tmp", writes_once("/tmp/metafleet-harm"));
	told("write to /dev/shm", writes_once("/dev/shm/metafleet-harm"));
	told("a file beside the library", reads(at(home, "other.txt")));
	told("a key of the person", reads(at(home, ".ssh/id")));
	told("how to reach the fleet", reads(at(home, "data/fleet.json")));
	told("the passwords of the broker", lists(at(home, "data/nats")));
	told("the logs of other plugins", lists(at(home, "data/log")));
	told("temporary files of other plugins", lists(at(home, "data/scratch")));
	told("change its own login", writes(at(home, "data/login/nats-password")));
	told("more than its share of the disk", fills_disk(at(scratch, "ballast")));
	told("run what it has written", runs_from(at(scratch, "copy")));
	told("a secret in its environment", environment_has_secret());
	struct rlimit core;
	getrlimit(RLIMIT_CORE, &core);
	told("a core dump", fails(core.rlim_max == 0));
}

static void attempts_on_processes(const char *victim) {
	char byte;
	char parent[16];
	struct iovec here = {&byte, 1}, there = {(void *)0x400000, 1};
	struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
	int pid = atoi(victim);
	snprintf(parent, sizeof parent, "%d", getppid());
	told("the environment of another program", reads(of_process(victim, "environ")));
	told("the environment of the fleet", reads(of_process(parent, "environ")));
	told("the memory of another program", closes(open(of_process(victim, "mem"), O_RDONLY)));
	told("open files of another program", links(of_process(victim, "fd/1")));
	told("the root folder of another program", lists(of_process(victim, "root/tmp")));
	told("the folder of another program", lists(of_process(victim, "cwd/.")));
	told("watch another program", ptrace(PTRACE_SEIZE, pid, NULL, NULL));
	told("read another program", syscall(SYS_process_vm_readv, pid, &here, 1, &there, 1, 0) == 1 ? 0 : -1);
	told("limits of another program", prlimit(pid, RLIMIT_CORE, NULL, &limit));
	told("signals to another program", kill(pid, 0));
	told("end another program", kill(pid, SIGCONT));
	told("signals to the fleet", kill(getppid(), 0));
}

static void attempts_on_network(int port, const char *path) {
	char broker[64] = "", *mark;
	const char *url = getenv("NATS_URL");
	snprintf(broker, sizeof broker, "%s", url ? url + strlen("nats://") : "");
	int server = (mark = strchr(broker, ':')) ? atoi(mark + 1) : 0;
	if (mark)
		*mark = 0;
	printf("%s the broker\n", tcp_reaches(broker, server, 0) == 0 ? "reaches" : "does not reach");
	told("another port of this machine", tcp_reaches("127.0.0.1", port, 0));
	told("a closed port of this machine", tcp_reaches("127.0.0.1", 1, 1));
	told("the internet", tcp_reaches("1.1.1.1", 443, 1));
	told("the metadata address of a cloud", tcp_reaches("169.254.169.254", 80, 1));
	told("the local network", tcp_reaches("192.168.1.1", 80, 1));
	told("a connection by sending (fast open)", opens_fast(port));
	told("listen", listens(0));
	told("DNS of somebody else", dns_answers("8.8.8.8"));
	told("UDP", closes(socket(AF_INET, SOCK_DGRAM, 0)));
	told("devices of the local network (SSDP)", multicast_reaches());
	told("a raw socket", closes(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)));
	told("echo requests", closes(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP)));
	told("a packet socket", closes(socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL))));
	told("several paths (MPTCP)", closes(socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP)));
	told("the audit of the kernel", closes(socket(AF_NETLINK, SOCK_RAW, 9)));
	told("ciphers of the kernel", closes(socket(38, SOCK_SEQPACKET, 0)));
	told("a socket of a service of this machine", unix_connect(path));
	told("the engine's socket", unix_connect("/var/run/docker.sock"));
}

static void attempts_on_kernel(const char *scratch) {
	told("what root may do", fails(status_is("CapEff:", "0000000000000000") || status_is("CapEff:", "0000000000000004")));
	told("what root might get", fails(status_is("CapBnd:", "0000000000000000") || status_is("CapBnd:", "0000000000000004") || geteuid() != 0));
	told("become another user", geteuid() == 0 ? setuid(12345) : setuid(0));
	told("write to the root folder", writes("/harm"));
	told("write to /etc", writes("/etc/metafleet-harm"));
	told("write to /dev", writes("/dev/harm"));
	told("a folder in /usr", mkdir("/usr/harm", 0755));
	told("passwords of the machine", reads("/etc/shadow"));
	told("mount a tmpfs", mount("none", scratch, "tmpfs", 0, NULL));
	told("make the root folder another", mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL));
	told("mount in the new way", syscall(SYS_fsopen, "tmpfs", 0) >= 0 ? 0 : -1);
	told("unmount", umount("/proc/sys"));
	told("another root folder", chroot(scratch));
	told("make a device", mknod(at(scratch, "mem"), S_IFCHR | 0600, makedev(1, 1)));
	told("the disk of the machine", reads("/dev/vda") && reads("/dev/sda") && reads("/dev/nvme0n1") ? -1 : 0);
	told("the memory of the machine", reads("/dev/mem"));
	told("the messages of the kernel", reads("/dev/kmsg"));
	told("settings of the kernel", writes("/proc/sys/kernel/hostname"));
	told("the core pattern of the kernel", closes(open("/proc/sys/kernel/core_pattern", O_WRONLY)));
	told("restart the machine", closes(open("/proc/sysrq-trigger", O_WRONLY)));
	told("settings in /sys", closes(open("/sys/kernel/mm/ksm/run", O_WRONLY)));
	told("control groups", mkdir("/sys/fs/cgroup/metafleet-harm", 0755));
	told("another name for the machine", sethostname("harm", 4));
	told("a user namespace", unshare(CLONE_NEWUSER));
	told("a mount namespace", unshare(CLONE_NEWNS));
	told("a network namespace", unshare(CLONE_NEWNET));
	told("a namespace by clone", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) >= 0 ? 0 : -1);
	told("the namespaces of the machine", setns(open("/proc/1/ns/mnt", O_RDONLY), 0) == 0 || errno == EINVAL ? 0 : -1);
	told("load a module", syscall(SYS_finit_module, -1, "", 0) == 0 || errno == EBADF ? 0 : -1);
	told("another kernel", syscall(SYS_kexec_load, 0, 0, NULL, 0) == 0 || errno == EBUSY ? 0 : -1);
	told("a program in the kernel (bpf)", syscall(SYS_bpf, 0, NULL, 0) == 0 || errno == EINVAL || errno == EFAULT ? 0 : -1);
	told("watch the kernel (perf)", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0) == 0 || errno == EFAULT ? 0 : -1);
	told("page faults of the kernel (userfaultfd)", closes(syscall(SYS_userfaultfd, 1)));
	told("requests behind the filter (io_uring)", syscall(SYS_io_uring_setup, 1, NULL) == 0 || errno == EFAULT ? 0 : -1);
	told("open files by their number", syscall(SYS_open_by_handle_at, -1, NULL, 0) == 0 || errno == EFAULT || errno == EBADF ? 0 : -1);
	told("keys of the kernel", syscall(SYS_keyctl, 0, -3, 0) < 0 ? -1 : 0);
	told("another time for the machine", syscall(SYS_clock_settime, 0, &(struct timespec){0, 0}));
	told("swap files", syscall(SYS_swapoff, "/none") == 0 || errno == ENOENT ? 0 : -1);
	told("accounting", syscall(SYS_acct, NULL));
	told("a higher priority", setpriority(PRIO_PROCESS, 0, -10));
	told("stop the machine", syscall(SYS_reboot, 0xfee1dead, 672274793, 0, NULL));
}

int main(int count, char **arguments) {
	static char lines[4][4096];
	FILE *file = fopen("arguments", "r");
	for (int n = 0; n < 4; n++) {
		if (count != 2 || !file || !fgets(lines[n], sizeof lines[n], file))
			return 0;
		lines[n][strcspn(lines[n], "\n")] = 0;
	}
	fclose(file);
	const char *scratch = getenv("TMPDIR") ? getenv("TMPDIR") : "/none";
	/* Looking whether a file is there is not denied; it comes last when a fleet starts. */
	for (int n = 0; n < 300 && access(at(lines[0], "data/fleet.json"), F_OK) != 0; n++)
		usleep(100000);
	attempts_on_files(lines[0], scratch);
	attempts_on_processes(lines[1]);
	attempts_on_network(atoi(lines[2]), lines[3]);
	if (strcmp(arguments[1], "all") == 0) {
		/* Never without a sandbox: some of it would work. */
		if (status_is("Seccomp:", "2") && status_is("NoNewPrivs:", "1"))
			attempts_on_kernel(scratch);
		else
			told("all of the kernel", 0);
	}
	printf("end\n");
	fflush(stdout);
	for (;;)
		pause();
}
