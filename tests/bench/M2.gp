# SPDX-License-Identifier: GPL-2.0-only
# Above: how often the limit was hit; below: writers' bytes a second to stock.
set terminal svg size 900,680 font "sans-serif,12" background "white"
set multiplot
stats "cells.dat" using 2 nooutput
set xrange [-0.8:STATS_records - 0.2]
set style data histograms
set style histogram clustered gap 1
set style fill solid border -1
set boxwidth 0.9
set lmargin at screen 0.11
set rmargin at screen 0.98
set grid ytics
set key top right horizontal
set tmargin at screen 0.94
set bmargin at screen 0.62
set title "M2 on ".kernel.": events at the limit (max, or high at memory.high)"
set logscale y
set yrange [0.5:*]
set ylabel "events (0 is not drawn)"
set format x ""
plot "cells.dat" using 2 title "stock" linecolor rgb "#e69f00", \
	"" using 3 title "built-in" linecolor rgb "#0072b2"
unset logscale y
set yrange [0:*]
set tmargin at screen 0.54
set bmargin at screen 0.28
set title "writers' bytes a second, to stock"
set ylabel "ratio"
set format x "%s"
set xtics rotate by 40 right font "sans-serif,10"
unset key
plot "cells.dat" using 4:xtic(1) linecolor rgb "#0072b2", 1 with lines linecolor rgb "#000000"
