// The page works without this. With it: no reloads, the two orders side by side, a lightbox, and pictures dropped in.
import { questions } from "./asking.js";
import { arranging, events, follows } from "./ordering.js";

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const root = document.body.dataset.root;
const form = $("#search"), results = $("#results"), field = $("#q"), filter = $("#filter"), box = $("#box");
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const EASE = "cubic-bezier(.2, .75, .2, 1)";
const say = (text) => { $("#say").textContent = text; };

/** An element with attributes and children; text is never parsed as HTML. */
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "circle", "text"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") element.addEventListener("click", value);
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/* ---- searching without reloading ------------------------------------------------------------------------------ */
let asking = null;

function addressOfForm() {
  const values = new FormData(form), defaults = { k: "24", candidates: "100", order: "itm", effort: "" };
  const kept = [...values].map(([name, value]) => [name, String(value).trim()]);
  const query = new URLSearchParams(kept.filter(([name, value]) => value && value !== defaults[name]));
  return `${root}/${query.size ? `?${query}` : ""}`;
}

async function show(url, { push = true, append = false, top = true } = {}) {
  asking?.abort();
  const mine = asking = new AbortController();
  results.setAttribute("aria-busy", "true");
  form.classList.add("busy");
  const arrived = () => {
    if (push) history.pushState(null, "", url);
    if (push && top) scrollTo({ top: 0, behavior: "instant" });
  };
  try {
    const wanted = follows && !append ? "events" : "results";
    const answer = await fetch(url, { headers: { "X-Sightline-Part": wanted }, signal: mine.signal });
    const type = answer.headers.get("content-type") ?? "";
    if (type.startsWith("text/event-stream")) { await followed(answer, arrived); return; }
    if (!type.startsWith("text/html")) throw new Error(`status ${answer.status}`);
    if (answer.status === 401) { location.reload(); return; }
    const part = partOf(await answer.text());
    if (append) appendTiles(part); else results.replaceChildren(...part.childNodes);
    arrived();
    settle(append);
  } catch (error) {
    if (error.name === "AbortError") return;
    const again = make("a", { href: url }, "Try again");
    results.replaceChildren(make("div", { class: "note alone error", role: "alert" },
      make("h1", {}, "The server does not answer."), make("p", {}, "It may be starting, or the network is away. ", again)));
    say("The server does not answer.");
  } finally {
    if (asking === mine) {
      results.setAttribute("aria-busy", "false");
      results.classList.remove("early");
      form.classList.remove("busy");
    }
  }
}

const partOf = (html) => new DOMParser().parseFromString(html, "text/html").body;

/** ITC's pictures at once, then ITM's order as it comes. The page is busy until the end, which alone is announced. */
async function followed(answer, arrived) {
  for await (const [name, data] of events(answer)) {
    if (name === "candidates") {
      results.replaceChildren(...partOf(data.html).childNodes);
      results.classList.add("early");
      arrived();
      settle(true);
    } else if (name === "order") {
      arrange(data, partOf);
    } else if (name === "result") {
      const part = partOf(data.html), failed = $(".note.error p", part);
      if (failed) unordered(failed.textContent); else { take(part); settle(); }
      if (box.open && current?.isConnected) tell(current);
      return;
    } else if (name === "error") {
      unordered(data.detail);
      return;
    }
  }
  unordered("The connection was lost before ITM was done.");
}

/** ITC's pictures stay, and why there is no more than these is said. */
function unordered(why) {
  const again = make("a", { href: location.href, "data-go": "" }, "Try again");
  $(".facts", results).replaceChildren(make("span", { class: "warn" }, `Not put in order. ${why} `, again));
  say(`Not put in order. ${why}`);
}

/** What follows from new results: title, filter error, form, announcement. */
function settle(appended = false) {
  const status = $(".status", results), address = new URL(location.href).searchParams;
  document.title = status?.dataset.title || "Sightline";
  showFilterError(status?.dataset.filterError ?? "");
  form.elements.order.disabled = address.get("order") !== "itc";
  form.elements.order.value = address.get("order") ?? "itm";
  form.elements.like.disabled = !address.get("like");
  form.elements.like.value = address.get("like") ?? "";
  form.style.setProperty("--best", status?.dataset.best || 0);
  fadeImagesIn();
  if (!appended) say($(".note", results)?.innerText || $(".facts", results)?.innerText || "");
}

