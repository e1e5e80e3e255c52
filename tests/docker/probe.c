/*
 * A plugin that means harm: tries what no container may do and says how each attempt ended.
 *
 *   probe LIBRARY HOST_PORT OTHER_ADDRESS    all attempts: `denied WHAT: WHY` or `ALLOWED WHAT`, then `end`
 *   probe ballast                            takes memory until it is killed
 *
 * Afterwards it waits to be stopped, as a plugin would. Static, so that it runs in an empty image.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* 0 = it was possible; otherwise errno says why not. */
static void told(const char *what, int result) {
	if (result == 0)
		printf("ALLOWED %s\n", what);
	else
		printf("denied %s: %s\n", what, errno ? strerror(errno) : "not there");
	fflush(stdout);
	errno = 0;
}

static int fails(int is_denied) {
	errno = 0;
	return is_denied ? -1 : 0;
}

static int closes(int fd) {
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

static int writes(const char *path) {
	int fd = open(path, O_WRONLY | O_CREAT, 0644);
	if (fd < 0)
		return -1;
	int result = write(fd, "1", 1) == 1 ? 0 : -1;
	close(fd);
	return result;
}

static int reads(const char *path) {
	char byte;
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		return -1;
	int result = read(fd, &byte, 1) == 1 ? 0 : -1;
	close(fd);
	return result;
}

static int fills(const char *path, int mib) {
	static char piece[1 << 20];
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600), result = 0;
	if (fd < 0)
		return -1;
	memset(piece, 1, sizeof piece);
	for (int n = 0; n < mib && result == 0; n++)
		if (write(fd, piece, sizeof piece) != (ssize_t)sizeof piece)
			result = -1;
	int error = errno;
	close(fd);
	unlink(path);
	errno = error;
	return result;
}

static int unix_connect(const char *path) {
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	int result = connect(fd, (struct sockaddr *)&to, sizeof to);
	int error = errno;
	close(fd);
	errno = error;
	return result;
}

/* Also an answer that says no is an answer: whoever is there has been reached. */
static int tcp_reaches(const char *address, int port, int refused_counts) {
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
	inet_pton(AF_INET, address, &to.sin_addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), error = 0;
	socklen_t size = sizeof error;
	if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS) {
		error = errno;
	} else {
		struct pollfd ready = {.fd = fd, .events = POLLOUT};
		if (poll(&ready, 1, 2000) == 0)
			error = ETIMEDOUT;
		else
			getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
	}
	close(fd);
	errno = error;
	return error == 0 || (refused_counts && error == ECONNREFUSED) ? 0 : -1;
}

/* Asks for a name and waits for an answer with an address in it. */
static int dns_answers(const char *server) {
	static const char query[] = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
				    "\x07" "example" "\x03" "com" "\x00\x00\x01\x00\x01";
	unsigned char answer[512];
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)};
	inet_pton(AF_INET, server, &to.sin_addr);
	int fd = socket(AF_INET, SOCK_DGRAM, 0), result = -1;
	if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 && send(fd, query, sizeof query - 1, 0) > 0) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		if (poll(&ready, 1, 3000) == 1) {
			ssize_t count = recv(fd, answer, sizeof answer, 0);
			if (count > 12)
				result = answer[6] || answer[7] ? 0 : -1;
		} else
			errno = ETIMEDOUT;
	}
	int error = errno;
	close(fd);
	errno = error;
	return result;
}

static int multicast_reaches(void) {
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(1900)};
	char answer[16];
	inet_pton(AF_INET, "239.255.255.250", &to.sin_addr);
	int fd = socket(AF_INET, SOCK_DGRAM, 0), result = -1;
	static const char search[] = "M-SEARCH * HTTP/1.1\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n";
	if (sendto(fd, search, sizeof search - 1, 0, (struct sockaddr *)&to, sizeof to) > 0) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		if (poll(&ready, 1, 2000) == 1)
			result = recv(fd, answer, sizeof answer, 0) > 0 ? 0 : -1;
		else
			errno = ETIMEDOUT;
	}
	int error = errno;
	close(fd);
	errno = error;
	return result;
}

static int status_is(const char *field, const char *value) {
	char line[256];
	int is = 0;
	FILE *status = fopen("/proc/self/status", "r");
	while (status && fgets(line, sizeof line, status))
		if (strncmp(line, field, strlen(field)) == 0)
			is = strstr(line + strlen(field), value) != NULL;
	if (status)
		fclose(status);
	return is;
}

static int entries(const char *path, int (*counts)(const char *)) {
	int count = 0;
	struct dirent *entry;
	DIR *dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		count += counts(entry->d_name);
	if (dir)
		closedir(dir);
	return count;
}

