// Elements, those of the page that several modules use and new ones, and figures in words.
export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
export const root = document.body.dataset.root;
export const form = $("#search"), results = $("#results"), field = $("#q"), filter = $("#filter"), box = $("#box");

/** Tell a screen reader. */
export const say = (text) => { $("#say").textContent = text; };

/** An element with attributes and children; text is never parsed as HTML. */
export function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "circle", "text"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") element.addEventListener("click", value);
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** The body of some HTML of this server. */
export const partOf = (html) => new DOMParser().parseFromString(html, "text/html").body;

export const number = (value, digits) => (value === null ? "—" : value.toFixed(digits).replace("-", "−"));
export const percent = (p) => (p >= 0.9995 ? "100 %" : p < 0.001 ? "< 0.1 %" : `${(p * 100).toFixed(1)} %`);
