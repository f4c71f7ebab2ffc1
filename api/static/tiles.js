// The pictures that are shown: what is known of them, and how they get from one place to another.

import { $, $$, results } from "./dom.js";

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const EASE = "cubic-bezier(.2, .75, .2, 1)";

export const hitOf = (tile) => JSON.parse(tile.dataset.hit);
export const shownTiles = () => $$("#grid .tile:not([hidden])");

export function appendTiles(part) {
  const grid = $("#grid"), first = $(".tile", part);
  grid.append(...$$(".tile", part));
  $(".more", results)?.remove();
  const more = $(".more", part);
  if (more) results.append(more);
  $("a", first)?.focus({ preventScroll: true });
}

export function fadeImagesIn() {
  for (const image of $$("#grid img")) {
    if (image.complete || image.classList.contains("late")) continue;
    image.classList.add("late");
    image.addEventListener("load", () => image.classList.remove("late"), { once: true });
    image.addEventListener("error", () => image.classList.remove("late"), { once: true });
  }
}

/** Change which tiles are shown, and where: they glide there, and who has the focus keeps it. */
export function moving(change) {
  const before = new Map(shownTiles().map((tile) => [tile, tile.getBoundingClientRect()]));
  const link = document.activeElement?.closest("#grid .tile a");
  change();
  for (const tile of shownTiles()) {
    $("img", tile).loading = "eager";
    glide(tile, before.get(tile));
  }
  if (link?.checkVisibility() && document.activeElement !== link) link.focus({ preventScroll: true });
}

/** First, last, invert, play: from where a tile was to where it is. */
function glide(tile, was) {
  if (calm.matches) return;
  const is = tile.getBoundingClientRect();
  const near = (rect) => rect.bottom > -400 && rect.top < innerHeight + 400;
  if (!was) {
    if (near(is)) tile.animate([{ opacity: 0, transform: "scale(.92)" }, {}], { duration: 420, delay: 120, easing: EASE, fill: "backwards" });
    return;
  }
  if (!near(was) && !near(is)) return;
  const dx = was.left - is.left, dy = was.top - is.top, scale = was.width / is.width;
  if (Math.abs(dx) + Math.abs(dy) < 1) return;
  tile.style.zIndex = 1;
  tile.style.position = "relative";
  const moved = { transformOrigin: "0 0", transform: `translate(${dx}px, ${dy}px) scale(${scale})` };
  const play = tile.animate([moved, { transformOrigin: "0 0", transform: "none" }], { duration: 680, easing: EASE });
  play.onfinish = () => { tile.style.zIndex = tile.style.position = ""; };
}
