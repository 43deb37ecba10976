// SPDX-License-Identifier: GPL-2.0-only
/*
 * A policy in the place of the one that its cgroup has: that one's link is given the new
 * one, so that there is one policy at any moment; where the new one is refused the old one
 * goes on.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy.h"

/* The one that is attached there: an active one, or else the last that was ejected. */
static const struct keyed *find_line(const struct nested *n, const char *cgroup)
{
	uint64_t id = root_inode(cgroup);
	const struct keyed *found = policies_on(n, id);
	size_t i;

	for (i = n->nr; !found && i; i--) {
		if (keyed_is(&n->lines[i - 1], "cgroup", id))
			found = &n->lines[i - 1];
	}
	return found;
}

static int explain_unpinned(const struct policy *p, const char *name,
			    const struct policy_link *link)
{
	if (link && link->pid)
		return err_set("'%s' of %s is not pinned, but attached by process %d (%s); end that first",
			       name, p->cgroup, link->pid, link->comm ?: "?");
	return err_set("'%s' of %s is not pinned, so that it cannot be replaced from here; see: mcxctl list",
		       name, p->cgroup);
}

/* Return: 0, or -1 after err_set(). @old and @pin are to be freed. */
static int find_old(const struct policy *p, char **old, char **pin)
{
	const struct policy_link *link;
	const struct keyed *line;
	struct policy_links links;
	struct nested n;
	int ret = 0;

	if (policies_read(&n))
		return -1;
	line = find_line(&n, p->cgroup);
	if (line && keyed_get(line, "name")) {
		links_read(&links);
		link = links_find(&links, line);
		*old = fmt_string("%s", keyed_get(line, "name"));
		if (link && link->pin)
			*pin = fmt_string("%s", link->pin);
		else
			ret = explain_unpinned(p, *old, link);
		links_free(&links);
	}
	nested_free(&n);
	return ret;
}

/* Return: 0 or an errno. */
static int update(const struct policy *p, const char *pin)
{
	int fd = bpf_obj_get(pin), ret = 0;

	if (fd < 0)
		return errno;
	if (bpf_link_update(fd, bpf_map__fd(p->map), NULL))
		ret = errno;
	close(fd);
	return ret;
}

/**
 * policy_replace - attach a policy, in the place of the one that its cgroup has
 * @p: the policy, prepared
 * @path: where it shall be pinned in the end: free, or that of that one
 * @old: result: the name of that one; NULL if there was none
 * @pin: result: where it is pinned; likewise
 *
 * Return: 0, or -1 after err_set(). Both results are to be freed, in any case.
 */
int policy_replace(struct policy *p, const char *path, char **old, char **pin)
{
	int ret;

	*old = *pin = NULL;
	if (policy_load(p) || find_old(p, old, pin))
		return -1;
	if ((!*pin || strcmp(*pin, path)) && policy_pin_free(p))
		return -1;
	/*
	 * Only this has libbpf fill in the map, which a link is given then. Where there is
	 * a policy it is refused before anything is done.
	 */
	p->link = bpf_map__attach_struct_ops(p->map);
	ret = p->link ? 0 : errno;
	if (ret == EBUSY && *pin)
		ret = update(p, *pin);
	if (ret)
		return policy_attach_error(p, ret);
	if (!p->link)
		return 0;
	/* There was none, or none any more. */
	free(*old);
	free(*pin);
	*old = *pin = NULL;
	return 0;
}