function appendTiles(part) {
  const grid = $("#grid"), first = $(".tile", part);
  grid.append(...$$(".tile", part));
  $(".more", results)?.remove();
  const more = $(".more", part);
  if (more) results.append(more);
  $("a", first)?.focus({ preventScroll: true });
}

function fillForm() {
  const address = new URL(location.href).searchParams;
  field.value = address.get("q") ?? "";
  filter.value = address.get("filter") ?? "";
  for (const [name, fallback] of [["k", "24"], ["candidates", "100"], ["effort", ""]]) {
    const value = address.get(name) ?? fallback, select = form.elements[name];
    if (![...select.options].some((option) => option.value === value)) select.add(new Option(value));
    select.value = value;
  }
  if (address.get("collection")) form.elements.collection.value = address.get("collection");
}

function fadeImagesIn() {
  for (const image of $$("#grid img")) {
    if (image.complete || image.classList.contains("late")) continue;
    image.classList.add("late");
    image.addEventListener("load", () => image.classList.remove("late"), { once: true });
    image.addEventListener("error", () => image.classList.remove("late"), { once: true });
  }
}

function checkFilter() {
  const text = filter.value.trim();
  let message = "";
  try {
    if (text && (JSON.parse(text)?.constructor !== Object)) message = 'A filter is an object, such as {"must": […]}.';
  } catch (error) {
    message = `Not JSON yet: ${error.message.replace(/^JSON\.parse: /, "")}`;
  }
  return showFilterError(message);
}

function showFilterError(message) {
  $("#filter-error").textContent = message;
  if (message) { filter.setAttribute("aria-invalid", "true"); $("#tune").open = true; }
  else filter.removeAttribute("aria-invalid");
  return !message;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!checkFilter()) { filter.focus(); return; }
  $("#tune").open = false;
  if (matchMedia("(pointer: coarse)").matches) field.blur();
  show(addressOfForm());
});
form.elements.collection.addEventListener("change", () => { filter.value = ""; show(addressOfForm()); });
filter.addEventListener("input", () => { if (filter.hasAttribute("aria-invalid")) checkFilter(); });
filter.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.metaKey || event.ctrlKey)) form.requestSubmit();
});
addEventListener("popstate", () => { box.close(); fillForm(); show(location.href, { push: false }); });

results.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  if (link.dataset.order) { event.preventDefault(); reorder(link.dataset.order); }
  else if (link.dataset.more !== undefined) { event.preventDefault(); moreOf(link.href); }
  else if (link.dataset.go !== undefined) { event.preventDefault(); go(link.href); }
  else if (link.closest(".tile")) { event.preventDefault(); open(link.closest(".tile")); }
});

function go(url) {
  show(url).then(fillForm);
}

function moreOf(url) {
  const paged = new URL(url).searchParams.has("cursor");
  if (paged) return show(url, { push: false, append: true });
  const before = shownTiles().length;
  return show(url, { top: false }).then(() => { fillForm(); $("a", shownTiles()[before])?.focus({ preventScroll: true }); });
}

/* ---- the two orders -------------------------------------------------------------------------------------------- */
const hitOf = (tile) => JSON.parse(tile.dataset.hit);
const shownTiles = () => $$("#grid .tile:not([hidden])");

function reorder(order) {
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
  history.replaceState(null, "", address);
  form.elements.order.disabled = order !== "itc";
  form.elements.order.value = order;
  say(order === "itc" ? "In the order of ITC alone." : "In the order that ITM made.");
}

/** Change which tiles are shown, and where: they glide there, and who has the focus keeps it. */
function moving(change) {
  const before = new Map(shownTiles().map((tile) => [tile, tile.getBoundingClientRect()]));
  const link = document.activeElement?.closest("#grid .tile a");
  change();
  for (const tile of shownTiles()) {
    $("img", tile).loading = "eager";
    glide(tile, before.get(tile));
  }
  if (link?.checkVisibility() && document.activeElement !== link) link.focus({ preventScroll: true });
}

const { arrange, take } = arranging({ $, $$, results, hitOf, moving });

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

