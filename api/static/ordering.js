// The two orders: ITC's pictures moved into ITM's order as that is made, and one changed for the other without another search.

import { here } from "./address.js";
import { $, $$, form, partOf, results, say } from "./dom.js";
import { hitOf, moving } from "./tiles.js";

export function reorder(order) {
  const grid = $("#grid"), k = Number(grid.dataset.k);
  if (grid.dataset.order === order || $(".ordering", results)) return;
  grid.dataset.order = order;
  const rank = new Map($$(".tile", grid).map((tile) => [tile, hitOf(tile)[order === "itc" ? "itc_rank" : "rank"] ?? Infinity]));
  moving(() => {
    for (const [tile, place] of [...rank].sort((a, b) => a[1] - b[1])) {
      tile.hidden = place > k;
      tile.style.animation = "none";
      $(".rank", tile).textContent = place === Infinity ? "–" : place;
      grid.append(tile);
    }
  });
  for (const link of $$(".order a")) link.toggleAttribute("aria-current", link.dataset.order === order);
  $$(".order a[aria-current]").forEach((link) => link.setAttribute("aria-current", "true"));
  const address = new URL(location.href);
  if (order === "itc") address.searchParams.set("order", "itc"); else address.searchParams.delete("order");
  history.replaceState(history.state, "", address);
  results.dataset.address = here();
  form.elements.order.disabled = order !== "itc";
  form.elements.order.value = order;
  say(order === "itc" ? "Most similar first." : "Best match first.");
}

const byId = (root) => new Map($$(".tile", root).map((tile) => [hitOf(tile).id, tile]));

/** Tiles in this order; who stands right already is not touched, and keeps the focus. */
function place(grid, tiles) {
  tiles.forEach((tile, at) => {
    if (grid.children[at] === tile) return;
    tile.style.animation = "none";
    grid.insertBefore(tile, grid.children[at] ?? null);
  });
}

/** The order by now: of hits that are there, and of ``tiles`` that come with it. */
export function arrange({ scored, of, order, tiles }) {
  const grid = $("#grid");
  $(".ordering", results).textContent = `ordering ${scored.toLocaleString("en")} of ${of.toLocaleString("en")}`;
  if (!grid) return;
  moving(() => {
    grid.append(...$$(".tile", partOf(tiles)));
    const known = byId(grid), shown = order.map(({ id }) => known.get(id));
    for (const tile of known.values()) tile.hidden = !shown.includes(tile);
    place(grid, shown);
    order.forEach(({ probability, match }, at) => {
      $(".rank", shown[at]).textContent = at + 1;
      $(".prob", shown[at]).textContent = match ?? "";
      $(".meter i", shown[at]).style.setProperty("--p", probability ?? 0);
    });
  });
}

/** The whole answer, in place of what there was; tiles that were there stay, with what is new about them. */
export function take(fresh) {
  const grid = $("#grid"), next = $("#grid", fresh), known = byId(results);
  if (!grid || !next) { results.replaceChildren(...fresh.childNodes); return; }
  const parts = [...fresh.childNodes], at = parts.indexOf(next);
  moving(() => {
    const tiles = $$(".tile", next).map((tile) => renewed(known.get(hitOf(tile).id), tile));
    grid.className = next.className;
    for (const tile of known.values()) if (!tiles.includes(tile)) tile.remove();
    for (const { name, value } of next.attributes) grid.setAttribute(name, value);
    place(grid, tiles);
    for (const node of [...results.childNodes]) if (node !== grid) node.remove();
    grid.before(...parts.slice(0, at));
    grid.after(...parts.slice(at + 1));
  });
}

function renewed(tile, fresh) {
  if (!tile || !$(".meter", tile) !== !$(".meter", fresh)) { tile?.remove(); return fresh; }
  tile.classList.remove("below");
  tile.dataset.hit = fresh.dataset.hit;
  tile.hidden = fresh.hidden;
  $("a", tile).setAttribute("aria-label", $("a", fresh).getAttribute("aria-label"));
  $(".like", tile).href = $(".like", fresh).href;
  if (!$(".meter", tile)) return tile;
  $(".meter i", tile).style.setProperty("--p", $(".meter i", fresh).style.getPropertyValue("--p"));
  $(".meta", tile).replaceChildren(...$(".meta", fresh).childNodes);
  return tile;
}
