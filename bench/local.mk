# bench/ - speed and memory. make bench BENCH_THREADS=2 measures with two threads.
BENCH_THREADS = 1
BENCH_SECONDS = 10
EXTRA_PROGRAMS += %D%/fusion %D%/kernels
bench: all %D%/fusion$(EXEEXT) %D%/kernels$(EXEEXT) %D%/crease.so
	@%D%/kernels $(BENCH_THREADS)
	@GLOW_PLUGIN_PATH='$(TESTS_PLUGINS)/priors/.libs' %D%/fusion %D%/crease.so $(BENCH_THREADS)
	@GLOW='$(abs_builddir)/host/glow' $(SH_LOG_COMPILER) $(srcdir)/bench/run.sh \
	  $(BENCH_THREADS) $(BENCH_SECONDS)
%D%/crease.so: $(srcdir)/tests/plugins/crease.c
	$(AM_V_CC)$(CC) -std=gnu11 -shared -fPIC -I'$(srcdir)/core/include' \
	  '$(srcdir)/tests/plugins/crease.c' -o $@
CLEANFILES += %D%/crease.so %D%/fusion$(EXEEXT) %D%/kernels$(EXEEXT)
EXTRA_DIST += %D%/run.sh

# Ours beside PyTorch, memory by depth: run by hand, in the build directory.
EXTRA_DIST += %D%/compare.py %D%/compare.sh %D%/depth.sh %D%/mkl_avx512.c %D%/peer.py %D%/report.py \
	%D%/gpu_compare.py %D%/gpu_model.py %D%/gpu_peer.py %D%/gpu_verify.py
