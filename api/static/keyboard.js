// Keyboard: arrows walk over the grid, / asks, o switches the order, Escape and a click elsewhere close what is unfolded.

import { $, $$, box, field } from "./dom.js";
import { reorder } from "./ordering.js";
import { shownTiles } from "./tiles.js";

function neighbour(tile, key) {
  const tiles = shownTiles(), at = tiles.indexOf(tile);
  if (key === "ArrowRight") return tiles[at + 1];
  if (key === "ArrowLeft") return tiles[at - 1];
  if (key === "Home") return tiles[0];
  if (key === "End") return tiles.at(-1);
  const here = tile.getBoundingClientRect(), middle = here.left + here.width / 2;
  const far = (other) => {
    const rect = other.getBoundingClientRect(), dy = (rect.top - here.top) * (key === "ArrowDown" ? 1 : -1);
    return dy < 4 ? Infinity : dy * 1000 + Math.abs(rect.left + rect.width / 2 - middle);
  };
  const best = tiles.reduce((a, b) => (far(b) < far(a) ? b : a), tile);
  return far(best) === Infinity ? null : best;
}

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.metaKey || event.ctrlKey || event.altKey) return;
  const typing = event.target.closest?.("input, textarea, select");
  const menu = event.key === "Escape" && !box.open && $("#tune[open], #saved[open], #keep[open]");
  if (menu) { menu.open = false; $("summary", menu).focus(); return; }
  if (typing === field && event.key === "ArrowDown") {
    const first = shownTiles()[0];
    if (first) { event.preventDefault(); $("a", first).focus(); }
    return;
  }
  if (typing || box.open) return;
  if (event.key === "/") { event.preventDefault(); field.focus(); field.select(); return; }
  if (event.key === "o" && $("#grid .rank")) { reorder($("#grid").dataset.order === "itc" ? "itm" : "itc"); return; }
  const tile = event.target.closest?.(".tile");
  if (tile && ["ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown", "Home", "End"].includes(event.key)) {
    event.preventDefault();
    const next = neighbour(tile, event.key);
    if (next) $("a", next).focus();
    else if (event.key === "ArrowUp") field.focus();
  }
});
addEventListener("click", (event) => {
  for (const menu of $$("#tune[open], #saved[open], #keep[open]")) if (event.target.isConnected && !menu.contains(event.target)) menu.open = false;
});