/* ---- keyboard: arrows walk over the grid, / asks, o switches the order ----------------------------------------------- */
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
  if (event.key === "Escape" && $("#tune").open) { $("#tune").open = false; $("#tune summary").focus(); return; }
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
addEventListener("click", (event) => { if ($("#tune").open && !event.target.closest("#tune")) $("#tune").open = false; });

/* ---- lightbox --------------------------------------------------------------------------------------------------- */
let current = null;

function open(tile, direction = 0) {
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
  $("aside", box).replaceChildren(...facts(hitOf(tile), at, tiles.length));
  $(".back", box).disabled = at <= 0;
  $(".on", box).disabled = at >= tiles.length - 1;
}

function step(direction) {
  const tiles = shownTiles(), next = tiles[tiles.indexOf(current) + direction];
  if (next) { open(next, direction); say(next.querySelector("a").getAttribute("aria-label")); }
}

const number = (value, digits) => (value === null ? "—" : value.toFixed(digits).replace("-", "−"));
const percent = (p) => (p >= 0.9995 ? "100 %" : p < 0.001 ? "< 0.1 %" : `${(p * 100).toFixed(1)} %`);

function facts(hit, at, count) {
  const parts = [make("p", { class: "place" }, make("b", {}, `${at + 1} of ${count}`))];
  if (hit.probability !== null) {
    const meter = make("span", { class: "meter", "aria-hidden": "true" }, make("i"));
    meter.firstChild.style.setProperty("--p", hit.probability);
    parts.push(make("div", {}, make("p", { class: "big" }, percent(hit.probability), make("small", {}, "match")), meter));
  }
  if (hit.caption) parts.push(make("p", { class: "saying" }, hit.caption));
  const { asks, collection } = $(".status").dataset;
  if (asks) parts.push(questions(hit, collection, { make, percent, root }));
  if (hit.probability !== null && hit.itc_rank !== null) parts.push(pathOf(hit));
  if (hit.rank !== null) {
    parts.push(list([
      ["Match probability", hit.probability === null ? "not judged" : percent(hit.probability)],
      ["ITM logit", number(hit.itm_logit, 3)],
      ["ITC cosine", number(hit.itc, 4)],
      ["Ranking score", number(hit.score, 3)],
    ]));
  }
  const entries = Object.entries(hit.metadata);
  if (entries.length) parts.push(list(entries.map(([name, value]) => [name, valueOf(name, value)])));
  parts.push(list([["Id", hit.id], ["Size", `${hit.width} × ${hit.height}`], ...(hit.uri.startsWith("blob:") || hit.uri === hit.id ? [] : [["From", hit.uri]])]));
  const deeds = [make("a", { href: hit.file, target: "_blank", rel: "noopener" }, "Open the original")];
  if (hit.caption) deeds.push(make("button", { type: "button", onclick: () => searchFor(hit.caption) }, "Search for its caption"));
  parts.push(make("p", { class: "deeds" }, ...deeds));
  return parts;
}