static int is_other_process(const char *name) {
	int pid = atoi(name);
	return pid > 0 && pid != getpid();
}

static int is_other_secret(const char *name) {
	return strcmp(name, ".") && strcmp(name, "..") && strcmp(name, "metafleet");
}

static int is_ipv6(const char *name) {
	(void)name;
	char line[256];
	int count = 0;
	FILE *addresses = fopen("/proc/net/if_inet6", "r");
	while (addresses && fgets(line, sizeof line, addresses))
		count += strstr(line, " lo\n") == NULL;
	if (addresses)
		fclose(addresses);
	return count;
}

static int environment_has_secret(void) {
	extern char **environ;
	for (char **var = environ; *var; var++)
		if (strcasestr(*var, "password=") || strcasestr(*var, "token=") || strcasestr(*var, "secret="))
			return 0;
	return fails(1);
}

static void *waits(void *none) {
	pause();
	return none;
}

static int hundreds_of_threads(void) {
	pthread_attr_t small;
	pthread_t thread;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 64 << 10);
	for (int n = 0; n < 400; n++) {
		int error = pthread_create(&thread, &small, waits, NULL);
		if (error) {
			errno = error;
			return -1;
		}
	}
	return 0;
}

static int runs_from(const char *path) {
	char buffer[1 << 16];
	ssize_t count;
	int from = open("/proc/self/exe", O_RDONLY), to = open(path, O_WRONLY | O_CREAT, 0755);
	if (to < 0)
		return -1;
	while ((count = read(from, buffer, sizeof buffer)) > 0)
		if (write(to, buffer, count) != count)
			return -1;
	close(from);
	close(to);
	pid_t child = vfork();
	if (child == 0) {
		execl(path, path, "nothing", NULL);
		_exit(errno);
	}
	int status = 0;
	waitpid(child, &status, 0);
	errno = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
	return errno ? -1 : 0;
}

static int setuid_of_root(void) {
	if (closes(open("/tmp/suid", O_WRONLY | O_CREAT, 0755)) || chown("/tmp/suid", 0, 0))
		return -1;
	return chmod("/tmp/suid", 04755);
}

static void files(const char *library) {
	char path[4096];
	told("write to the root folder", writes("/harm"));
	told("write to /etc/passwd", writes("/etc/passwd"));
	told("replace its own program", unlink("/program"));
	told("write to /dev", writes("/dev/harm"));
	told("make a folder in /usr", mkdir("/usr/harm", 0755) == 0 || errno == EEXIST ? 0 : -1);
	snprintf(path, sizeof path, "%s/harm", library);
	told("write into the library", writes(path));
	snprintf(path, sizeof path, "%s/film.txt", library);
	told("remove a file of the library", unlink(path));
	told("change the modes of a file of the library", chmod(path, 0777));
	told("overwrite a file of the library", closes(open(path, O_WRONLY)));
	told("write into the folder of its secrets", writes("/run/metafleet/harm"));
	told("change its own secret", closes(open("/run/metafleet/nats-password", O_WRONLY)));
	told("secrets of other plugins", fails(entries("/run", is_other_secret) == 0));
	snprintf(path, sizeof path, "%s/../data/fleet.json", library);
	told("the data folder beside the library", reads(path));
	told("the machine's /etc/shadow", reads("/etc/shadow"));
	told("the engine's socket in /var/run", unix_connect("/var/run/docker.sock"));
	told("the engine's socket in /run", unix_connect("/run/docker.sock"));
	told("the socket of containerd", unix_connect("/run/containerd/containerd.sock"));
	told("fill the disk through /tmp", fills("/tmp/ballast", 80));
	told("fill memory through /dev/shm", fills("/dev/shm/ballast", 80));
	told("run what it has written to /tmp", runs_from("/tmp/copy"));
	told("a secret in its environment", environment_has_secret());
}

