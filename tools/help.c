// SPDX-License-Identifier: GPL-2.0-only
/*
 * mcxctl help, version, completion: the tool about itself
 */
#include <stdlib.h>
#include <string.h>

#include "mcxctl.h"

/**
 * print_commands - list the commands
 * @to: where
 */
void print_commands(FILE *to)
{
	const struct argp_option *o;
	size_t i;

	fputs("Usage: mcxctl [OPTION...] COMMAND [ARG...]\n"
	      "Turns memcg_ext on and off for cgroups, attaches policies to them, and shows\nwhat happens there.\n\n"
	      "Commands:\n", to);
	for (i = 0; i < nr_commands; i++) {
		if (!commands[i].hidden)
			fprintf(to, "  %-10s %s\n", commands[i].name,
				commands[i].summary);
	}
	fputs("\nCommon options, before or after the command:\n", to);
	for (o = common_options; o->name; o++) {
		/* Options without a letter have keys past ASCII. */
		if (o->key < 0x80)
			fprintf(to, "  -%c, --%-10s %s\n", o->key, o->name,
				o->doc);
		else
			fprintf(to, "      --%-10s %s\n", o->name, o->doc);
	}
	fputs("\nmcxctl help COMMAND explains a command; see also mcxctl(8).\n",
	      to);
}

static struct json_object *options_json(const struct argp_option *o)
{
	struct json_object *list = json_object_new_array();

	for (; o && o->name; o++)
		json_object_array_add(list, json_object_new_string(o->name));
	return list;
}

static struct json_object *command_json(const struct command *cmd)
{
	struct json_object *obj = json_object_new_object();

	json_object_object_add(obj, "command",
			       json_object_new_string(cmd->name));
	json_object_object_add(obj, "operands",
			       json_object_new_string(cmd->operands));
	json_object_object_add(obj, "summary",
			       json_object_new_string(cmd->summary));
	json_object_object_add(obj, "options", options_json(cmd->options));
	return obj;
}

static void print_commands_json(void)
{
	struct json_object *list = json_object_new_array();
	size_t i;

	for (i = 0; i < nr_commands; i++) {
		if (!commands[i].hidden)
			json_object_array_add(list,
					      command_json(&commands[i]));
	}
	out_json(list);
}

/**
 * cmd_help - mcxctl help
 * @argc: number of operands
 * @argv: a command; optional
 *
 * Return: exit status.
 */
int cmd_help(int argc, char **argv)
{
	char option[] = "--help";
	char *words[3] = {};
	const struct command *cmd;

	if (!argc && opts.json) {
		print_commands_json();
		return EXIT_OK;
	}
	if (!argc) {
		print_commands(stdout);
		return EXIT_OK;
	}
	cmd = command_find(argv[0]);
	if (!cmd)
		return err_usage("unknown command '%s'", argv[0]);
	if (opts.json) {
		out_json(command_json(cmd));
		return EXIT_OK;
	}
	words[1] = option;
	return command_run(cmd, 2, words);
}

/**
 * cmd_version - mcxctl version
 * @argc: number of operands, 0
 * @argv: none
 *
 * Return: exit status.
 */
int cmd_version(int argc __unused, char **argv __unused)
{
	__autofree char *module = root_read("/sys/module/" MODULE "/version");
	const char *none = module_loaded() ? "unknown" : "not loaded";
	struct json_object *obj;

	if (module)
		module[strcspn(module, "\n")] = '\0';
	if (!opts.json) {
		print_version(stdout);
		printf("module " MODULE " %s\n", module ?: none);
		return EXIT_OK;
	}
	obj = json_object_new_object();
	json_object_object_add(obj, "mcxctl",
			       json_object_new_string(MCXCTL_VERSION));
	json_object_object_add(obj, "module",
			       module ? json_object_new_string(module) : NULL);
	out_json(obj);
	return EXIT_OK;
}

static void print_option_words(const struct argp_option *o)
{
	for (; o && o->name; o++)
		printf(" --%s", o->name);
}

static void print_command_words(void)
{
	size_t i;

	for (i = 0; i < nr_commands; i++) {
		if (!commands[i].hidden)
			printf("%s%s", i ? " " : "", commands[i].name);
	}
}

static void print_command_case(const struct command *cmd)
{
	static const char * const operand[] = {
		[OPERAND_NONE] = "",
		[OPERAND_CGROUP] = "cgroup",
		[OPERAND_COMMAND] = "command",
		[OPERAND_FILE] = "file",
		[OPERAND_POLICY] = "policy",
		[OPERAND_EITHER] = "file policy",
	};

	printf("\t%s)\n\t\topts=\"$common", cmd->name);
	print_option_words(cmd->options);
	printf("\"\n\t\toperand='%s'\n\t\t;;\n", operand[cmd->operand]);
}

