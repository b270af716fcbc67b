// Values given on a square lattice, and what lies between.

/** The bytes of a base64 text. */
export const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/**
 * Bilinear interpolation at z = [z₁, z₂] of vectors of length `depth` on a size × size lattice over window × window.
 * The vector of lattice point (i along z₂, j along z₁) starts at values[(i · size + j) · depth]. Points outside are
 * taken to the border.
 */
export function bilinear(values, size, depth, [low, high], z) {
  const [c, r] = z.map((v) => Math.min(size - 1, Math.max(0, ((v - low) / (high - low)) * (size - 1))));
  const [j, i] = [c, r].map((v) => Math.min(size - 2, Math.floor(v)));
  const [a, b] = [c - j, r - i];
  const entry = (di, dj, k) => values[((i + di) * size + j + dj) * depth + k];
  return Array.from(
    { length: depth },
    (_, k) =>
      (1 - b) * ((1 - a) * entry(0, 0, k) + a * entry(0, 1, k)) + b * ((1 - a) * entry(1, 0, k) + a * entry(1, 1, k)),
  );
}
