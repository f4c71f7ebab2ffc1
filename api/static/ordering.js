// A search that comes as events: ITC's pictures at once, then moved into ITM's order as that is made.

/** Whether this browser reads an answer while it comes. */
export const follows = "ReadableStream" in window && "TextDecoderStream" in window;

/** [name, data] of each server-sent event of an answer, as it comes. EventSource cannot be called off and asked anew like a fetch. */
export async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split(/\r?\n/).map((line) => line.split(/: (.*)/s, 2)));
      if (fields.event) yield [fields.event, JSON.parse(fields.data)];
    }
  }
}

/** Ways to change what is shown without showing it anew. ``moving(change)`` lets tiles glide from where they were. */
export function arranging({ $, $$, results, hitOf, moving }) {
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
  function arrange({ scored, of, order, tiles }, part) {
    const grid = $("#grid");
    $(".ordering", results).textContent = `ordering ${scored.toLocaleString("en")} of ${of.toLocaleString("en")}`;
    if (!grid) return;
    moving(() => {
      grid.append(...$$(".tile", part(tiles)));
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
  function take(fresh) {
    const grid = $("#grid"), next = $("#grid", fresh), known = byId(results);
    if (!grid || !next) { results.replaceChildren(...fresh.childNodes); return; }
    const parts = [...fresh.childNodes], at = parts.indexOf(next);
    moving(() => {
      const tiles = $$(".tile", next).map((tile) => renewed(known.get(hitOf(tile).id), tile));
      for (const tile of known.values()) if (!tiles.includes(tile)) tile.remove();
      for (const { name, value } of next.attributes) grid.setAttribute(name, value);
      place(grid, tiles);
      for (const node of [...results.childNodes]) if (node !== grid) node.remove();
      grid.before(...parts.slice(0, at));
      grid.after(...parts.slice(at + 1));
    });
  }

  function renewed(tile, fresh) {
    if (!tile) return fresh;
    tile.dataset.hit = fresh.dataset.hit;
    tile.hidden = fresh.hidden;
    $("a", tile).setAttribute("aria-label", $("a", fresh).getAttribute("aria-label"));
    $(".meter i", tile).style.setProperty("--p", $(".meter i", fresh).style.getPropertyValue("--p"));
    $(".meta", tile).replaceChildren(...$(".meta", fresh).childNodes);
    return tile;
  }

  return { arrange, take };
}
