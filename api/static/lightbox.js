// The lightbox: one picture large, what is known of it, and its neighbours.

import { addressOfForm } from "./asked.js";
import { $, box, field, filter, make, results, say } from "./dom.js";
import { facts } from "./facts.js";
import { show } from "./searching.js";
import { hitOf, shownTiles } from "./tiles.js";

let current = null;

export function open(tile, direction = 0) {
  current = tile;
  const hit = hitOf(tile), tiles = shownTiles(), at = tiles.indexOf(tile);
  const image = make("img", { alt: hit.caption ?? hit.id, src: hit.file, width: hit.width, height: hit.height });
  image.addEventListener("error", () => { image.src = hit.thumbnail; }, { once: true });
  if (direction) { image.classList.add("swap"); image.style.setProperty("--d", direction); }
  image.style.setProperty("--w", hit.width);
  image.style.setProperty("--r", hit.width / hit.height);
  image.style.background = `center / contain no-repeat url("${hit.thumbnail}")`;
  $(".stage img", box).replaceWith(image);
  const was = document.activeElement?.closest("#box aside") ? document.activeElement.name : null;
  tell(tile);
  if (!box.open) box.showModal();
  if (was !== null) ($(was === "question" ? ".question input" : ".shut", box) ?? $(".shut", box)).focus();  // what had it is gone
  $("aside", box).scrollTop = 0;
  for (const near of [tiles[at + 1], tiles[at - 1]]) if (near) new Image().src = hitOf(near).file;
}

/** Beside the picture: what is known of it, and whether others stand before and after it. */
function tell(tile) {
  const tiles = shownTiles(), at = tiles.indexOf(tile);
  $("aside", box).replaceChildren(...facts(hitOf(tile), at, tiles.length, { narrow, searchFor }));
  $(".back", box).disabled = at <= 0;
  $(".on", box).disabled = at >= tiles.length - 1;
}

function step(direction) {
  const tiles = shownTiles(), next = tiles[tiles.indexOf(current) + direction];
  if (next) { open(next, direction); say(next.querySelector("a").getAttribute("aria-label")); }
}

function narrow(name, value) {
  let wanted = {};
  try { wanted = JSON.parse(filter.value || "{}"); } catch { /* replaced below */ }
  wanted.must = [...(wanted.must ?? []), { field: `metadata.${name}`, equals: value }];
  filter.value = JSON.stringify(wanted);
  box.close();
  show(addressOfForm());
}

function searchFor(text) {
  field.value = text;
  box.close();
  show(addressOfForm());
}

results.addEventListener("renewed", () => { if (box.open && current?.isConnected) tell(current); });
box.addEventListener("keydown", (event) => {
  const direction = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (direction && !event.target.closest("input")?.value) { event.preventDefault(); step(direction); }
});
box.addEventListener("click", (event) => {
  if (event.target.closest(".shut") || event.target.classList.contains("stage")) box.close();
  else if (event.target.closest(".back")) step(-1);
  else if (event.target.closest(".on")) step(1);
});
box.addEventListener("close", () => { if (current?.isConnected) $("a", current).focus({ preventScroll: false }); });
let touch = null;
box.addEventListener("touchstart", (event) => { touch = event.touches.length === 1 ? event.touches[0] : null; }, { passive: true });
box.addEventListener("touchend", (event) => {
  const end = event.changedTouches[0];
  if (touch && Math.abs(end.clientX - touch.clientX) > 60 && Math.abs(end.clientY - touch.clientY) < 60) step(end.clientX < touch.clientX ? 1 : -1);
  touch = null;
}, { passive: true });
