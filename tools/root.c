// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files of the system, and small helpers for strings
 *
 * Every look at /sys, /proc, /lib and /usr goes through here: MCXCTL_ROOT, if
 * set, is put in front, so that the tests can show the tool a made-up machine.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mcxctl.h"

static void out_of_memory(void)
{
	fputs("mcxctl: out of memory\n", stderr);
	exit(EXIT_FAILED);
}

/**
 * new_array - calloc(), or the end
 * @nr: how many
 * @size: of how many bytes each
 *
 * Return: zeroed memory, never NULL; free() it.
 */
void *new_array(size_t nr, size_t size)
{
	void *p = calloc(nr ?: 1, size);

	if (!p)
		out_of_memory();
	return p;
}

/**
 * grow_array - make an array larger, or the end
 * @p: the array; may be NULL
 * @nr: how many it shall hold
 * @size: of how many bytes each
 *
 * Return: the array, moved perhaps, never NULL.
 */
void *grow_array(void *p, size_t nr, size_t size)
{
	p = reallocarray(p, nr ?: 1, size);
	if (!p)
		out_of_memory();
	return p;
}

/**
 * free_string - for __autofree
 * @s: the variable
 */
void free_string(char **s)
{
	free(*s);
}

/**
 * fmt_string - printf into a new string
 * @fmt: printf format
 *
 * Return: the string, never NULL; free() it.
 */
char *fmt_string(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		out_of_memory();
	va_end(ap);
	return s;
}

/**
 * root_path - where a file of the system really is
 * @path: absolute path
 *
 * Return: the path with MCXCTL_ROOT in front; free() it.
 */
char *root_path(const char *path)
{
	return fmt_string("%s%s", getenv("MCXCTL_ROOT") ?: "", path);
}

/**
 * root_exists - is there such a file
 * @path: absolute path
 *
 * Return: true if there is.
 */
bool root_exists(const char *path)
{
	__autofree char *real = root_path(path);
	struct stat st;

	return !stat(real, &st);
}

/**
 * root_is_dir - is there such a directory
 * @path: absolute path
 *
 * Return: true if there is.
 */
bool root_is_dir(const char *path)
{
	__autofree char *real = root_path(path);
	struct stat st;

	return !stat(real, &st) && S_ISDIR(st.st_mode);
}

/**
 * root_mode - who may do what with a file
 * @path: absolute path
 *
 * Return: its mode bits, 0 if there is no such file.
 */
unsigned int root_mode(const char *path)
{
	__autofree char *real = root_path(path);
	struct stat st;

	return stat(real, &st) ? 0 : st.st_mode;
}

/**
 * root_inode - the inode number of a file: of a cgroup, its id
 * @path: absolute path
 *
 * Return: the number, 0 if there is no such file.
 */
uint64_t root_inode(const char *path)
{
	__autofree char *real = root_path(path);
	struct stat st;

	return stat(real, &st) ? 0 : st.st_ino;
}

/**
 * root_open - open a file for reading, to read it more than once
 * @path: absolute path
 *
 * Return: a file descriptor, or -1 with errno set.
 */
int root_open(const char *path)
{
	__autofree char *real = root_path(path);

	return open(real, O_RDONLY | O_CLOEXEC);
}

/**
 * root_read_fd - read an open file to its end
 * @fd: the file
 *
 * Files of /proc and /sys have no size to ask for.
 *
 * Return: the text (free() it), or NULL with errno set.
 */
char *root_read_fd(int fd)
{
	size_t len = 0, size = 4096;
	char *text = NULL, *more;
	ssize_t n;

	do {
		more = realloc(text, size);
		if (!more)
			out_of_memory();
		text = more;
		n = read(fd, text + len, size - len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			free(text);
			return NULL;
		}
		len += n;
		if (size - len < 2)
			size *= 2;
	} while (n);
	text[len] = '\0';
	return text;
}

/**
 * root_read - read a whole file
 * @path: absolute path
 *
 * Return: the text (free() it), or NULL with errno set.
 */
char *root_read(const char *path)
{
	int fd = root_open(path), saved;
	char *text;

	if (fd < 0)
		return NULL;
	text = root_read_fd(fd);
	saved = errno;
	close(fd);
	errno = saved;
	return text;
}

/**
 * root_write - write a file that exists, with one write(2)
 * @path: absolute path
 * @text: what to write
 *
 * Return: 0, or -1 with errno set.
 */
int root_write(const char *path, const char *text)
{
	__autofree char *real = root_path(path);
	int fd, saved;
	ssize_t n;

	fd = open(real, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = write(fd, text, strlen(text));
	saved = errno;
	close(fd);
	errno = saved;
	return n < 0 ? -1 : 0;
}

static int is_subdir(const struct dirent *d)
{
	/* Links are left alone: /lib/modules/X/build leads out of the tree. */
	return d->d_type == DT_DIR && strcmp(d->d_name, ".") &&
	       strcmp(d->d_name, "..");
}

static int is_file(const struct dirent *d)
{
	return d->d_type == DT_REG;
}

static int list_names(const char *path, char ***names,
		      int (*wanted)(const struct dirent *d))
{
	__autofree char *real = root_path(path);
	struct dirent **list;
	int i, n;

	*names = NULL;
	n = scandir(real, &list, wanted, alphasort);
	if (n < 0)
		return 0;
	*names = new_array(n, sizeof(**names));
	for (i = 0; i < n; i++) {
		(*names)[i] = fmt_string("%s", list[i]->d_name);
		free(list[i]);
	}
	free(list);
	return n;
}

/**
 * root_subdirs - the directories in a directory, sorted
 * @path: absolute path
 * @names: their names; free with root_names_free()
 *
 * Return: how many, 0 also if @path cannot be read.
 */
int root_subdirs(const char *path, char ***names)
{
	return list_names(path, names, is_subdir);
}

/**
 * root_files - the regular files in a directory, sorted
 * @path: absolute path
 * @names: their names; free with root_names_free()
 *
 * Return: how many, 0 also if @path cannot be read.
 */
int root_files(const char *path, char ***names)
{
	return list_names(path, names, is_file);
}

/**
 * root_names_free - undo root_subdirs() or root_files()
 * @names: what it gave
 * @n: what it returned
 */
void root_names_free(char **names, int n)
{
	while (n--)
		free(names[n]);
	free(names);
}

/**
 * mount_of_type - where a file system is mounted
 * @fstype: its type
 *
 * Return: the first mount point (free() it), or NULL.
 */
char *mount_of_type(const char *fstype)
{
	__autofree char *real = root_path("/proc/self/mounts");
	struct mntent *m;
	char *where = NULL;
	FILE *f;

	f = setmntent(real, "re");
	if (!f)
		return NULL;
	while (!where && (m = getmntent(f))) {
		if (!strcmp(m->mnt_type, fstype))
			where = fmt_string("%s", m->mnt_dir);
	}
	endmntent(f);
	return where;
}

/**
 * mounted_at - is a file system mounted at a directory
 * @dir: the directory
 * @fstype: type of the file system
 *
 * Return: true if it is.
 */
bool mounted_at(const char *dir, const char *fstype)
{
	__autofree char *real = root_path("/proc/self/mounts");
	FILE *f = setmntent(real, "re");
	struct mntent *m;
	bool found = false;

	if (!f)
		return false;
	while (!found && (m = getmntent(f)))
		found = !strcmp(m->mnt_type, fstype) &&
			!strcmp(m->mnt_dir, dir);
	endmntent(f);
	return found;
}
