// Searching without reloading: what is asked comes into the page, and its address into the browser's.

import { addressWith, here } from "./address.js";
import { fillForm, placeholder, showFilterError } from "./asked.js";
import { $, field, form, make, partOf, results, root, say } from "./dom.js";
import { events, follows } from "./events.js";
import { arrange, take } from "./ordering.js";
import { keep, own, ownBody, ownOf, showOwn } from "./own.js";
import { appendTiles, fadeImagesIn, shownTiles } from "./tiles.js";
import { renewThreshold } from "./threshold.js";

let asking = null;

/** Ask and show it. ``push``: it is a step that Back undoes; ``over``: in place of the present one. ``typed``: somebody
 * types yet, and what fails is not shown; ``typing``: by ITC alone. ``file``: a picture that is asked with. */
export async function show(url, { push = true, append = false, top = true, typed = false, typing = false, over = typed, file = null } = {}) {
  asking?.abort();
  const mine = asking = new AbortController();
  if (!typing) { results.setAttribute("aria-busy", "true"); form.classList.add("busy"); }
  const step = () => {
    const state = { ...(typed && { typed }), ...(file && { own: keep(file) }) };
    if (push) history[over && history.state?.typed ? "replaceState" : "pushState"](state, "", url);
    if (push && top) scrollTo({ top: 0, behavior: "instant" });
  };
  try {
    const part = typing ? "typing" : follows && !append ? "events" : "results";
    const asked = { headers: { "X-Sightline-Part": part }, signal: mine.signal };
    const answer = file ? await fetch(`${root}/like`, { ...asked, method: "POST", body: ownBody(file) }) : await fetch(url, asked);
    if (typed && !answer.ok) return Number(answer.headers.get("retry-after")) || 0;
    const type = answer.headers.get("content-type") ?? "";
    if (type.startsWith("text/event-stream")) { await followed(answer, step); return 0; }
    if (!type.startsWith("text/html")) { refused(await said(answer), url); return 0; }
    if (answer.status === 401) { location.reload(); return 0; }
    const fresh = partOf(await answer.text());
    if (typing && $('.status[data-state="unknown"]', fresh)) return 0;  // a word that is not whole yet
    if (append) appendTiles(fresh); else if (typed) take(fresh); else results.replaceChildren(...fresh.childNodes);
    step();
    settle(append || typing);
    if (typed) results.dispatchEvent(new Event("renewed"));
  } catch (error) {
    if (error.name === "AbortError" || typed) return 0;
    refused(["The server does not answer.", "It may be starting, or the network is away."], url);
  } finally {
    if (asking === mine) {
      results.setAttribute("aria-busy", "false");
      results.classList.remove("early");
      form.classList.remove("busy");
    }
  }
  return 0;
}

/** What a problem that is no page says. */
async function said(answer) {
  const problem = await answer.json().catch(() => ({}));
  return ["That did not work.", problem.detail ?? `The server answered ${answer.status}.`];
}

function refused([title, detail], url) {
  results.dataset.address = "";
  const again = make("a", { href: url }, "Try again");
  results.replaceChildren(make("div", { class: "status" }), make("div", { class: "note alone error", role: "alert" },
    make("h1", {}, title), make("p", {}, `${detail} `, again)));
  say(title);
}

/** ITC's pictures at once, then ITM's order as it comes. The page is busy until the end, which alone is announced. */
async function followed(answer, step) {
  for await (const [name, data] of events(answer)) {
    if (name === "candidates") {
      take(partOf(data.html));
      results.classList.add("early");
      step();
      settle(true);
    } else if (name === "order") {
      arrange(data);
    } else if (name === "result") {
      const part = partOf(data.html), failed = $(".note.error p", part);
      if (failed) unordered(failed.textContent); else { take(part); settle(); }
      results.dispatchEvent(new Event("renewed"));
      return;
    } else if (name === "error") {
      unordered(data.detail);
      return;
    }
  }
  unordered("The connection was lost before the order was made.");
}

/** ITC's pictures stay, and why there is no more than these is said. */
function unordered(why) {
  const again = make("a", { href: addressWith(null), "data-go": "" }, "Try again");
  $(".facts", results).replaceChildren(make("span", { class: "warn" }, `Not put in order. ${why} `, again));
  say(`Not put in order. ${why}`);
}

/** What follows from new results: title, filter error, form, announcement. */
function settle(unsaid = false) {
  const status = $(".status", results), address = new URL(location.href).searchParams;
  document.title = status?.dataset.title || "Sightline";
  showFilterError(status?.dataset.filterError ?? "");
  for (const [name, usual] of [["order", "itm"], ["like", ""], ["sort", ""]]) {
    form.elements[name].value = address.get(name) ?? usual;
    form.elements[name].disabled = form.elements[name].value === usual;
  }
  results.dataset.address = here();
  showOwn();
  placeholder();
  renewThreshold();
  if (Number(status?.dataset.best) || !unsaid) form.style.setProperty("--best", status?.dataset.best || 0);
  fadeImagesIn();
  if (!unsaid) say($(".note", results)?.innerText || $(".facts", results)?.innerText || "");
}

/** Follow a link of ours. */
export function go(url) {
  return show(url).then(fillForm);
}

/** What this step of the history showed. */
export function again() {
  return show(location.href, { push: false, file: ownOf(history.state) });
}

/** Pictures like one that the server does not have. */
export function askWith(file) {
  const address = new URL(location.href);
  for (const name of ["like", "min", "sort", "saved", "order", "cursor", "image"]) address.searchParams.delete(name);
  if (field.value.trim()) address.searchParams.set("q", field.value.trim()); else address.searchParams.delete("q");
  return show(address.href, { file });
}

/** The picture of one's own that the present pictures are like, if there is one. */
export const ownNow = () => (own() ? ownOf(history.state) : null);

export function moreOf(url) {
  const paged = new URL(url).searchParams.has("cursor");
  if (paged) return show(url, { push: false, append: true });
  const before = shownTiles().length;
  return show(url, { top: false }).then(() => { fillForm(); $("a", shownTiles()[before])?.focus({ preventScroll: true }); });
}
