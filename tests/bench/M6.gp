# SPDX-License-Identifier: GPL-2.0-only
# What each operation costs more than without the module.
set terminal svg size 900,520 font "sans-serif,12" background "white"
set title "M6 on ".kernel.": instructions more, in percent of the operation"
set style data histograms
set style histogram clustered gap 1
set style fill solid border -1
set boxwidth 0.9
set grid ytics
set ylabel "%"
set lmargin at screen 0.14
set xtics rotate by 20 right
set key top left
array name[5] = ["none again", "idle", "built-in, managed", "no-op policy", "disabled again"]
array colour[5] = ["#909090", "#f0e442", "#0072b2", "#d55e00", "#009e73"]
plot for [i = 1:5] "ops.dat" using (column(i + 1)):xtic(1) \
	title name[i] linecolor rgb colour[i]
