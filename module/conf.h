/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef MCX_CONF_H
#define MCX_CONF_H

#include <linux/seq_file.h>

#include "state.h"

int mcx_conf_parse(struct mcx_conf *conf, char *text);
void mcx_conf_show(struct seq_file *s, const struct mcx_conf *conf);

#endif /* MCX_CONF_H */
