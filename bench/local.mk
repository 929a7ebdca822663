# bench/ - speed and memory. make bench BENCH_THREADS=2 measures with two threads.
BENCH_THREADS = 1
BENCH_SECONDS = 10
bench: all
	@GLOW='$(abs_builddir)/host/glow' $(SH_LOG_COMPILER) $(srcdir)/bench/run.sh \
	  $(BENCH_THREADS) $(BENCH_SECONDS)
EXTRA_DIST += %D%/run.sh
