// The threshold on the line: dragged along it, it dims what is below at once, and when it rests all that match are asked for.

import { $, $$, field, form, percent, results } from "./dom.js";
import { own } from "./own.js";
import { hitOf } from "./tiles.js";

const REST = 350;
const slider = $("#min"), line = $(".line");
let waiting = 0;

export const whole = (value) => `${Math.round(100 * value)} %`;

/** As the address has it. */
export function renewThreshold() {
  const address = new URL(location.href).searchParams, sorted = address.get("sort") ? 0.5 : 0;
  slider.disabled = !address.get("q") || Boolean(own());
  place(slider.disabled ? 0 : Number(address.get("min")) || sorted);
}

function place(value) {
  slider.value = value;
  line.style.setProperty("--min", value);
  if (value > 0) line.dataset.set = whole(value); else delete line.dataset.set;
  slider.setAttribute("aria-valuetext", value > 0 ? whole(value) : "no threshold");
}

/** ``search`` is called when the threshold rests somewhere else. */
export function followThreshold(search) {
  let before = Number(slider.value);
  slider.addEventListener("pointerdown", () => { before = Number(slider.value); });
  slider.addEventListener("input", () => {
    const value = Number(slider.value);
    place(value);
    for (const tile of $$(".tile", results)) {
      const { probability } = hitOf(tile);
      tile.classList.toggle("below", probability !== null && probability < value);
    }
  });
  slider.addEventListener("change", () => {
    clearTimeout(waiting);
    if (slider.value === "0") form.elements.sort.disabled = true;
    waiting = setTimeout(() => { before = Number(slider.value); search(); }, REST);
  });
  slider.addEventListener("keydown", (event) => { if (event.key === "Escape") { place(before); field.focus(); } });
}
