// The map of the plane in notebook 2, its Jacobian in closed form, and areas inside closed curves.

/** x = T(u): x₁ = u₁ + 0.4 sin(1.5 u₂), x₂ = 0.6 u₂ + 0.1 u₂³ + 0.3 cos(1.5 u₁). */
export const bend = ([u1, u2]) => [
  u1 + 0.4 * Math.sin(1.5 * u2),
  0.6 * u2 + 0.1 * u2 ** 3 + 0.3 * Math.cos(1.5 * u1),
];

/** J[i][j] = ∂x_i/∂u_j. */
export const bendJacobian = ([u1, u2]) => [
  [1, 0.6 * Math.cos(1.5 * u2)],
  [-0.45 * Math.sin(1.5 * u1), 0.6 + 0.3 * u2 ** 2],
];

export const determinant = ([[a, b], [c, d]]) => a * d - b * c;

/** Points along the border of the square of the given side around a center, n on each edge, counterclockwise. */
export function squareBorder([c1, c2], side, n) {
  const corner = [c1 - side / 2, c2 - side / 2];
  const share = Array.from({ length: n }, (_, k) => k / n);
  return [
    ...share.map((s) => [s, 0]),
    ...share.map((s) => [1, s]),
    ...share.map((s) => [1 - s, 1]),
    ...share.map((s) => [0, 1 - s]),
  ].map(([a, b]) => [corner[0] + side * a, corner[1] + side * b]);
}

/** Area inside a closed polygon: the shoelace formula, about the first point so that small areas keep their digits. */
export function polygonArea(points) {
  const [o1, o2] = points[0];
  let sum = 0;
  for (let k = 0; k < points.length; k++) {
    const a = points[k];
    const b = points[(k + 1) % points.length];
    sum += (a[0] - o1) * (b[1] - o2) - (a[1] - o2) * (b[0] - o1);
  }
  return Math.abs(sum) / 2;
}
