/* The multiply-add rate of this machine, measured: what convolutions could reach at most. */
#ifndef DUKD_FMA_PEAK_H
#define DUKD_FMA_PEAK_H

/* Multiply-adds a second, all `threads` together, in f32 with the widest vectors that the program was compiled for and the processor
 * has. bf16 1: products of bf16 pairs added in f32; 0 where the processor has no such instruction. */
double dukd_fma_peak(int threads, int bf16);

#endif
