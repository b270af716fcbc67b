// title: A flow, layer by layer
// instruction: Forward carries the round base cloud to the data, one layer a step; back undoes the layers one by one. A point keeps the color of the angle at which it lies in the base.

import { Axes } from "./board.js";
import { Page, data, fixed } from "./figure.js";
import { player } from "./player.js";
import { reducedMotion } from "./scheme.js";

const page = new Page(update);
const last = data.stages.length - 1;
const stage = player(page, {
  legend: "Layer by layer",
  label: "stage",
  texts: data.stages.map((name, k) => (k ? `${k} of ${last}` : "base")),
  labels: { back: "Back (inverse)", next: "Forward", play: "Play all layers" },
  milliseconds: 1000,
});
let source, shown, followed;
page.group("Show", () => {
  source = data.data && page.choice("Points", [["base", "drawn from the base"], ["data", "data, carried back"]], "base");
  shown = page.choice("Grid of the base", [["yes", "show"], ["no", "hide"]], "no");
  followed = page.slider({
    label: "follow point", min: 1, max: data.base.log_density[0].length, step: 1, value: 1, text: (v) => fixed(v, 0),
  });
});
const show = {
  layer: page.number("layer", "last layer applied"),
  place: page.number("place", "the followed point"),
  logDet: page.number("log_det", "its log|det| so far (nats)"),
  density: page.number("log_density", "log-density there (nats)"),
  mean: page.number("mean_log_density", "mean log-density of all points (nats)"),
};

const unpack = (flat) => {
  const points = [];
  for (let i = 0; i < flat.length; i += 2) points.push([flat[i] * data.unit, flat[i + 1] * data.unit]);
  return points;
};
const chosen = () => data[source ? source.value : "base"];

/** Stage of the picture: it follows `stage`, smoothly where motion is welcome. In between nothing is exact. */
let drawn = 0;
let glide = 0;
function follow() {
  cancelAnimationFrame(glide);
  if (reducedMotion() || Math.abs(stage.value - drawn) > 1.5) {
    drawn = stage.value;
    return;
  }
  const from = drawn;
  const start = performance.now();
  const step = (time) => {
    const share = Math.min(1, Math.max(0, (time - start) / 450));
    drawn = from + (stage.value - from) * share * share * (3 - 2 * share);
    page.refresh();
    if (share < 1) glide = requestAnimationFrame(step);
  };
  glide = requestAnimationFrame(step);
}

function update() {
  const k = stage.value;
  const { points, log_density: logDensity } = chosen();
  const n = followed.value - 1;
  const [[z1, z2]] = unpack(points[k].slice(2 * n, 2 * n + 2));
  const at = logDensity[k][n] * data.unit;
  const mean = (logDensity[k].reduce((a, b) => a + b, 0) / logDensity[k].length) * data.unit;
  show.layer(data.stages[k]);
  show.place(`(${fixed(z1)}, ${fixed(z2)})`);
  show.logDet(fixed(logDensity[0][n] * data.unit - at, 2));
  show.density(fixed(at, 2));
  show.mean(fixed(mean, 2));
  follow();
  page.say(
    `Stage ${k} of ${last}, ${data.stages[k]}. The followed point is at ${fixed(z1)}, ${fixed(z2)}, its log-density is ` +
      `${fixed(at)}. Mean log-density ${fixed(mean)} nats.`,
  );
}

function between(stages) {
  const low = Math.floor(drawn);
  const share = drawn - low;
  const a = unpack(stages[low]);
  if (share === 0) return a;
  const b = unpack(stages[low + 1]);
  return a.map(([x, y], i) => [x + share * (b[i][0] - x), y + share * (b[i][1] - y)]);
}

const board = page.board({
  label: "Points of the plane at the chosen stage between base and data.",
  draw: () => {
    const axes = new Axes(board, {
      x: data.window, y: data.window, xlabel: "first variable", ylabel: "second variable", equal: true,
      title: stage.value ? `after layer ${stage.value} of ${last}` : "base",
    });
    if (shown.value === "yes") {
      const flat = between(data.grid.points);
      const length = flat.length / data.grid.lines;
      for (let l = 0; l < data.grid.lines; l++) {
        axes.line(flat.slice(l * length, (l + 1) * length), l < data.grid.lines / 2 ? "blue" : "vermilion", { width: 1 });
      }
    }
    const { points } = chosen();
    const start = unpack(points[0]);
    const now = between(points);
    axes.clipped((c) => {
      now.forEach(([x, y], i) => {
        const angle = (Math.atan2(start[i][1], start[i][0]) * 180) / Math.PI;
        c.fillStyle = `hsl(${angle} 70% 50%)`;
        c.beginPath();
        c.arc(axes.px(x), axes.py(y), 2.5, 0, 2 * Math.PI);
        c.fill();
      });
    });
    axes.dot(now[followed.value - 1], "ink", 7);
  },
});
board.canvas.parentElement.style.maxWidth = "32rem";

page.start();
