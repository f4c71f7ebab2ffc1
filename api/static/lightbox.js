// The lightbox: one picture large, what is known of it, and its neighbours. It has an address of its own, so that
// Back closes it, and whoever is sent the address sees the picture.
import { addressWith, imageInAddress } from "./address.js";
import { addressLike, addressOfForm } from "./asked.js";
import { $, box, field, filter, make, results, say } from "./dom.js";
import { facts, unknown } from "./facts.js";
import { recordOf } from "./record.js";
import { go, show } from "./searching.js";
import { hitOf, shownTiles } from "./tiles.js";

const AGAIN = { question: ".question input", why: ".ask-why" };  // where the focus goes when the picture is another
let current = null;  // the hit that is shown
let quiet = false;   // whether it closes for another reason than that the person closed it

const tileOf = (id) => shownTiles().find((tile) => hitOf(tile).id === id);

/** Show a tile's picture. Opening is a step that Back undoes; going on to another one is not. */
export function open(tile, direction = 0) {
  const hit = hitOf(tile);
  if (box.open) history.replaceState(history.state, "", addressWith(hit.id));
  else history.pushState({ ...history.state, box: true }, "", addressWith(hit.id));
  present(hit, direction);
}

/** Show the picture that the address names, be it among the tiles or not; none: close. */
export async function restore() {
  const id = imageInAddress();
  if (id === null) { hide(); return; }
  const tile = tileOf(id), collection = $(".status").dataset.collection;
  const hit = tile ? hitOf(tile) : await recordOf(collection, id);
  if (imageInAddress() !== id) return;  // gone on meanwhile
  if (hit.problem) excuse(hit.problem); else present(hit);
}

function present(hit, direction = 0) {
  current = hit;
  const tiles = shownTiles(), at = tiles.indexOf(tileOf(hit.id));
  const image = make("img", { alt: hit.caption ?? hit.id, src: hit.file, width: hit.width, height: hit.height });
  image.addEventListener("error", () => { image.src = hit.thumbnail; }, { once: true });
  if (direction) { image.classList.add("swap"); image.style.setProperty("--d", direction); }
  image.style.setProperty("--w", hit.width);
  image.style.setProperty("--r", hit.width / hit.height);
  image.style.background = `center / contain no-repeat url("${hit.thumbnail}")`;
  $(".stage img", box).replaceWith(image);
  const was = document.activeElement?.closest("#box aside") ? document.activeElement.name : null;
  tell();
  if (!box.open) box.showModal();
  if (was !== null) ($(AGAIN[was] ?? ".shut", box) ?? $(".shut", box)).focus();  // what had it is gone
  $("aside", box).scrollTop = 0;
  for (const near of [tiles[at + 1], tiles[at - 1]]) if (near && at >= 0) new Image().src = hitOf(near).file;
}

/** Beside the picture: what is known of it, and whether others stand before and after it. */
function tell() {
  const tiles = shownTiles(), tile = tileOf(current.id), at = tiles.indexOf(tile);
  if (tile) current = hitOf(tile);
  $("aside", box).replaceChildren(...facts(current, at, tiles.length, { narrow, searchFor, like }));
  $(".back", box).disabled = at <= 0;
  $(".on", box).disabled = at < 0 || at >= tiles.length - 1;
}

/** In place of a picture: why there is none. */
function excuse(sentence) {
  current = null;
  $(".stage canvas", box)?.remove();
  $(".stage img", box).replaceWith(make("img", { alt: "", hidden: "" }));
  $("aside", box).replaceChildren(...unknown(sentence, () => box.close()));
  for (const turn of [$(".back", box), $(".on", box)]) turn.disabled = true;
  if (!box.open) box.showModal();
  say(sentence);
}

function step(direction) {
  const tiles = shownTiles(), at = current ? tiles.indexOf(tileOf(current.id)) : -1, next = tiles[at + direction];
  if (at >= 0 && next) { open(next, direction); say(next.querySelector("a").getAttribute("aria-label")); }
}

/** Close it because something else is shown now. */
export function hide() {
  if (!box.open) return;
  quiet = true;
  box.close();
}

function narrow(name, value) {
  let wanted = {};
  try { wanted = JSON.parse(filter.value || "{}"); } catch { /* replaced below */ }
  wanted.must = [...(wanted.must ?? []), { field: `metadata.${name}`, equals: value }];
  filter.value = JSON.stringify(wanted);
  hide();
  show(addressOfForm());
}

function searchFor(text) {
  field.value = text;
  hide();
  show(addressOfForm());
}

function like(id) {
  hide();
  go(addressLike(id));
}

results.addEventListener("renewed", () => { if (box.open && current) tell(); });
box.addEventListener("keydown", (event) => {
  const direction = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (direction && !event.target.closest("input")?.value) { event.preventDefault(); step(direction); }
});
box.addEventListener("click", (event) => {
  if (event.target.closest(".shut") || event.target.classList.contains("stage")) box.close();
  else if (event.target.closest(".back")) step(-1);
  else if (event.target.closest(".on")) step(1);
});
box.addEventListener("close", () => {
  const tile = current && tileOf(current.id), byPerson = !quiet;
  quiet = false;
  if (byPerson && history.state?.box) history.back();
  else if (byPerson) history.replaceState({ ...history.state, box: false }, "", addressWith(null));
  if (tile) $("a", tile).focus({ preventScroll: false });
});
let touch = null;
box.addEventListener("touchstart", (event) => { touch = event.touches.length === 1 ? event.touches[0] : null; }, { passive: true });
box.addEventListener("touchend", (event) => {
  const end = event.changedTouches[0];
  if (touch && Math.abs(end.clientX - touch.clientX) > 60 && Math.abs(end.clientY - touch.clientY) < 60) step(end.clientX < touch.clientX ? 1 : -1);
  touch = null;
}, { passive: true });
