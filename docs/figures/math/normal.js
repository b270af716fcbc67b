// The standard normal density, densities it is pushed forward to, and areas under them.

export const normalDensity = (u) => Math.exp(-0.5 * u * u) / Math.sqrt(2 * Math.PI);

/** The density of x = T(u), u ~ N(0, 1), for a monotone map {inverse, slope}: p_u(T⁻¹(x)) / |T′(T⁻¹(x))|. */
export const pushforward = ({ inverse, slope }) => (x) => normalDensity(inverse(x)) / Math.abs(slope(inverse(x)));

/**
 * ∫ f from the first to the last of the breaks, negative where they fall: Simpson's rule, halving an interval where two
 * halves differ from the whole by more than the tolerance, so that narrow spikes are found.
 */
export function integral(f, breaks, tolerance = 1e-7) {
  const simpson = (a, b, fa, fm, fb) => ((b - a) / 6) * (fa + 4 * fm + fb);
  function refined(a, b, fa, fm, fb, whole, tolerated, depth) {
    const m = (a + b) / 2;
    const [fl, fr] = [f((a + m) / 2), f((m + b) / 2)];
    const [left, right] = [simpson(a, m, fa, fl, fm), simpson(m, b, fm, fr, fb)];
    const off = left + right - whole;
    if (depth === 0 || Math.abs(off) < 15 * tolerated) return left + right + off / 15;
    return (
      refined(a, m, fa, fl, fm, left, tolerated / 2, depth - 1) + refined(m, b, fm, fr, fb, right, tolerated / 2, depth - 1)
    );
  }
  return breaks.slice(1).reduce((sum, b, k) => {
    const a = breaks[k];
    // Eight pieces to begin with: three points alone could all miss a spike.
    for (let i = 0; i < 8; i++) {
      const [c, d] = [a + ((b - a) * i) / 8, a + ((b - a) * (i + 1)) / 8];
      const values = [f(c), f((c + d) / 2), f(d)];
      sum += refined(c, d, ...values, simpson(c, d, ...values), tolerance, 24);
    }
    return sum;
  }, 0);
}
