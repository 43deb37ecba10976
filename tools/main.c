// SPDX-License-Identifier: GPL-2.0-only
/*
 * mcxctl: turns memcg_ext on and off for cgroups, attaches policies to them, and
 * shows what happens there
 *
 * The command table is the one place that knows all commands: help, the
 * completion and the tests are made from it.
 */
#include <stdlib.h>
#include <string.h>

#include "mcxctl.h"

enum { OPT_USAGE = 0x100 };

struct options opts;

const struct command commands[] = {
	{ "enable", "CGROUP...", "Put cgroups under management",
	  "Puts the memory limits of each CGROUP under the management of memcg_ext, and waits until that is in effect.",
	  enable_options, enable_parse, cmd_enable, 1, -1, OPERAND_CGROUP,
	  false },
	{ "disable", "CGROUP...", "End the management of cgroups",
	  "Ends the management of each CGROUP. One that is below a cgroup enabled with --subtree stays managed.",
	  disable_options, enable_parse, cmd_disable, 1, -1, OPERAND_CGROUP,
	  false },
	{ "stat", "[CGROUP [INTERVAL [COUNT]]]", "Show the counters",
	  "Lists the managed cgroups; or shows every counter of CGROUP; or how they grew in each INTERVAL seconds, COUNT times.",
	  NULL, NULL, cmd_stat, 0, 3, OPERAND_CGROUP, false },
	{ "events", "[CGROUP]", "Show events, as they happen if asked",
	  "Shows the counters of memory.ext.events of CGROUP, or of all managed cgroups.",
	  events_options, events_parse, cmd_events, 0, 1, OPERAND_CGROUP,
	  false },
	{ "set", "CGROUP KEY=VALUE...", "Write the settings of a cgroup",
	  "Writes VALUE to the file memory.ext.KEY of CGROUP, or to a key of such a file if KEY is FILE.KEY.",
	  NULL, NULL, cmd_set, 2, -1, OPERAND_CGROUP, false },
	{ "load", "FILE.bpf.o", "Attach a policy that stays",
	  "Loads the policy in FILE.bpf.o, attaches it to a cgroup and all below, and pins it, so that it stays until unload.",
	  load_options, request_parse, cmd_load, 1, 1, OPERAND_FILE, false },
	{ "run", "FILE.bpf.o", "Attach a policy until ctrl-c",
	  "Loads the policy in FILE.bpf.o, attaches it to a cgroup and all below, and shows what it does, until ctrl-c or until it ends by itself.",
	  run_options, request_parse, cmd_run, 1, 1, OPERAND_FILE, false },
	{ "unload", "[NAME...]", "Detach policies",
	  "Detaches the policies NAME, however they were loaded.",
	  unload_options, unload_parse, cmd_unload, 0, -1, OPERAND_POLICY,
	  false },
	{ "list", "", "List the attached policies",
	  "Lists the attached policies, their cgroups, and the pins or processes that keep them attached. With -q names only.",
	  NULL, NULL, cmd_list, 0, 0, OPERAND_NONE, false },
	{ "show", "FILE.bpf.o|NAME", "Show a policy and its options",
	  "Shows what the policy in FILE.bpf.o implements and which options it has; or what the module tells of the attached policy NAME.",
	  NULL, NULL, cmd_show, 1, 1, OPERAND_EITHER, false },
	{ "doctor", "[CGROUP]", "Check everything that can be wrong",
	  "Checks kernel, module, machine and CGROUP, and names the command that fixes what is wrong.",
	  NULL, NULL, cmd_doctor, 0, 1, OPERAND_CGROUP, false },
	{ "features", "", "Show what works on this kernel",
	  "Shows which features of the module are on, and why others are not.",
	  NULL, NULL, cmd_features, 0, 0, OPERAND_NONE, false },
	{ "dump", "", "Print all that a bug report needs",
	  "Prints what tool, module and kernel tell about themselves.",
	  NULL, NULL, cmd_dump, 0, 0, OPERAND_NONE, false },
	{ "version", "", "Show the versions of tool and module",
	  "Shows the version of mcxctl and of the loaded module.",
	  NULL, NULL, cmd_version, 0, 0, OPERAND_NONE, false },
	{ "help", "[COMMAND]", "Show help",
	  "Lists the commands, or explains COMMAND.",
	  NULL, NULL, cmd_help, 0, 1, OPERAND_COMMAND, false },
	{ "completion", "", "Print the completion for bash",
	  "Prints the completion for bash.",
	  NULL, NULL, cmd_completion, 0, 0, OPERAND_NONE, true },
};

const size_t nr_commands = ARRAY_SIZE(commands);

