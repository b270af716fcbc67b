// title: The decoder's view of the latent plane
// instruction: Move the dot through the latent plane and see what the decoder makes of the place. Where the plane is not colored, the chosen distribution has (nearly) no probability.

import { Axes } from "./board.js";
import { Page, data, fixed } from "./figure.js";
import { bilinear, bytesOf } from "./math/lattice.js";
import { color } from "./scheme.js";

const [rows, columns] = data.shape;
const pixels = bytesOf(data.pixels);
const page = new Page(update);
let z, background, codes;
page.group("Latent variable z", () => {
  const range = { min: data.window[0], max: data.window[1], step: 0.05, value: 0 };
  z = [page.slider({ ...range, label: "z₁" }), page.slider({ ...range, label: "z₂" })];
});
page.group("Show", () => {
  background = page.choice("Colored where likely", [["aggregate", "aggregate posterior q(z)"], ["prior", "prior p(z)"]], "aggregate");
  codes = page.choice("Codes of training images", [["yes", "show"], ["no", "hide"]], "no");
});
const show = {
  q: page.number("log_q", "log q(z) (nats)"),
  p: page.number("log_p", "log p(z) (nats)"),
  verdict: page.number("verdict", "q(z) here"),
};

const at = (name) => bilinear(data[name].values, data[name].size, 1, data.window, z.map((s) => s.value))[0] * data.unit;

function update() {
  const [q, p] = [at("aggregate"), at("prior")];
  const hole = q < data.aggregate.threshold;
  const verdict = hole ? "a hole: 99 % of codes lie where q is higher" : "codes are found here";
  show.q(fixed(q, 2));
  show.p(fixed(p, 2));
  show.verdict(verdict);
  page.say(`z is ${z.map((s) => fixed(s.value)).join(", ")}. log q is ${fixed(q, 1)}, log p is ${fixed(p, 1)}: ${verdict}.`);
}

/** The chosen density as a small picture: opaque at its peak, clear below what 99 % of its own draws exceed. */
function shade({ values, size, threshold }) {
  const small = document.createElement("canvas");
  small.width = small.height = size;
  const context = small.getContext("2d");
  const peak = Math.max(...values) * data.unit;
  context.fillStyle = color("blue");
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      const share = (values[i * size + j] * data.unit - threshold) / (peak - threshold);
      context.globalAlpha = share > 0 ? 0.15 + 0.75 * share : 0;
      context.fillRect(j, size - 1 - i, 1, 1); // rows of values go up, rows of a picture down
    }
  }
  return small;
}

page.board({
  label: "The latent plane with the chosen point; colored where codes, or the prior's draws, are likely.",
  draw: (board) => {
    const axes = new Axes(board, { x: data.window, y: data.window, xlabel: "z₁", ylabel: "z₂", title: "latent plane", equal: true });
    const chosen = data[background.value];
    axes.clipped((c) => {
      // Values stand for grid points, a picture's pixels for cells around them: half a cell more on each side.
      const half = (axes.right - axes.left) / (chosen.size - 1) / 2;
      const side = axes.right - axes.left + 2 * half;
      c.drawImage(shade(chosen), axes.left - half, axes.top - half, side, side);
    });
    if (codes.value === "yes") {
      axes.clipped((c) => {
        c.fillStyle = color("ink");
        c.textAlign = "center";
        c.textBaseline = "middle";
        c.font = "10px system-ui, sans-serif";
        for (const [z1, z2, label] of data.codes) c.fillText(label, axes.px(z1 * data.unit), axes.py(z2 * data.unit));
      });
    }
    const move = (a, b) => {
      z[0].place(a);
      z[1].set(b);
    };
    // The whole plane may be pressed, the dot is only where it stands.
    board.handle((axes.left + axes.right) / 2, (axes.top + axes.bottom) / 2, (px, py) => move(...axes.at(px, py)), axes.right - axes.left);
    axes.draggable(z.map((s) => s.value), "vermilion", move, 7);
  },
});
page.board({
  label: "The decoded digit: pixel probabilities, white 0, black 1.",
  draw: ({ context: c, width, height }) => {
    const image = bilinear(pixels, data.size, rows * columns, data.window, z.map((s) => s.value));
    const side = Math.floor(Math.min(width / columns, (height - 30) / rows));
    c.fillStyle = color("ink");
    c.textAlign = "center";
    c.fillText("decoded: probability of ink", (side * columns) / 2, 16, side * columns);
    image.forEach((value, k) => {
      const gray = Math.round(255 - value);
      c.fillStyle = `rgb(${gray}, ${gray}, ${gray})`;
      c.fillRect((k % columns) * side, 28 + Math.floor(k / columns) * side, side, side);
    });
    c.strokeStyle = color("edge");
    c.strokeRect(0.5, 28.5, side * columns - 1, side * rows - 1);
  },
});

page.start();
