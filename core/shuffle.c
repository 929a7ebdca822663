/* shuffle.c - the Feistel network of shuffle.h. A round adds a hash of one coordinate to the other:
 * whatever the hash, that can be undone, so the network is a permutation of the grid. */
#include "shuffle.h"

#include <math.h>
#include "philox.h"

struct shuffle shuffle_make(int64_t n, uint64_t seed, int64_t epoch)
{
    struct shuffle s = { .n = (uint64_t)n };
    s.rows = (uint64_t)sqrt((double)n);
    while (s.rows * s.rows < s.n) s.rows++; /* the root was rounded down */
    s.columns = (s.n + s.rows - 1) / s.rows;
    uint64_t key = hash_mix(hash_mix(seed) ^ (uint64_t)epoch);
    for (int i = 0; i < SHUFFLE_ROUNDS; i++) s.key[i] = hash_mix(key + (uint64_t)i);
    s.swap = n > 1 ? hash_mix(key + SHUFFLE_ROUNDS) & 1 : 0;
    return s;
}

/* (a + a random number that key and b decide) mod n; n < 2^32. */
static uint64_t add_hash(uint64_t a, uint64_t b, uint64_t key, uint64_t n)
{
    uint64_t sum = a + ((hash_mix(key ^ b) >> 32) * n >> 32);
    return sum < n ? sum : sum - n;
}

int64_t shuffle_at(const struct shuffle *s, int64_t i)
{
    uint64_t at = (uint64_t)i;
    do {
        uint64_t row = at / s->columns, column = at % s->columns;
        for (int round = 0; round < SHUFFLE_ROUNDS; round += 2) {
            row = add_hash(row, column, s->key[round], s->rows);
            column = add_hash(column, row, s->key[round + 1], s->columns);
        }
        at = row * s->columns + column;
    } while (at >= s->n);
    /* A grid with odd sides has even permutations only: exchanging 0 and 1 makes odd ones as
     * likely. */
    return (int64_t)(at < 2 ? at ^ s->swap : at);
}
