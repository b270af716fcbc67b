// A masked coupling layer of two variables, x = b⊙u + (1−b)⊙(u⊙exp(s) + t), with s and t of the kept variable.

/**
 * s(k) = a₀ + a₁ k and t(k) = b₁ k + b₂ sin(3k) of the kept variable k = u[kept]: parameters {a0, a1, b1, b2}.
 * `forward` returns [x, log|det ∂x/∂u|], `inverse` returns [u, log|det ∂u/∂x|].
 */
export function affineCoupling({ a0, a1, b1, b2 }, kept) {
  const moved = 1 - kept;
  const scale = (k) => a0 + a1 * k;
  const shift = (k) => b1 * k + b2 * Math.sin(3 * k);

  function replaced(point, value) {
    const copy = [...point];
    copy[moved] = value;
    return copy;
  }
  function forward(u) {
    const s = scale(u[kept]);
    return [replaced(u, u[moved] * Math.exp(s) + shift(u[kept])), s];
  }
  function inverse(x) {
    const s = scale(x[kept]);
    return [replaced(x, (x[moved] - shift(x[kept])) * Math.exp(-s)), -s];
  }
  return { forward, inverse, scale, shift };
}
