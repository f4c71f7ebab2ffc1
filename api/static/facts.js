// What the lightbox tells of a picture.

import { questions } from "./asking.js";
import { $, make, number, percent } from "./dom.js";
import { reasons } from "./why.js";

/** Of a picture that is not there. */
export function unknown(sentence, close) {
  const back = make("button", { type: "button", onclick: close }, "Back to the pictures");
  return [make("p", { class: "saying", role: "alert" }, sentence), make("p", { class: "deeds" }, back)];
}

export function facts(hit, at, count, { narrow, searchFor, like }) {
  const parts = [make("p", { class: "place" }, make("b", {}, at < 0 ? "Not among those shown" : `${at + 1} of ${count}`))];
  if (hit.probability !== null) {
    const meter = make("span", { class: "meter", "aria-hidden": "true" }, make("i"));
    meter.firstChild.style.setProperty("--p", hit.probability);
    parts.push(make("div", {}, make("p", { class: "big" }, percent(hit.probability), make("small", {}, "match")), meter));
  }
  if (hit.clauses?.length) parts.push(clauses(hit.clauses));
  const why = reasons(hit);
  if (why) parts.push(why);
  if (hit.caption) parts.push(make("p", { class: "saying" }, hit.caption));
  const { asks, collection } = $(".status").dataset;
  if (asks) parts.push(questions(hit, collection));
  if (hit.probability !== null && hit.itc_rank !== null) parts.push(pathOf(hit));
  const entries = Object.entries(hit.metadata);
  if (entries.length) parts.push(list(entries.map(([name, value]) => [name, valueOf(name, value, narrow)])));
  parts.push(list([["Id", hit.id], ["Size", `${hit.width} × ${hit.height}`], ...(hit.uri.startsWith("blob:") || hit.uri === hit.id ? [] : [["From", hit.uri]])]));
  if (hit.rank !== null) parts.push(scores(hit));
  const deeds = [make("button", { type: "button", onclick: () => like(hit.id) }, "More like this"), make("a", { href: hit.file, target: "_blank", rel: "noopener" }, "Open the original")];
  if (hit.caption) deeds.push(make("button", { type: "button", onclick: () => searchFor(hit.caption) }, "Search for its caption"));
  parts.push(make("p", { class: "deeds" }, ...deeds));
  return parts;
}

/** How likely the picture shows each clause of what was asked for. */
function clauses(found) {
  return list(found.map(({ role, text, match_probability: p }) => [
    make("span", { class: `clause ${role}` }, make("small", {}, role === "none" ? "without " : "with "), text),
    role === "none" ? `${percent(p)} shown` : percent(p),
  ]));
}

/** The models' own figures, for who asks for them. */
function scores(hit) {
  return make("details", { class: "scores" }, make("summary", {}, "Scores"), list([
    ["Match probability", hit.probability === null ? "not judged" : percent(hit.probability)],
    ["ITM logit", number(hit.itm_logit, 3)],
    ["ITC cosine", number(hit.itc, 4)],
    ["Ranking score", number(hit.score, 3)],
    ["Rank by ITM", hit.rank],
    ["Rank by ITC", hit.itc_rank ?? "—"],
  ]));
}

function list(rows) {
  return make("dl", {}, ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

/** A metadata value, or each of a list, that narrows the search when pressed. */
function valueOf(name, value, narrow) {
  if (Array.isArray(value)) {
    return make("span", {}, ...value.flatMap((item, at) => (at ? [", ", valueOf(name, item, narrow)] : [valueOf(name, item, narrow)])));
  }
  if (value === null || typeof value === "object") return JSON.stringify(value);
  return make("button", { type: "button", title: `Only ${name} = ${value}`, onclick: () => narrow(name, value) }, String(value));
}

/** From the place that it had among similar ones to its place by match: one line. */
function pathOf(hit) {
  const most = Math.max(hit.itc_rank, hit.rank, Number($("#grid").dataset.k));
  const y = (rank) => 10 + 72 * (most > 1 ? Math.log(rank) / Math.log(most) : 0);
  const [from, to] = [y(hit.itc_rank), y(hit.rank)];
  const words = hit.moved > 0 ? `raised ${hit.moved}` : hit.moved < 0 ? `lowered ${-hit.moved}` : "not moved";
  return make("svg", { class: "path", viewBox: "0 0 320 92", role: "img", "aria-label": `Place ${hit.itc_rank} by similarity, ${hit.rank} by match: ${words}` },
    make("line", { class: "tick", x1: 92, x2: 92, y1: 4, y2: 88 }), make("line", { class: "tick", x1: 232, x2: 232, y1: 4, y2: 88 }),
    make("line", { class: "way", x1: 92, y1: from, x2: 232, y2: to }),
    make("circle", { cx: 92, cy: from, r: 5 }), make("circle", { cx: 232, cy: to, r: 6.5 }),
    make("text", { x: 80, y: from + 4.5, "text-anchor": "end" }, `similar ${hit.itc_rank}`),
    make("text", { x: 245, y: to + 4.5 }, `match ${hit.rank}`));
}
