# SPDX-License-Identifier: GPL-2.0-only
# How often the paced thread waited longer than so long; one curve per cell.
set terminal svg size 900,520 font "sans-serif,12" background "white"
set title measure." on ".kernel.": waits for 64 new pages"
set logscale xy
set xlabel "longer than ... ms"
set ylabel "part of the samples"
set format y "10^{%T}"
set xtics (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
set grid
set key outside right
# The anonymous form has one more.
cells = measure eq "M1-anon" ? 7 : 6
array colour[7] = ["#000000", "#909090", "#e69f00", "#d55e00", "#56b4e9", "#0072b2", "#009e73"]
plot for [i = 0:(cells - 1)] "ccdf.dat" index i using 1:2 with lines linewidth 2 \
	linecolor rgb colour[i + 1] title columnheader(1)
