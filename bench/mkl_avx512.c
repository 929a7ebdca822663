/* mkl_avx512.c - preloaded, makes MKL, the library of products that PyTorch brings, take its
 * AVX-512 kernels on processors of other makers than Intel, too. compare.sh measures PyTorch at its
 * strongest with it:
 *   cc -shared -fPIC -o mkl_avx512.so mkl_avx512.c */
int mkl_serv_intel_cpu_true(void);
int mkl_serv_intel_cpu_true(void) { return 1; }
