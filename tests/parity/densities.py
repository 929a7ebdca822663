"""densities.py - the five densities of the dataset toy2d, from the formulas at the head of
plugins/datasets/toy2d.c: log p(x), points drawn with NumPy's own generator, and the mean log-density
E[log p(x)] = -(entropy) by numeric integration. That mean is the best held-out log-likelihood that a
model can have."""
import numpy as np

NOISE = {"moons": 0.1, "rings": 0.08, "checkerboard": 0.0, "pinwheel": 0.15, "eight_gaussians": 0.2}
KINDS = tuple(NOISE)
RADII = np.array([0.75, 1.5, 2.25, 3.0])
ARC_NODES = 64      # of the integral over t in moons; their spacing is below the noise


def normal(d, s):
    """The density N(d; 0, s^2)."""
    return np.exp(-0.5 * (d / s) ** 2) / (s * np.sqrt(2 * np.pi))


def density(kind, x):
    """p(x) of points (N,2)."""
    s, a, b, q = NOISE[kind], x[:, 0], x[:, 1], np.hypot(x[:, 0], x[:, 1])
    if kind == "eight_gaussians":
        t = 2 * np.pi * np.arange(8) / 8
        return sum(normal(a - 2 * np.cos(u), s) * normal(b - 2 * np.sin(u), s) for u in t) / 8
    if kind == "checkerboard":
        i, j = np.floor(a), np.floor(b)
        return ((abs(i + 0.5) < 2) & (abs(j + 0.5) < 2) & ((i + j) % 2 == 0)) / 8
    if kind == "rings":
        radial = sum(normal(q - r, s) + normal(-q - r, s) for r in RADII) / 4
        return radial / (2 * np.pi * q)
    if kind == "pinwheel":
        p = 0
        for k in range(5):
            t = -(2 * np.pi * k / 5 + q)
            p = p + normal(np.cos(t) * a - np.sin(t) * b - 1.5, 0.5) * \
                normal(np.sin(t) * a + np.cos(t) * b, s)
        return p / 5
    p = np.zeros(len(x))
    for node, weight in zip(*np.polynomial.legendre.leggauss(ARC_NODES)):
        t = np.pi * (node + 1) / 2
        p += weight * normal(a - np.cos(t) + 0.5, s) * normal(b - np.sin(t) + 0.25, s)
        p += weight * normal(a - 1 + np.cos(t) + 0.5, s) * normal(b - 0.5 + np.sin(t) + 0.25, s)
    return p / 4                        # weights add up to 2


def draw(kind, n, rng):
    """n points (N,2)."""
    s, u, g = NOISE[kind], rng.random((n, 2)), rng.standard_normal((n, 2))
    if kind == "eight_gaussians":
        t = 2 * np.pi * np.floor(8 * u[:, 0]) / 8
        return 2 * np.stack([np.cos(t), np.sin(t)], 1) + s * g
    if kind == "checkerboard":
        column, row = rng.integers(4, size=n), rng.integers(2, size=n)
        return np.stack([column - 2, 2 * row + column % 2 - 2], 1) + u
    if kind == "rings":
        r, t = RADII[rng.integers(4, size=n)] + s * g[:, 0], 2 * np.pi * u[:, 1]
        return np.stack([r * np.cos(t), r * np.sin(t)], 1)
    if kind == "pinwheel":
        v = np.stack([1.5 + 0.5 * g[:, 0], s * g[:, 1]], 1)
        t = 2 * np.pi * rng.integers(5, size=n) / 5 + np.hypot(v[:, 0], v[:, 1])
        c, d = np.cos(t), np.sin(t)
        return np.stack([c * v[:, 0] - d * v[:, 1], d * v[:, 0] + c * v[:, 1]], 1)
    t, upper = np.pi * u[:, 0], u[:, 1] < 0.5
    a = np.where(upper, np.cos(t), 1 - np.cos(t))
    b = np.where(upper, np.sin(t), 0.5 - np.sin(t))
    return np.stack([a - 0.5, b - 0.25], 1) + s * g


def cells(half_side, n):
    """The centres (n*n,2) of n x n cells of [-half_side, half_side]^2, and the area of a cell."""
    t = (np.arange(n) + 0.5) * 2 * half_side / n - half_side
    return np.stack(np.meshgrid(t, t), -1).reshape(-1, 2), (2 * half_side / n) ** 2


def mean_log_density(kind, half_side=4.5, n=200):
    """E[log p(x)], by the midpoint rule on n x n cells; the densities are smooth on their scale, and
    of the checkerboard, which is not, the answer is known."""
    if kind == "checkerboard":
        return -np.log(8)
    x, area = cells(half_side, n)
    p = density(kind, x)
    total = p.sum() * area
    if abs(total - 1) > 1e-4:
        raise ArithmeticError(f"{kind}: the density integrates to {total:.6f} on the square")
    return np.sum(p * np.log(np.maximum(p, 1e-300))) * area