function list(rows) {
  return make("dl", {}, ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

/** A metadata value, or each of a list, that narrows the search when pressed. */
function valueOf(name, value) {
  if (Array.isArray(value)) {
    return make("span", {}, ...value.flatMap((item, at) => (at ? [", ", valueOf(name, item)] : [valueOf(name, item)])));
  }
  if (value === null || typeof value === "object") return JSON.stringify(value);
  return make("button", { type: "button", title: `Only ${name} = ${value}`, onclick: () => narrow(name, value) }, String(value));
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

/** From the rank that ITC gave to the rank that ITM gave: one line. */
function pathOf(hit) {
  const most = Math.max(hit.itc_rank, hit.rank, Number($("#grid").dataset.k));
  const y = (rank) => 10 + 72 * (most > 1 ? Math.log(rank) / Math.log(most) : 0);
  const [from, to] = [y(hit.itc_rank), y(hit.rank)];
  const words = hit.moved > 0 ? `raised ${hit.moved}` : hit.moved < 0 ? `lowered ${-hit.moved}` : "not moved";
  return make("svg", { class: "path", viewBox: "0 0 320 92", role: "img", "aria-label": `ITC rank ${hit.itc_rank}, ITM rank ${hit.rank}: ${words}` },
    make("line", { class: "tick", x1: 70, x2: 70, y1: 4, y2: 88 }), make("line", { class: "tick", x1: 250, x2: 250, y1: 4, y2: 88 }),
    make("line", { class: "way", x1: 70, y1: from, x2: 250, y2: to }),
    make("circle", { cx: 70, cy: from, r: 5 }), make("circle", { cx: 250, cy: to, r: 6.5 }),
    make("text", { x: 58, y: from + 4.5, "text-anchor": "end" }, `ITC ${hit.itc_rank}`),
    make("text", { x: 263, y: to + 4.5 }, `ITM ${hit.rank}`));
}

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

/* ---- adding pictures: drop, paste or choose ---------------------------------------------------------------------- */
const tray = $("#tray"), drop = $("#drop");  // not there for a key that may not write
const BATCH_FILES = 50, BATCH_BYTES = 48 << 20;
const collectionName = () => form.elements.collection.value || "pictures";

function batches(files) {
  const found = [];
  let size = Infinity;
  for (const file of files) {
    if (size + file.size > BATCH_BYTES || found.at(-1).length >= BATCH_FILES) { found.push([]); size = 0; }
    found.at(-1).push(file);
    size += file.size;
  }
  return found;
}

async function call(url, options) {
  const answer = await fetch(`${root}${url}`, options);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail ?? `The server answered ${answer.status}.`);
  return body;
}

async function add(files) {
  if (!files.length) return;
  const card = traySay(`Adding ${files.length} picture${files.length === 1 ? "" : "s"}`, files);
  const patience = setTimeout(card.waiting, 10_000);
  const sum = { indexed: 0, replaced: 0, unchanged: 0, failed: 0 }, errors = [];
  let before = 0, since = Infinity;
  try {
    const name = collectionName();
    if (!form.elements.collection.value) await newCollection(name);
    for (const batch of batches(files)) {
      const body = new FormData();
      batch.forEach((file) => body.append("files", file, file.name));
      const ids = batch.map((file) => (file.path ? { id: file.path } : {}));
      body.append("items", JSON.stringify(ids));
      const { job, files: lines } = await call(`/v1/collections/${encodeURIComponent(name)}/images`, { method: "POST", body });
      const ended = await follow(job, (now) => card.progress(before + now.total - now.pending, files.length));
      for (const key of Object.keys(sum)) sum[key] += ended.progress[key];
      const names = new Map(lines.map((line) => [line.id, line.filename]));
      errors.push(...ended.errors.map((error) => ({ ...error, id: names.get(error.id) ?? error.id })));
      before += batch.length;
      since = Math.min(since, Date.parse(job.created_at) / 1000);
    }
    card.done(sum, errors, addressOfNew(name, since));
    await show(location.href, { push: false });
    await count(name);
  } catch (error) {
    card.failed(error.message);
  } finally {
    clearTimeout(patience);
  }
}

function addressOfNew(name, since) {
  const wanted = { must: [{ field: "created_at", range: { gte: since } }] };
  return `${root}/?${new URLSearchParams({ collection: name, filter: JSON.stringify(wanted) })}`;
}

/** The picker tells how many pictures there are now. */
async function count(name) {
  const { images } = await call(`/v1/collections/${encodeURIComponent(name)}`);
  const option = [...form.elements.collection.options].find((each) => each.value === name);
  if (option) option.textContent = `${name} · ${images.toLocaleString("en")}`;
}

async function newCollection(name) {
  await call("/v1/collections", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ name }) });
  form.elements.collection.replaceChildren(new Option(name, name, true, true));
}

/** The job once it has ended; progress meanwhile. */
function follow(job, onProgress) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(job.events_url);
    source.addEventListener("progress", (event) => onProgress(JSON.parse(event.data).progress));
    source.addEventListener("done", (event) => { source.close(); onProgress(JSON.parse(event.data).progress); resolve(JSON.parse(event.data)); });
    source.onerror = () => { if (source.readyState === EventSource.CLOSED) reject(new Error("The progress of this job can no longer be followed.")); };
  });
}

