// title: Change of variables in one dimension
// instruction: Shape the map x = T(u) by its five dots, or by the sliders. The base u is standard normal. The shaded strips hold the same probability.

import { Axes, sampled } from "./board.js";
import { Page, fixed, placeAll } from "./figure.js";
import { curve, harmonicSlopes } from "./math/monotone.js";
import { integral, normalDensity, pushforward } from "./math/normal.js";

const US = [-2, -1, 0, 1, 2];
const GAP = 0.1; // the least step between neighboring dots: the map stays increasing
const HALF_STRIP = 0.2;
const U = [-3.5, 3.5];
const X = [-4.5, 4.5];

const page = new Page(update);
let map;

const keptInOrder = (k) => (v) => {
  const below = k > 0 ? heights[k - 1].value + GAP : -4;
  const above = k < 4 ? heights[k + 1].value - GAP : 4;
  return Math.min(above, Math.max(below, v));
};
const heights = [];
page.group("The map at five points", () => {
  for (const [k, u] of US.entries()) {
    const limit = (v) => (heights.length === 5 ? keptInOrder(k)(v) : v);
    heights.push(page.slider({ label: `T(${fixed(u, 0)})`, min: -4, max: 4, step: 0.05, value: u, limit }));
  }
});
let probe;
let mirrored;
page.group("Look at", () => {
  probe = page.slider({ label: "base point u", min: -3, max: 3, step: 0.05, value: 0.5 });
  mirrored = page.toggle("Mirror: T becomes −T, decreasing");
  const straight = (a, b) => () => placeAll(heights, US.map((u) => a * u + b));
  page.buttons(
    mirrored.button,
    page.button("x = u", straight(1, 0)),
    page.button("x = u/2 + 1", straight(0.5, 1)),
  );
});

const show = {
  slope: page.number("slope", "slope dx/du at u"),
  base: page.number("base_density", "base density at u"),
  data: page.number("data_density", "density of x at T(u)"),
  stripBase: page.number("strip_base", "probability of the strip in u"),
  stripData: page.number("strip_data", "probability of its image in x"),
  area: page.number("area", "area under the density of x"),
};

const board = page.board({
  label: "Top left: the map x = T(u). Below it: the base density over u. Right: the density of x, drawn sideways.",
  ratio: 1.12,
  draw,
});
board.canvas.parentElement.style.maxWidth = "40rem";

function update() {
  const rising = curve(US, heights.map((h) => h.value), harmonicSlopes(US, heights.map((h) => h.value)));
  const sign = mirrored.on ? -1 : 1;
  const forward = (u) => sign * rising.forward(u);
  const inverse = (x) => rising.inverse(sign * x);
  const slope = (u) => sign * rising.slope(u);
  const density = pushforward({ inverse, slope });
  const u = probe.value;
  const strip = [u - HALF_STRIP, u + HALF_STRIP];
  const image = strip.map(forward).sort((a, b) => a - b);
  map = { forward, density, strip, image };
  // In x alone, through the inverse: that the area is 1 is found out, not put in.
  const area = integral(density, [-8, ...US, 8].map(forward).sort((a, b) => a - b));
  show.slope(fixed(slope(u), 3));
  show.base(fixed(normalDensity(u), 4));
  show.data(fixed(density(forward(u)), 4));
  show.stripBase(fixed(integral(normalDensity, strip), 4));
  show.stripData(fixed(integral(density, image), 4));
  show.area(fixed(area, 4));
  page.say(
    `u is ${fixed(u)}, x is ${fixed(forward(u))}, the slope is ${fixed(slope(u))}. The density falls or grows from ` +
      `${fixed(normalDensity(u), 3)} to ${fixed(density(forward(u)), 3)}. The area is ${fixed(area, 3)}.`,
  );
}

const under = (points) => [[points[0][0], 0], ...points, [points[points.length - 1][0], 0]];
const turned = (points) => points.map(([x, y]) => [y, x]);

function draw() {
  const { forward, density, strip, image } = map;
  const split = 0.64;
  const base = sampled(normalDensity, U);
  const pushed = sampled(density, X, 900);
  const top = Math.max(0.6, 1.08 * Math.max(...pushed.map(([, p]) => p)));

  const below = new Axes(board, { x: U, y: [0, 0.5], box: [0, split, split, 1], xlabel: "u", title: "base density" });
  below.area(under(sampled(normalDensity, strip, 40)), "green", 0.5);
  below.line(base, "blue");

  const side = new Axes(board, { x: [0, top], y: X, box: [split, 0, 1, split], title: "density of x" });
  side.area(turned(under(sampled(density, image, 80))), "green", 0.5);
  side.line(turned(pushed), "vermilion");

  const main = new Axes(board, { x: U, y: X, box: [0, 0, split, split], ylabel: "x", title: "x = T(u)" });
  main.area([[strip[0], X[0]], [strip[1], X[0]], [strip[1], forward(strip[1])], [strip[0], forward(strip[0])]], "green", 0.25);
  main.area([[strip[0], forward(strip[0])], [strip[1], forward(strip[1])], [U[1], forward(strip[1])], [U[1], forward(strip[0])]], "green", 0.25);
  main.line(sampled(forward, U), "ink");
  const sign = mirrored.on ? -1 : 1;
  for (const [k, u] of US.entries()) main.draggable([u, forward(u)], "vermilion", (_, x) => heights[k].set(sign * x));
  main.draggable([probe.value, forward(probe.value)], "green", (u) => probe.set(u), 5);
}

page.start();
