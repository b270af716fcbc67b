// Increasing curves through knots by rational-quadratic pieces: Gregory and Delbourgo 1982; as layers of flows,
// Durkan et al. 2019, arXiv:1906.04032. The same formulas as flowlib/spline.py, which the tests compare them with.

/** n + 1 knots from `start`, with the given gaps between them. */
export function knotsFrom(start, gaps) {
  const knots = [start];
  for (const gap of gaps) knots.push(knots[knots.length - 1] + gap);
  return knots;
}

/**
 * The curve through knots (us[k], xs[k]) with slopes ds[k], and straight lines of slope ds[0] and ds[K] beyond.
 * With end knots at (±B, ±B) and end slopes 1 it is the spline of a flow: the identity outside [−B, B].
 * All three lists have K + 1 entries; us and xs increase, ds is positive.
 */
export function curve(us, xs, ds) {
  const K = us.length - 1;

  function piece(knots, v) {
    let k = 0;
    while (k < K - 1 && v >= knots[k + 1]) k++;
    const width = us[k + 1] - us[k];
    const height = xs[k + 1] - xs[k];
    return { k, left: us[k], bottom: xs[k], width, height, s: height / width, d0: ds[k], d1: ds[k + 1] };
  }

  // Sums of positive terms only: nothing cancels.
  const below = ({ s, d0, d1 }, xi) => s * (xi ** 2 + (1 - xi) ** 2) + (d0 + d1) * xi * (1 - xi);

  function forward(u) {
    if (u < us[0]) return xs[0] + ds[0] * (u - us[0]);
    if (u > us[K]) return xs[K] + ds[K] * (u - us[K]);
    const p = piece(us, u);
    const xi = (u - p.left) / p.width;
    return p.bottom + (p.height * (p.s * xi ** 2 + p.d0 * xi * (1 - xi))) / below(p, xi);
  }

  function slope(u) {
    if (u < us[0]) return ds[0];
    if (u > us[K]) return ds[K];
    const p = piece(us, u);
    const xi = (u - p.left) / p.width;
    const above = p.d1 * xi ** 2 + 2 * p.s * xi * (1 - xi) + p.d0 * (1 - xi) ** 2;
    return (p.s ** 2 * above) / below(p, xi) ** 2;
  }

  function inverse(x) {
    if (x < xs[0]) return us[0] + (x - xs[0]) / ds[0];
    if (x > xs[K]) return us[K] + (x - xs[K]) / ds[K];
    const p = piece(xs, x);
    const eta = (x - p.bottom) / p.height;
    // The root is 2sη/(2sη + m + √Q). Where m < 0, m + √Q would cancel: there 1 − ξ is found from the other end.
    const m = p.d0 * (1 - eta) - p.d1 * eta;
    const r = Math.abs(m) + Math.sqrt(m ** 2 + 4 * p.s ** 2 * eta * (1 - eta));
    const xi = m < 0 ? r / (r + 2 * p.s * (1 - eta)) : (2 * p.s * eta) / (r + 2 * p.s * eta);
    return p.left + p.width * xi;
  }

  /** Number of the bin that u lies in, from 0, and the relative position ξ there; null outside all bins. */
  function locate(u) {
    if (u < us[0] || u > us[K]) return null;
    const p = piece(us, u);
    return { bin: p.k, xi: (u - p.left) / p.width };
  }

  return { forward, inverse, slope, locate };
}

/** Slopes for knots at equal distances: at inner knots the harmonic mean of the neighboring secants, so positive. */
export function harmonicSlopes(us, xs) {
  const secants = us.slice(1).map((u, k) => (xs[k + 1] - xs[k]) / (u - us[k]));
  const inner = secants.slice(1).map((s, k) => 2 / (1 / s + 1 / secants[k]));
  return [secants[0], ...inner, secants[secants.length - 1]];
}
