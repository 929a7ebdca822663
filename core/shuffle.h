/* shuffle.h - a random permutation of 0..n-1 that is never stored: where row i goes is a pure
 * function of (n, seed, epoch, i). A Feistel network over a grid of about sqrt(n) x sqrt(n) cells
 * permutes the grid; a number outside 0..n-1 is sent on until it falls inside ("cycle walking").
 * Source: Black & Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002. */
#ifndef CORE_SHUFFLE_H
#define CORE_SHUFFLE_H
#include <stdint.h>

enum { SHUFFLE_ROUNDS = 16 };
struct shuffle {
    uint64_t n, rows, columns; /* rows * columns >= n, by less than one column */
    uint64_t key[SHUFFLE_ROUNDS], swap;
};
/* The permutation of an epoch; n >= 1. */
struct shuffle shuffle_make(int64_t n, uint64_t seed, int64_t epoch);
/* Its i-th number, 0 <= i < n. */
int64_t shuffle_at(const struct shuffle *, int64_t i);
#endif
