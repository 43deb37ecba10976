/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mcxctl: what the files of the tool share
 *
 * Paths are logical everywhere ("/sys/fs/cgroup/a"): only root.c knows about
 * MCXCTL_ROOT. A function that can fail leaves a sentence with err_set() and
 * returns -1; the command decides how it is shown.
 */
#ifndef MCXCTL_H
#define MCXCTL_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <json-c/json.h>

#define MODULE			"memcg_ext"
#define MIN_MAJOR		6
#define MIN_MINOR		12

#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#define __printf(fmt, args)	__attribute__((format(printf, fmt, args)))
#define __unused		__attribute__((unused))
#define __autofree		__attribute__((cleanup(free_string)))

/* Exit statuses, bpftool's manners. */
enum { EXIT_OK, EXIT_FAILED, EXIT_USAGE };

/* What completion offers for the operands of a command. */
enum operand {
	OPERAND_NONE,
	OPERAND_CGROUP,
	OPERAND_COMMAND,
	OPERAND_FILE,		/* an object file */
	OPERAND_POLICY,		/* the name of an attached policy */
	OPERAND_EITHER,		/* one or the other */
};

/**
 * struct command - one line of the command table
 * @name: word on the command line
 * @operands: synopsis of the operands, for help
 * @summary: one line for `mcxctl help`
 * @doc: text of `mcxctl help COMMAND`
 * @options: options of its own, besides the common ones; may be NULL
 * @parse: handles @options; may be NULL
 * @run: does it, returns an exit status
 * @min: least number of operands
 * @max: largest number of operands, -1 for any
 * @operand: what completion offers
 * @hidden: works, but is listed nowhere
 */
struct command {
	const char *name;
	const char *operands;
	const char *summary;
	const char *doc;
	const struct argp_option *options;
	error_t (*parse)(int key, char *arg, struct argp_state *state);
	int (*run)(int argc, char **argv);
	int min;
	int max;
	enum operand operand;
	bool hidden;
};

/* The common options, as given before or after the command. */
struct options {
	bool json;
	bool quiet;
	bool verbose;
};

extern struct options opts;
extern const struct command commands[];
extern const size_t nr_commands;
extern const struct argp_option common_options[];

/* main.c */
const struct command *command_find(const char *name);
int command_run(const struct command *cmd, int argc, char **argv);
void print_version(FILE *to);

/* help.c */
void print_commands(FILE *to);
int cmd_help(int argc, char **argv);
int cmd_version(int argc, char **argv);
int cmd_completion(int argc, char **argv);

/* One file per command, by its name; disable is in enable.c. */
extern const struct argp_option enable_options[];
extern const struct argp_option disable_options[];
error_t enable_parse(int key, char *arg, struct argp_state *state);
int cmd_enable(int argc, char **argv);
int cmd_disable(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_features(int argc, char **argv);
extern const struct argp_option events_options[];
error_t events_parse(int key, char *arg, struct argp_state *state);
int cmd_events(int argc, char **argv);
int cmd_set(int argc, char **argv);
int cmd_dump(int argc, char **argv);
extern const struct argp_option load_options[];
extern const struct argp_option run_options[];
extern const struct argp_option unload_options[];
error_t request_parse(int key, char *arg, struct argp_state *state);
error_t unload_parse(int key, char *arg, struct argp_state *state);
int cmd_load(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_unload(int argc, char **argv);
int cmd_list(int argc, char **argv);
int cmd_show(int argc, char **argv);

/* output.c */
int err_set(const char *fmt, ...) __printf(1, 2);
const char *err_text(void);
int err_report(const char *subject);
int err_usage(const char *fmt, ...) __printf(1, 2);
void warn(const char *fmt, ...) __printf(1, 2);
void note(const char *fmt, ...) __printf(1, 2);
void detail(const char *fmt, ...) __printf(1, 2);
void out_command(const char *name);
void out_json(struct json_object *obj);
void out_json_line(struct json_object *obj);
struct json_object *json_value(const char *text);
int out_finish(int status);

/* text.c */
char *text_clean(const char *text, const char *keep);
char *json_clean(const char *json);

/* root.c */
void free_string(char **s);
void *new_array(size_t nr, size_t size);
void *grow_array(void *p, size_t nr, size_t size);
char *fmt_string(const char *fmt, ...) __printf(1, 2);
char *root_path(const char *path);
bool root_exists(const char *path);
bool root_is_dir(const char *path);
unsigned int root_mode(const char *path);
uint64_t root_inode(const char *path);
int root_open(const char *path);
char *root_read_fd(int fd);
char *root_read(const char *path);
int root_write(const char *path, const char *text);
int root_subdirs(const char *path, char ***names);
int root_files(const char *path, char ***names);
void root_names_free(char **names, int n);
char *mount_of_type(const char *fstype);
bool mounted_at(const char *dir, const char *fstype);

/* keyed.c */
struct keyed_pair {
	const char *key;
	const char *value;
};

struct keyed {
	char *text;
	struct keyed_pair *pairs;
	size_t nr;
};

void keyed_parse(struct keyed *k, char *text);
int keyed_read(struct keyed *k, const char *path);
void keyed_free(struct keyed *k);
const char *keyed_get(const struct keyed *k, const char *key);
bool keyed_number(const struct keyed *k, const char *key, uint64_t *value);
bool keyed_is(const struct keyed *k, const char *key, uint64_t value);
struct json_object *keyed_json(const struct keyed *k);

/* kernel.c */
char *kernel_release(void);
bool kernel_supported(const char *release);
bool module_loaded(void);
char *module_file(const char *release);
int module_explain(void);
char *module_install_command(const char *release);
bool has_capability(unsigned int bit);
bool in_first_userns(void);

/* signals.c */
int stop_fd(void);
bool stop_wait(int fd, double seconds);

/* cgroup.c */
const char *cgroup_mount(void);
char *cgroup_resolve(const char *arg);
char *cgroup_file(const char *cgroup, const char *file);
char *cgroup_shown(const char *cgroup);
char *cgroup_parent(const char *cgroup);
bool cgroup_has_word(const char *cgroup, const char *file, const char *word);
char *cgroup_memory_command(const char *cgroup);
int cgroup_explain(const char *cgroup);
int cgroup_explain_policy(const char *cgroup);
char *cgroup_by_id(uint64_t id);
bool cgroup_any_managed(const char *top);
int cgroup_io_error(const char *cgroup, int error);
int cgroup_stat(const char *cgroup, struct keyed *k);
int cgroup_walk(const char *top, int (*visit)(const char *cgroup, void *arg),
		void *arg);

#endif /* MCXCTL_H */
