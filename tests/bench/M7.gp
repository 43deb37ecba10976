# SPDX-License-Identifier: GPL-2.0-only
# What a charge batch costs more than without the module, by how many cgroups are
# managed, and by how many levels.
set terminal svg size 900,420 font "sans-serif,12" background "white"
set multiplot layout 1,2 title "M7 on ".kernel.": instructions more, of a charge batch"
set grid
set yrange [0:]
set ylabel "instructions"
set key top left
set style data linespoints
set xlabel "managed cgroups"
set logscale x
plot "many.dat" using 1:2 title "managed" linecolor rgb "#0072b2", \
	"" using 1:3 title "not managed, beside them" linecolor rgb "#d55e00", \
	"" using 1:4 title "none again" linecolor rgb "#909090"
unset logscale x
set xlabel "levels"
plot "deep.dat" using 1:3 title "all managed" linecolor rgb "#0072b2", \
	"" using 1:2 title "the top managed" linecolor rgb "#009e73", \
	"" using 1:4 title "none again" linecolor rgb "#909090"
unset multiplot
