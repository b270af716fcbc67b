// title: Film
// instruction: Step through the frames, or play them.

import { Page, data } from "./figure.js";
import { player } from "./player.js";

const page = new Page(update);
const picture = document.createElement("img");
document.getElementById("boards").append(picture);
const frame = player(page, {
  legend: "Frames",
  label: "frame",
  texts: data.captions,
  labels: { back: "Back", next: "Next", play: "Play" },
  milliseconds: 800,
});

function update() {
  picture.src = `data:image/png;base64,${data.frames[frame.value]}`;
  picture.alt = `${data.description} Frame ${frame.value + 1} of ${data.frames.length}: ${data.captions[frame.value]}`;
  page.say(`Frame ${frame.value + 1} of ${data.frames.length}: ${data.captions[frame.value]}`);
}

page.start();
