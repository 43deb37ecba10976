// SPDX-License-Identifier: GPL-2.0-only
/*
 * blocked: a pass that blocks in a device does not stop those of other cgroups.
 *
 * A cgroup swaps to a network block device whose server does not answer for a while: who
 * reclaims there sleeps for a request's place, and takes a worker of each CPU with it.
 * Another one, whose file is read round and round, goes on with the spares.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/nbd.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"

#define SWAPS	"mcx-test-swaps"
#define READS	"mcx-test-reads"
#define DISK	"/dev/nbd0"
#define DISK_SIZE (128 * MIB)
#define DATA	"/scratch/blocked.data"
#define SIZE	(96 * MIB)

static struct shared {
	volatile unsigned long pieces;
	volatile unsigned long taken;
	volatile bool held;	/* the server does not answer */
} *shared;

static pid_t server, client;

static bool swap_to(const char *path)
{
	char command[64];

	snprintf(command, sizeof(command), "mkswap -q %s >/dev/null 2>&1", path);
	return !system(command) && !swapon(path, 0);
}

static bool all(ssize_t (*transfer)(int fd, void *buf, size_t len), int fd,
		void *buf, size_t len)
{
	ssize_t n;

	for (; len; len -= n, buf = (char *)buf + n) {
		n = transfer(fd, buf, len);
		if (n <= 0)
			return false;
	}
	return true;
}

static ssize_t put(int fd, void *buf, size_t len)
{
	return write(fd, buf, len);
}

/* One request. Returns false at the end. */
static bool answer(int fd, char *disk)
{
	struct nbd_reply reply = { .magic = htobe32(NBD_REPLY_MAGIC) };
	struct nbd_request request;
	size_t from, len;
	uint32_t type;

	if (!all(read, fd, &request, sizeof(request)))
		return false;
	type = be32toh(request.type) & 0xffff;
	from = be64toh(request.from);
	len = be32toh(request.len);
	if (type == NBD_CMD_DISC || from + len > DISK_SIZE)
		return false;
	if (type == NBD_CMD_WRITE && !all(read, fd, disk + from, len))
		return false;
	while (shared->held)
		nap_ms(5);
	memcpy(&reply.cookie, &request.cookie, sizeof(reply.cookie));
	return all(put, fd, &reply, sizeof(reply)) &&
	       (type != NBD_CMD_READ || all(put, fd, disk + from, len));
}

/* Two ends of a connection; the kernel takes no other kind of socket for that. */
static bool connected(int fd[2])
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	struct ifreq lo = { .ifr_name = "lo" };
	socklen_t len = sizeof(to);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	lo.ifr_flags = IFF_UP;
	fd[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (ioctl(fd[0], SIOCSIFFLAGS, &lo) ||
	    bind(listener, (void *)&to, sizeof(to)) || listen(listener, 1) ||
	    getsockname(listener, (void *)&to, &len) ||
	    connect(fd[0], (void *)&to, len))
		return false;
	fd[1] = accept(listener, NULL, NULL);
	close(listener);
	return fd[1] >= 0;
}

