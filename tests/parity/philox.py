"""philox.py - the random numbers of the engine, as docs/witness.md promises them: Philox4x32-10 (Salmon
et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), whose key says which slot of which
instance asks, and whose counter says which block of which row of which step."""
import numpy as np

WORD = 0xFFFFFFFF
MASK = 0xFFFFFFFFFFFFFFFF


def fnv(text):
    """FNV-1a of 64 bits."""
    h = 1469598103934665603
    for byte in text.encode():
        h = (h ^ byte) * 1099511628211 & MASK
    return h


def mix(z):
    """The finaliser of splitmix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    z = z + 0x9E3779B97F4A7C15 & MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


def philox(counter, key):
    """Four arrays of 32-bit words, in uint64, to four others; key is one number of 64 bits."""
    a, b, c, d = (np.asarray(word, np.uint64) for word in counter)
    k0, k1 = key & WORD, key >> 32
    word, half = np.uint64(WORD), np.uint64(32)
    for _ in range(10):
        p, q = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, b, c, d = q >> half ^ b ^ np.uint64(k0), q & word, p >> half ^ d ^ np.uint64(k1), p & word
        k0, k1 = k0 + 0x9E3779B9 & WORD, k1 + 0xBB67AE85 & WORD
    return a, b, c, d


def unit(word):
    """[0,1) with 24 bits."""
    return (word >> np.uint64(8)) * 2.0 ** -24


def slot_uniform(seed, path, slot, rows, shape, step=0):
    """What a slot that an instance asks for once per forward pass holds, (len(rows), *shape): element e
    of a row is word e % 4 of block e // 4."""
    key = seed ^ mix(fnv(path) ^ mix(fnv(slot)))
    count = int(np.prod(shape))
    blocks = np.arange((count + 3) // 4, dtype=np.uint64)
    counter = (blocks[None], np.asarray(rows, np.uint64)[:, None] + 0 * blocks[None],
               np.uint64(step & WORD), np.uint64(step >> 32))
    u = np.stack(np.broadcast_arrays(*(unit(w) for w in philox(counter, key))), -1)
    return u.reshape(len(rows), -1)[:, :count].reshape(len(rows), *shape)


def host_uniform(seed, stream):
    """The first uniform number of host->random(seed, stream)."""
    counter = (np.uint64(0), np.uint64(0), np.uint64(stream & WORD), np.uint64(stream >> 32))
    return float(unit(philox(counter, seed)[0]))
