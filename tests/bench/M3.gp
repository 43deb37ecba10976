# SPDX-License-Identifier: GPL-2.0-only
# The bystander's worst wait of each burst, one point each.
set terminal svg size 900,500 font "sans-serif,12" background "white"
set title measure." on ".kernel.": worst wait for a lock in each burst of 3 s"
set logscale y
set ylabel "ms"
set yrange [0.1:20000]
set xrange [-0.5:3.9]
set xtics ("mmap\\_lock" 0.2, "i\\_rwsem" 1.2, "ext4 directory" 2.2, "kernfs" 3.2)
set grid y
set key outside right
array colour[5] = ["#999999", "#555555", "#e69f00", "#009e73", "#0072b2"]
array name[5] = ["none", "none again", "stock", "built-in", "overrun=8M"]
array file[5] = ["waits0.dat", "waits1.dat", "waits2.dat", "waits3.dat", "waits4.dat"]
# There is none of the last under memory.high.
cells = system("test -s waits4.dat && echo 5 || echo 4") + 0
plot for [i = 1:cells] file[i] using 1:2 with points pointtype 7 pointsize 0.5 \
	linecolor rgb colour[i] title name[i]