static void serve(int fd)
{
	char *disk = mmap(NULL, DISK_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	while (answer(fd, disk))
		;
	_exit(0);
}

/* A disk in the memory of a task, which takes four requests at a time. */
static bool make_disk(void)
{
	int fd[2], disk;

	if (system("modprobe -q nbd") || !connected(fd))
		return false;
	server = cg_fork("");
	if (!server)
		serve(fd[1]);
	disk = open(DISK, O_RDWR | O_CLOEXEC);
	if (disk < 0 || ioctl(disk, NBD_SET_BLKSIZE, (unsigned long)PAGE) ||
	    ioctl(disk, NBD_SET_SIZE_BLOCKS, DISK_SIZE / PAGE) ||
	    ioctl(disk, NBD_SET_SOCK, fd[0]))
		return false;
	client = cg_fork("");
	if (!client)
		_exit(ioctl(disk, NBD_DO_IT) != 0);
	close(disk);
	nap_ms(500);
	return !write_file("/sys/block/nbd0/queue/nr_requests", "4");
}

static void let_go(void)
{
	shared->held = false;
}

/* Takes memory, a little at a time, and comes to wait for it. */
static pid_t swapper(void)
{
	pid_t pid = cg_fork(SWAPS);
	size_t i;
	char *p;

	if (pid)
		return pid;
	for (;; shared->taken++) {
		p = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			 MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		if (p == MAP_FAILED)
			pause();
		/* Of pages of zeroes nothing is written. */
		for (i = 0; i < 64; i++)
			p[i * PAGE] = 1;
	}
}

static bool make_data(void)
{
	static char block[MIB];
	int fd = open(DATA, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	size_t at;

	for (at = 0; fd >= 0 && at < SIZE; at += MIB)
		if (pwrite(fd, block, MIB, at) != (ssize_t)MIB)
			return false;
	fsync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	return at == SIZE;
}

static pid_t reader(void)
{
	pid_t pid = cg_fork(READS);
	size_t at = 0, piece = 256 << 10;
	char *buf;
	int fd;

	if (pid)
		return pid;
	buf = malloc(piece);
	fd = open(DATA, O_RDONLY | O_NOATIME | O_CLOEXEC);
	for (;; at = (at + piece) % SIZE)
		if (pread(fd, buf, piece, at) == (ssize_t)piece)
			shared->pieces++;
}

static unsigned long pieces_in(int seconds)
{
	unsigned long before = shared->pieces;

	nap_ms(seconds * 1000);
	return shared->pieces - before;
}

/* Is that task one of the module's that sleeps and cannot be interrupted? */
static bool is_blocked(const char *pid)
{
	char path[64], text[512], *name;

	snprintf(path, sizeof(path), "/proc/%s/stat", pid);
	if (read_file(path, text, sizeof(text)) <= 0)
		return false;
	name = strrchr(text, ')');
	if (!name || strncmp(name, ") D", 3))
		return false;
	/* A kworker shows its workqueue's name in comm, not in stat. */
	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	return read_file(path, text, sizeof(text)) > 0 &&
	       strstr(text, "memcg_ext");
}

static int blocked(void)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;
	int n = 0;

	while (dir && (e = readdir(dir)))
		n += e->d_name[0] >= '1' && e->d_name[0] <= '9' &&
		     is_blocked(e->d_name);
	if (dir)
		closedir(dir);
	return n;
}

static void test_blocked(void)
{
	unsigned long before, during, taken;
	long long spares;
	pid_t pid[2];
	int i, n = 0;

	pid[0] = reader();
	nap_ms(3000);
	before = pieces_in(5);
	shared->held = true;
	pid[1] = swapper();
	for (i = 0; i < 20 && n < 2; i++) {
		nap_ms(500);
		n = blocked();
	}
	ktap_ok(n >= 1, "%d workers are blocked in a device", n);
	nap_ms(2000);
	spares = worker_number("spare passes=");
	during = pieces_in(5);
	n = blocked();
	spares = worker_number("spare passes=") - spares;
	ktap_ok(n >= 1 && before > 10 && during * 3 >= before,
		"another cgroup goes on beside %d of them: %lu pieces in 5 s, %lu without, %lld passes by spares",
		n, during, before, spares);
	taken = shared->taken;
	let_go();
	for (i = 0; i < 200 && shared->taken < taken + 10; i++)
		nap_ms(50);
	ktap_ok(shared->taken >= taken + 10,
		"when it answers they go on, and so does who waited for them (%lu batches, %lu before)",
		shared->taken - taken, taken);
	for (i = 0; i < 2; i++)
		end_task(pid[i]);
}

int main(void)
{
	ktap_start();
	thp_off();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (mcx_load())
		ktap_skip_all("the module does not load");
	atexit(let_go);
	if (!make_disk() || !swap_to(DISK) || !make_data())
		ktap_skip_all("no network block device to swap to");
	cg_create(SWAPS);
	cg_create(READS);
	cg_write(SWAPS, "memory.high", "16M");
	cg_write(READS, "memory.high", "32M");
	ktap_ok(!mcx_manage(SWAPS) && !mcx_manage(READS), "managed");
	test_blocked();
	cg_remove(SWAPS);
	cg_remove(READS);
	ktap_ok(!mcx_unload(), "unloads");
	swapoff(DISK);
	end_task(client);
	end_task(server);
	unlink(DATA);
	return ktap_end();
}
