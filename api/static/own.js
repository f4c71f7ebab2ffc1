// A picture of one's own that is asked with: it is in no address, and stays with the step of the history until the page goes.

import { $, form, results } from "./dom.js";

const kept = new Map();

/** A number for it, which a step of the history can hold. */
export function keep(file) {
  const known = [...kept].find(([, other]) => other === file);
  if (known) return known[0];
  kept.set(kept.size + 1, file);
  return kept.size;
}

/** The picture of a step of the history; null without one, or after a reload. */
export const ownOf = (state) => kept.get(state?.own) ?? null;

/** The chip that stands for it. */
export const own = () => $("[data-given]", results);

/** What is sent: the picture, and what is asked beside it. */
export function ownBody(file) {
  const body = new FormData();
  body.append("image", file, file.name || "picture");
  for (const name of ["q", "collection", "filter", "k", "candidates"]) body.append(name, form.elements[name].value.trim());
  return body;
}

/** The chip shows it. */
export function showOwn() {
  const file = ownOf(history.state), image = file && own() && $("img", own());
  if (!image) return;
  image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
  image.src = URL.createObjectURL(file);
  image.hidden = false;
}