static void kernel(void) {
	told("be root", fails(geteuid() != 0));
	told("become root", setuid(0));
	told("take the group of root", setgid(0));
	told("effective capabilities", fails(status_is("CapEff:", "0000000000000000")));
	told("capabilities within reach", fails(status_is("CapBnd:", "0000000000000000")));
	told("new privileges by setuid programs", fails(status_is("NoNewPrivs:", "1")));
	told("system calls without a filter", fails(status_is("Seccomp:", "2")));
	told("a setuid file of root", setuid_of_root());
	told("mount a tmpfs", mount("none", "/tmp", "tmpfs", 0, NULL));
	told("mount /proc again", mount("proc", "/tmp", "proc", 0, NULL));
	told("make the root folder writable", mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL));
	told("unmount its own limits", umount("/proc/sys"));
	told("another root folder", chroot("/tmp"));
	told("make a device", mknod("/tmp/mem", S_IFCHR | 0600, makedev(1, 1)));
	told("the disk of the machine", reads("/dev/vda") && reads("/dev/sda") && reads("/dev/nvme0n1") ? -1 : 0);
	told("the memory of the machine", reads("/dev/mem"));
	told("the messages of the kernel", reads("/dev/kmsg"));
	told("settings of the kernel", writes("/proc/sys/kernel/hostname"));
	told("the core pattern of the kernel", writes("/proc/sys/kernel/core_pattern"));
	told("restart the machine", writes("/proc/sysrq-trigger"));
	told("settings in /sys", writes("/sys/kernel/mm/ksm/run"));
	told("its own memory limit", writes("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
	told("another name for the machine", sethostname("harm", 4));
	told("a user namespace", unshare(CLONE_NEWUSER));
	told("a mount namespace", unshare(CLONE_NEWNS));
	told("a network namespace", unshare(CLONE_NEWNET));
	told("load a module", syscall(SYS_finit_module, -1, "", 0) == 0 || errno == EBADF ? 0 : -1);
	told("a program in the kernel (bpf)", syscall(SYS_bpf, 0, NULL, 0) == 0 || errno == EINVAL || errno == EFAULT ? 0 : -1);
	told("watch the kernel (perf)", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0) == 0 || errno == EFAULT ? 0 : -1);
	told("open files by their number", syscall(SYS_open_by_handle_at, -1, NULL, 0) == 0 || errno == EFAULT || errno == EBADF ? 0 : -1);
	told("keys of the kernel", syscall(SYS_keyctl, 0, -3, 0) < 0 ? -1 : 0);
	told("another time for the machine", syscall(SYS_clock_settime, 0, &(struct timespec){0, 0}));
	told("swap files", syscall(SYS_swapoff, "/none") == 0 || errno == ENOENT ? 0 : -1);
	told("stop the machine", syscall(SYS_reboot, 0xfee1dead, 672274793, 0, NULL));
}

static void network(int port, const char *other) {
	char broker[64] = "", *at;
	const char *url = getenv("NATS_URL");
	snprintf(broker, sizeof broker, "%s", url ? url + strlen("nats://") : "");
	int relay = (at = strchr(broker, ':')) ? atoi(at + 1) : 0;
	if (at)
		*at = 0;
	/* Else the rest would be denied for another reason. */
	printf("%s the broker\n", tcp_reaches(broker, relay, 0) == 0 ? "reached" : "did not reach");
	told("the host's other ports at its gateway", tcp_reaches(broker, port, 0));
	told("a closed port of the host", tcp_reaches(broker, 1, 1));
	told("the engine over TCP", tcp_reaches(broker, 2375, 1));
	told("the host at docker0", tcp_reaches("172.17.0.1", port, 1));
	told("the host's loopback", tcp_reaches("127.0.0.1", port, 0));
	told("another plugin's container", tcp_reaches(other, 9, 1));
	told("the metadata address of a cloud", tcp_reaches("169.254.169.254", 80, 1));
	told("the internet", tcp_reaches("1.1.1.1", 443, 1));
	told("the local network", tcp_reaches("192.168.1.1", 80, 1));
	told("DNS of somebody else", dns_answers("8.8.8.8"));
	told("DNS at its gateway", dns_answers(broker));
	told("DNS through the engine's resolver", dns_answers("127.0.0.11"));
	told("devices of the local network (SSDP)", multicast_reaches());
	told("an address of IPv6", fails(is_ipv6(NULL) == 0));
	told("a raw socket", closes(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)));
	told("a packet socket", closes(socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL))));
}

static void processes(void) {
	told("processes of the machine", fails(entries("/proc", is_other_process) == 0));
	told("watch the engine's process", ptrace(PTRACE_ATTACH, 2, NULL, NULL));
	told("end the processes of others", kill(2, SIGKILL));
	told("a higher priority", setpriority(0, 0, -10) == 0 ? 0 : -1);
	told("hundreds of threads", hundreds_of_threads());
}

int main(int count, char **arguments) {
	if (count == 2 && strcmp(arguments[1], "ballast") == 0) {
		for (size_t n = 0; n < 4096; n++)
			memset(malloc(1 << 20), 1, 1 << 20);
		printf("ALLOWED more memory than its limit\n");
		return 0;
	}
	if (count != 4)
		return 0;
	files(arguments[1]);
	kernel();
	network(atoi(arguments[2]), arguments[3]);
	processes();
	printf("end\n");
	fflush(stdout);
	for (;;)
		pause();
}
