/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Policies: object files, the options in them, attached ones, their links
 *
 * The commands load, run, unload, list and show share this. libbpf does not
 * know of MCXCTL_ROOT: with it nothing gets as far as the real kernel.
 */
#ifndef MCXCTL_POLICY_H
#define MCXCTL_POLICY_H

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "mcxctl.h"
#include "nested.h"

#define OPS_TYPE	MODULE "_ops"
#define OPS_NAME_LEN	16
#define BPFFS		"/sys/fs/bpf"
#define PIN_DIR		BPFFS "/mcx"

/* enum mcx_exit_kind of module/ops.h: kinds from here on are errors. */
#define EXIT_KIND_UNREG	64
#define EXIT_KIND_ERROR	1024

/**
 * struct policy - a policy of an object file
 * @file: the file's name, as given
 * @obj: what libbpf made of it
 * @btf: its types
 * @map: its struct_ops map
 * @type: the type of that, a struct memcg_ext_ops
 * @data: the initial value of that: functions are pointers to programs
 * @link: once it is attached
 * @cgroup: where it is to be attached, or is
 * @id: what the module counts it as; 0 before it was seen in its list
 */
struct policy {
	const char *file;
	struct bpf_object *obj;
	const struct btf *btf;
	struct bpf_map *map;
	const struct btf_type *type;
	void *data;
	struct bpf_link *link;
	char *cgroup;
	uint64_t id;
};

/**
 * struct policy_option - a const volatile global of a policy
 * @name: its name
 * @help: what it is for; may be empty
 * @type: its type, for people
 * @kind: what values it takes
 * @size: of it, in bytes
 * @value: where it is
 */
struct policy_option {
	const char *name;
	const char *help;
	char type[32];
	enum { OPTION_OTHER, OPTION_BOOL, OPTION_SIGNED, OPTION_UNSIGNED,
	       OPTION_STRING } kind;
	size_t size;
	void *value;
};

/**
 * struct policy_request - the command line of load and run
 * @cgroup: -c
 * @name: -n
 * @pin: --pin
 * @sets: each --set
 * @nr_sets: how many
 * @replace: --replace
 * @below: --override or --multi: that flag of the policy, 0 for neither
 * @interval: -i, in seconds
 */
struct policy_request {
	const char *cgroup;
	const char *name;
	const char *pin;
	const char **sets;
	int nr_sets;
	bool replace;
	uint32_t below;
	double interval;
};

/* policy_object.c */
int policy_open(struct policy *p, const char *file);
void policy_close(struct policy *p);
const struct btf_member *policy_member(const struct policy *p,
				       const char *name);
bool member_is_function(const struct policy *p, const struct btf_member *m);
void *member_value(const struct policy *p, const struct btf_member *m);
size_t member_size(const struct policy *p, const struct btf_member *m);
uint64_t policy_number(const struct policy *p, const char *name);
int policy_set_number(struct policy *p, const char *name, uint64_t value);
int policy_set_name(struct policy *p, const char *name);
const char *policy_name(const struct policy *p);
bool policy_has(const struct policy *p, const char *member);

/* policy_option.c */
int option_each(const struct policy *p,
		int (*visit)(const struct policy_option *o, void *arg),
		void *arg);
char *option_text(const struct policy_option *o);
struct json_object *option_json(const struct policy_option *o);
int option_set(const struct policy *p, const char *assignment);

/* policy_log.c */
void policy_log_start(void);
bool policy_log_has(const char *text);
int policy_load_error(const struct policy *p, int error);

/* policy_request.c */
extern struct policy_request request;
int policy_prepare(struct policy *p, const char *file, bool pin);
char *policy_pin_path(const struct policy *p);
int policy_pin_free(const struct policy *p);

/* policy_attach.c */
int policy_load(struct policy *p);
int policy_attach(struct policy *p);
void policy_attached(const struct policy *p);
int policy_attach_error(const struct policy *p, int error);

/* policy_replace.c */
int policy_replace(struct policy *p, const char *path, char **old, char **pin);

/* policy_kernel.c */
int kernel_ready_for_policies(bool pin);
int policy_fit(struct policy *p);

/* policy_exit.c */
struct policy_exit {
	uint32_t kind;
	int64_t code;
	const char *msg;
};

bool policy_exit_read(const struct policy *p, struct policy_exit *e);
bool policy_exit_last(const struct policy *p, struct policy_exit *e,
		      struct keyed *last);
int policy_exit_print(const struct policy_exit *e);

/* policies.c */
int policies_read(struct nested *n);
const struct keyed *policies_find(const struct nested *n, const char *name,
				  uint64_t cgroup);
const struct keyed *policies_on(const struct nested *n, uint64_t cgroup);
char *unescape(const char *text);

/* policy_link.c */

/**
 * struct policy_link - what keeps a policy attached
 * @id: of the BPF link; 0 if it is only known that there is a pin
 * @name: the policy's name; of a link that was detached: the pin's
 * @cgroup: id of its cgroup; 0 is the root
 * @detached: nothing is attached by it any more
 * @pin: where it is pinned; NULL if it is not
 * @pid: a process that holds it; 0 if it is pinned or none was found
 * @comm: name of that process
 */
struct policy_link {
	uint32_t id;
	char *name;
	uint64_t cgroup;
	bool detached;
	char *pin;
	int pid;
	char *comm;
};

struct policy_links {
	struct policy_link *list;
	int nr;
};

void links_read(struct policy_links *l);
void links_free(struct policy_links *l);
const struct policy_link *links_find(const struct policy_links *l,
				     const struct keyed *policy);

/* list.c */
struct json_object *policy_json(const struct keyed *k,
				const struct policy_link *link);

#endif /* MCXCTL_POLICY_H */