function traySay(title, files) {
  const heading = make("h2", {}, title), text = make("p", { role: "status" }, "Sending …");
  const bar = make("span", { class: "meter", "aria-hidden": "true" }, make("i"));
  const cross = make("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, make("path", { d: "M4 4l8 8M12 4l-8 8" }));
  const shut = make("button", { type: "button", "aria-label": "Close", onclick: () => { tray.hidden = true; } }, cross);
  const thumbs = make("div", { class: "thumbs", "aria-hidden": "true" }, ...files.slice(0, 7).map((file) => {
    const image = make("img", { alt: "", src: URL.createObjectURL(file) });
    image.onload = () => URL.revokeObjectURL(image.src);
    image.onerror = () => image.remove();
    return image;
  }));
  const errors = make("ul", {});
  const note = $(".status")?.dataset.note;
  tray.replaceChildren(make("header", {}, heading, shut), bar, text, ...(note ? [make("p", { class: "model-note" }, note)] : []), thumbs, errors);
  tray.hidden = false;
  const fill = (part) => bar.firstChild.style.setProperty("--p", part);
  fill(0.02);
  let seen = 0;
  return {
    progress(done, total) { seen = done; fill(Math.max(done / total, 0.02)); text.textContent = `${done} of ${total} seen by the model`; },
    waiting() { if (!seen) text.textContent = "Received; waiting for a worker to look at them"; },
    done(sum, failures, address) {
      fill(1);
      heading.textContent = sum.indexed + sum.replaced ? "Added" : failures.length ? "Nothing was added" : "Already here";
      const words = [[sum.indexed, "new"], [sum.replaced, "replaced"], [sum.unchanged, "already here"], [sum.failed, "could not be read"]];
      text.textContent = words.filter(([count]) => count).map(([count, word]) => `${count} ${word}`).join(" · ");
      if (sum.indexed + sum.replaced) text.append(" · ", make("a", { href: address, onclick: (event) => { event.preventDefault(); go(address); } }, "look at them"));
      errors.replaceChildren(...failures.map((item) => make("li", {}, make("b", {}, item.id), ` ${item.detail}`)));
      if (!failures.length) setTimeout(() => { if (heading.isConnected) tray.hidden = true; }, 12000);
    },
    failed(message) { heading.textContent = "That did not work"; text.textContent = message; bar.hidden = true; },
  };
}

/** Files of a drop, folders walked; ``path`` keeps where in a folder a file was. */
async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const found = [];
  const walk = async (entry) => {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      file.path = entry.fullPath.replace(/^\//, "");
      if (!file.name.startsWith(".")) found.push(file);
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return;
      for (const child of some) await walk(child);
    }
  };
  for (const entry of entries) await walk(entry);
  return found;
}

let depth = 0;
const hasFiles = (event) => drop && event.dataTransfer?.types.includes("Files");
addEventListener("dragenter", (event) => {
  if (!hasFiles(event)) return;
  depth += 1;
  $("b", drop).textContent = collectionName();
  drop.hidden = false;
});
addEventListener("dragleave", (event) => { if (hasFiles(event) && --depth <= 0) { depth = 0; drop.hidden = true; } });
addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
addEventListener("drop", async (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  depth = 0;
  drop.hidden = true;
  add(await filesOf(event.dataTransfer));
});
addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (drop && files.length) { event.preventDefault(); add(files); }
});
$("#add")?.addEventListener("click", () => $("#files").click());
$("#files")?.addEventListener("change", (event) => { add([...event.target.files]); event.target.value = ""; });

/* ---- theme ------------------------------------------------------------------------------------------------------- */
const THEMES = ["", "light", "dark"], NAMES = { "": "as the system", light: "light", dark: "dark" };
const theme = $("#theme");
function nameTheme() {
  const now = NAMES[document.documentElement.dataset.theme ?? ""];
  $("span", theme).textContent = `Theme: ${now}`;
  theme.title = `Theme: ${now}`;
}
theme.addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "") + 1) % THEMES.length];
  if (next) document.documentElement.dataset.theme = next; else delete document.documentElement.dataset.theme;
  document.cookie = `theme=${next}; path=${root || "/"}; max-age=31536000; samesite=lax`;
  nameTheme();
  say(theme.title);
});

theme.hidden = false;
if ($("#add")) $("#add").hidden = false;
nameTheme();
fadeImagesIn();
document.documentElement.dataset.ready = "true";