const struct argp_option common_options[] = {
	{ "json", 'j', NULL, 0, "Print JSON, errors included", -1 },
	{ "quiet", 'q', NULL, 0, "Say less", -1 },
	{ "verbose", 'v', NULL, 0, "Say what is being done", -1 },
	{ "help", 'h', NULL, 0, "Give this help list", -1 },
	{ "usage", OPT_USAGE, NULL, 0, "Give a short usage message", -1 },
	{ "version", 'V', NULL, 0, "Print program version", -1 },
	{}
};

/**
 * command_find - look a command up
 * @name: its name, in full
 *
 * Return: the command, or NULL.
 */
const struct command *command_find(const char *name)
{
	size_t i;

	for (i = 0; i < nr_commands; i++) {
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	}
	return NULL;
}

/**
 * print_version - print the version of the tool
 * @to: where
 */
void print_version(FILE *to)
{
	fprintf(to, "mcxctl %s\n", MCXCTL_VERSION);
}

static error_t parse_common(int key, char *arg __unused,
			    struct argp_state *state)
{
	switch (key) {
	case 'j':
		opts.json = true;
		return 0;
	case 'q':
		opts.quiet = true;
		return 0;
	case 'v':
		opts.verbose = true;
		return 0;
	case 'h':
		argp_state_help(state, stdout, ARGP_HELP_STD_HELP);
		return 0;
	case OPT_USAGE:
		argp_state_help(state, stdout,
				ARGP_HELP_USAGE | ARGP_HELP_EXIT_OK);
		return 0;
	case 'V':
		print_version(stdout);
		exit(out_finish(EXIT_OK));
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp common = {
	.options = common_options,
	.parser = parse_common,
};

static const struct argp_child with_common[] = {
	{ &common, 0, "Common options:", -1 },
	{}
};

/* Operands are left to us, not to the command: its parser has options only. */
struct operands {
	const struct command *cmd;
	char **argv;
	int argc;
};

static error_t parse_command(int key, char *arg, struct argp_state *state)
{
	struct operands *ops = state->input;

	if (key == ARGP_KEY_ARGS) {
		ops->argv = state->argv + state->next;
		ops->argc = state->argc - state->next;
		return 0;
	}
	return ops->cmd->parse ? ops->cmd->parse(key, arg, state) :
				 ARGP_ERR_UNKNOWN;
}

static int check_operands(const struct operands *ops)
{
	const struct command *cmd = ops->cmd;

	if (ops->argc < cmd->min)
		return err_usage("missing operand: %s", cmd->operands);
	if (cmd->max >= 0 && ops->argc > cmd->max)
		return err_usage("unexpected operand '%s'",
				 ops->argv[cmd->max]);
	return EXIT_OK;
}

/**
 * command_run - parse the rest of the command line and do it
 * @cmd: the command
 * @argc: number of words, the command's name included
 * @argv: the words
 *
 * Return: exit status.
 */
int command_run(const struct command *cmd, int argc, char **argv)
{
	__autofree char *name = fmt_string("mcxctl %s", cmd->name);
	struct operands ops = { .cmd = cmd };
	const struct argp argp = {
		.options = cmd->options,
		.parser = parse_command,
		.args_doc = cmd->operands,
		.doc = cmd->doc,
		.children = with_common,
	};

	out_command(cmd->name);
	argv[0] = name;
	if (argp_parse(&argp, argc, argv, ARGP_NO_HELP, NULL, &ops))
		return EXIT_USAGE;
	return check_operands(&ops) ?: cmd->run(ops.argc, ops.argv);
}

/* The first operand is the command: what follows is for its own parser. */
static error_t parse_main(int key, char *arg __unused,
			  struct argp_state *state)
{
	int *command = state->input;

	switch (key) {
	case 'h':
		print_commands(stdout);
		exit(out_finish(EXIT_OK));
	case ARGP_KEY_ARG:
		*command = state->next - 1;
		state->next = state->argc;
		return 0;
	default:
		return parse_common(key, arg, state);
	}
}

static const struct argp main_argp = {
	.options = common_options,
	.parser = parse_main,
	.args_doc = "COMMAND [ARG...]",
};

int main(int argc, char **argv)
{
	char name[] = "mcxctl";
	const struct command *cmd;
	int at = 0;

	argp_err_exit_status = EXIT_USAGE;
	argv[0] = name;
	if (argp_parse(&main_argp, argc, argv, ARGP_NO_HELP | ARGP_IN_ORDER,
		       NULL, &at))
		return EXIT_USAGE;
	if (!at)
		return err_usage("missing command");
	cmd = command_find(argv[at]);
	if (!cmd)
		return err_usage("unknown command '%s'", argv[at]);
	return out_finish(command_run(cmd, argc - at, argv + at));
}
