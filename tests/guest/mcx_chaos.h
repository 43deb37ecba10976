/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ways in which mcx_chaos.bpf.c decides badly.
 */
#ifndef MCX_TEST_CHAOS_H
#define MCX_TEST_CHAOS_H

#define CHAOS_DELAYS	(1 << 0)	/* any delay at all */
#define CHAOS_OVER	(1 << 1)	/* any number of pages above memory.high */
#define CHAOS_CLASSES	(1 << 2)	/* any class for who comes along, and for none */
#define CHAOS_PROTECT	(1 << 3)	/* protects what is to be reclaimed */
#define CHAOS_RECLAIM	(1 << 4)	/* reclaims any amount, at any time */
#define CHAOS_IDLE	(1 << 5)	/* wants the workers to stay away, and does nothing */
#define CHAOS_WISHES	(1 << 6)	/* any limit, any request, and wakes whoever waits */
#define CHAOS_BITS	(1 << 7)	/* any bits where some are defined */
#define CHAOS_ERROR	(1 << 8)	/* gives up */
#define CHAOS_SLOW	(1 << 9)	/* takes a fifth of a second where a page is charged */
#define CHAOS_STALL	(1 << 10)	/* a tick that is not back in time */
#define CHAOS_KINDS	11

#endif
