// Searching without reloading: what is asked comes into the page, and its address into the browser's.

import { addressWith } from "./address.js";
import { fillForm, showFilterError } from "./asked.js";
import { $, form, make, partOf, results, say } from "./dom.js";
import { events, follows } from "./events.js";
import { arrange, take } from "./ordering.js";
import { appendTiles, fadeImagesIn, shownTiles } from "./tiles.js";

let asking = null;

export async function show(url, { push = true, append = false, top = true } = {}) {
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
    results.dataset.address = "";
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

/** ITC's pictures at once, then ITM's order as it comes. The page is busy until the end, which alone is announced. */
async function followed(answer, arrived) {
  for await (const [name, data] of events(answer)) {
    if (name === "candidates") {
      results.replaceChildren(...partOf(data.html).childNodes);
      results.classList.add("early");
      arrived();
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
function settle(appended = false) {
  const status = $(".status", results), address = new URL(location.href).searchParams;
  document.title = status?.dataset.title || "Sightline";
  showFilterError(status?.dataset.filterError ?? "");
  form.elements.order.disabled = address.get("order") !== "itc";
  form.elements.order.value = address.get("order") ?? "itm";
  form.elements.like.disabled = !address.get("like");
  form.elements.like.value = address.get("like") ?? "";
  results.dataset.address = addressWith(null);
  form.style.setProperty("--best", status?.dataset.best || 0);
  fadeImagesIn();
  if (!appended) say($(".note", results)?.innerText || $(".facts", results)?.innerText || "");
}

export function go(url) {
  show(url).then(fillForm);
}

export function moreOf(url) {
  const paged = new URL(url).searchParams.has("cursor");
  if (paged) return show(url, { push: false, append: true });
  const before = shownTiles().length;
  return show(url, { top: false }).then(() => { fillForm(); $("a", shownTiles()[before])?.focus({ preventScroll: true }); });
}
