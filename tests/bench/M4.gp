# SPDX-License-Identifier: GPL-2.0-only
# What the task had, from when it passed memory.high on; a line that ends early
# is a task that was killed. Above 0.8, in the middle 0.9, below with 512 MiB.
set terminal svg size 900,900 font "sans-serif,12" background "white"
set multiplot layout 3,1 title "M4 on ".kernel.": memory touched by a task that asks for 10 MiB/s"
set xrange [-1:62]
set grid
set key outside right
set ylabel "MiB"
array colour[4] = ["#e69f00", "#009e73", "#0072b2", "#d55e00"]
array big[3] = ["#e69f00", "#0072b2", "#d55e00"]
do for [part = 0:1] {
	plot for [i = 0:3] "usage.dat" index 2 * i + part using 1:2 with lines \
		linewidth 2 linecolor rgb colour[i + 1] title columnheader(1)
}
set xlabel "seconds"
plot for [i = 0:5] "usage.dat" index 8 + i using 1:2 with lines \
	linewidth 2 dashtype i % 2 + 1 \
	linecolor rgb big[i / 2 + 1] title columnheader(1)