static const char completion_head[] =
"# shellcheck shell=bash\n"
"#\n"
"# Completion of mcxctl for bash. Made by mcxctl itself from its command\n"
"# table: edit tools/main.c, not this file.\n"
"\n"
"# Cgroups by their path below the mount of cgroup2, one level at a time.\n"
"_mcxctl_cgroups() {\n"
"\tlocal dev mnt type rest path top=''\n"
"\n"
"\twhile read -r dev mnt type rest; do\n"
"\t\t[ \"$type\" = cgroup2 ] && break\n"
"\tdone < /proc/self/mounts\n"
"\t[ \"$type\" = cgroup2 ] || return\n"
"\t: \"$dev$rest\"\n"
"\tcase \"$1\" in\n"
"\t\"$mnt\"/*) top=$mnt/ ;;\n"
"\tesac\n"
"\tfor path in \"$mnt/${1#\"$top\"}\"*/; do\n"
"\t\t[ -d \"$path\" ] || continue\n"
"\t\tprintf '%s\\n' \"$top${path#\"$mnt/\"}\"\n"
"\tdone\n"
"}\n"
"\n"
"# Folders, object files of policies, and the names of those installed.\n"
"_mcxctl_files() {\n"
"\tlocal path lib\n"
"\n"
"\tfor path in \"$1\"*/ \"$1\"*.bpf.o; do\n"
"\t\t[ -e \"$path\" ] && printf '%s\\n' \"$path\"\n"
"\tdone\n"
"\tlib=$(type -P mcxctl)\n"
"\tlib=${lib%/*/mcxctl}/lib/" MODULE "\n"
"\tfor path in \"$lib/$1\"*.bpf.o; do\n"
"\t\t[ -e \"$path\" ] && printf '%s\\n' \"${path#\"$lib/\"}\"\n"
"\tdone\n"
"}\n"
"\n"
"# Attached policies; none, without a message, for who may not know.\n"
"_mcxctl_policies() {\n"
"\tcompgen -W \"$(mcxctl list -q 2>/dev/null)\" -- \"$1\"\n"
"}\n"
"\n"
"_mcxctl() {\n"
"\tlocal cur=${COMP_WORDS[COMP_CWORD]} word cmd='' opts operand i\n";

static const char completion_tail[] =
"\tesac\n"
"\tCOMPREPLY=()\n"
"\tcase \"$cur\" in\n"
"\t-*)\n"
"\t\tmapfile -t COMPREPLY < <(compgen -W \"$opts\" -- \"$cur\")\n"
"\t\treturn\n"
"\t\t;;\n"
"\tesac\n"
"\tcase \"${COMP_WORDS[COMP_CWORD - 1]}\" in\n"
"\t-c|--cgroup) operand=cgroup ;;\n"
"\tesac\n"
"\tcase \"$operand\" in\n"
"\tcommand)\n"
"\t\tmapfile -t COMPREPLY < <(compgen -W \"$commands\" -- \"$cur\")\n"
"\t\t;;\n"
"\tfile*)\n"
"\t\tcompopt -o nospace -o filenames 2>/dev/null\n"
"\t\tmapfile -t COMPREPLY < <(_mcxctl_files \"$cur\")\n"
"\t\t;;\n"
"\tcgroup)\n"
"\t\tcompopt -o nospace 2>/dev/null\n"
"\t\tmapfile -t COMPREPLY < <(_mcxctl_cgroups \"$cur\")\n"
"\t\t;;\n"
"\tesac\n"
"\tcase \"$operand\" in\n"
"\t*policy)\n"
"\t\tmapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(_mcxctl_policies \"$cur\")\n"
"\t\t;;\n"
"\tesac\n"
"}\n"
"\n"
"complete -F _mcxctl mcxctl\n";

/**
 * cmd_completion - print the completion for bash
 * @argc: number of operands, 0
 * @argv: none
 *
 * Return: exit status.
 */
int cmd_completion(int argc __unused, char **argv __unused)
{
	size_t i;

	printf("# %s: GPL-2.0-only\n", "SPDX-License-Identifier");
	fputs(completion_head, stdout);
	fputs("\tlocal commands=\"", stdout);
	print_command_words();
	fputs("\"\n\tlocal common=\"", stdout);
	print_option_words(common_options);
	fputs("\"\n\n"
	      "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	      "\t\tword=${COMP_WORDS[i]}\n"
	      "\t\tcase \"$word\" in\n"
	      "\t\t-*) ;;\n"
	      "\t\t*) cmd=$word; break ;;\n"
	      "\t\tesac\n"
	      "\tdone\n"
	      "\topts=$common operand=''\n"
	      "\tcase \"$cmd\" in\n"
	      "\t'')\n\t\toperand='command'\n\t\t;;\n", stdout);
	for (i = 0; i < nr_commands; i++) {
		if (!commands[i].hidden)
			print_command_case(&commands[i]);
	}
	fputs(completion_tail, stdout);
	return EXIT_OK;
}
