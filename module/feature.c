// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which parts work on the running kernel, and why the others do not.
 *
 * What cannot be found or attached switches off that one part: the kernel's
 * own behaviour remains there. The state is shown in debugfs "features".
 *
 * Locking: written by module init and by the work items that attach
 * hooks, under lock; readers of .state need none.
 */
#include <linux/kernel.h>
#include <linux/printk.h>
#include <linux/spinlock.h>

#include "feature.h"

enum mcx_feature_state { MCX_ON, MCX_DEGRADED, MCX_OFF };

static const char * const state_names[] = {
	[MCX_ON] = "on", [MCX_DEGRADED] = "degraded", [MCX_OFF] = "off",
};

static struct {
	const char *name;
	enum mcx_feature_state state;
	char why[96];
} features[MCX_NR_FEATURES] = {
	[MCX_FEAT_FILES] = { "files" },
	[MCX_FEAT_LIFETIME] = { "lifetime" },
	[MCX_FEAT_ACCOUNT] = { "account" },
	[MCX_FEAT_RECLAIM] = { "reclaim" },
	[MCX_FEAT_THROTTLE] = { "throttle" },
	[MCX_FEAT_NOTIFY] = { "notify" },
	[MCX_FEAT_CPU] = { "cpu" },
	[MCX_FEAT_FLUSH] = { "flush" },
	[MCX_FEAT_GIVEN] = { "given" },
	[MCX_FEAT_THREADS] = { "threads" },
	[MCX_FEAT_OWNER] = { "owner" },
	[MCX_FEAT_OVERRUN] = { "overrun" },
	[MCX_FEAT_KFUNCS] = { "kfuncs" },
	[MCX_FEAT_SLEEP] = { "sleep" },
	[MCX_FEAT_PROTECT] = { "protect" },
	[MCX_FEAT_MEMSW] = { "memsw" },
};

static DEFINE_SPINLOCK(features_lock);

/**
 * mcx_feature_is_on() - does this part work, if only in part
 * @f: the part
 *
 * Context: Any.
 * Return: false if it is off.
 */
bool mcx_feature_is_on(enum mcx_feature f)
{
	return READ_ONCE(features[f].state) != MCX_OFF;
}

static __printf(3, 0)
void mcx_feature_set(enum mcx_feature f, enum mcx_feature_state state,
		     const char *fmt, va_list args)
{
	char why[sizeof(features[f].why)];
	bool news;

	vsnprintf(why, sizeof(why), fmt, args);

	spin_lock(&features_lock);
	news = features[f].state != state;
	WRITE_ONCE(features[f].state, state);
	strscpy(features[f].why, why, sizeof(features[f].why));
	spin_unlock(&features_lock);

	/* Once per change: attaching again and again must not flood the log. */
	if (news)
		pr_warn("%s is %s: %s\n", features[f].name, state_names[state],
			why);
}

/**
 * mcx_feature_off() - this part does not work here
 * @f: the part
 * @fmt: why, as a sentence for whoever reads "features"
 *
 * Context: Process.
 */
void mcx_feature_off(enum mcx_feature f, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	mcx_feature_set(f, MCX_OFF, fmt, args);
	va_end(args);
}

/**
 * mcx_feature_degraded() - this part works, but not as well as it could
 * @f: the part
 * @fmt: why, as a sentence for whoever reads "features"
 *
 * Context: Process.
 */
void mcx_feature_degraded(enum mcx_feature f, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	mcx_feature_set(f, MCX_DEGRADED, fmt, args);
	va_end(args);
}

/**
 * mcx_feature_on() - this part works in full (again)
 * @f: the part
 *
 * Context: Process.
 */
void mcx_feature_on(enum mcx_feature f)
{
	spin_lock(&features_lock);
	WRITE_ONCE(features[f].state, MCX_ON);
	features[f].why[0] = '\0';
	spin_unlock(&features_lock);
}

/**
 * mcx_features_show() - print all parts, flat keyed
 * @s: where to
 *
 * Context: Process.
 */
void mcx_features_show(struct seq_file *s)
{
	int i;

	spin_lock(&features_lock);
	for (i = 0; i < MCX_NR_FEATURES; i++)
		seq_printf(s, "%s %s%s%s\n", features[i].name,
			   state_names[features[i].state],
			   features[i].why[0] ? " " : "", features[i].why);
	spin_unlock(&features_lock);
}
