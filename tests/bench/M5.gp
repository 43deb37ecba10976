# SPDX-License-Identifier: GPL-2.0-only
# What each of the two does, in parts of what it does alone.
set terminal svg size 900,480 font "sans-serif,12" background "white"
set title "M5 on ".kernel.": work done, to that alone"
stats "cells.dat" using 2 nooutput
set xrange [-0.8:STATS_records - 0.2]
set yrange [0:*]
set style data histograms
set style histogram clustered gap 1
set style fill solid border -1
set boxwidth 0.9
set bmargin at screen 0.3
set grid ytics
set key top right horizontal
set xtics rotate by 30 right font "sans-serif,11"
plot "cells.dat" using 2:xtic(1) title "high" linecolor rgb "#0072b2", \
	"" using 3 title "low" linecolor rgb "#e69f00", \
	1 with lines linecolor rgb "#000000" notitle
