// What is asked for: the form, written into an address and read from one.

import { $, field, filter, form, results, root } from "./dom.js";

export function addressOfForm() {
  const values = new FormData(form), defaults = { k: "24", candidates: "100", order: "itm", effort: "", min: "0" };
  const kept = [...values].map(([name, value]) => [name, String(value).trim()]);
  const query = new URLSearchParams(kept.filter(([name, value]) => value && value !== defaults[name]));
  return `${root}/${query.size ? `?${query}` : ""}`;
}

/** Others like a picture of the collection, under the same filter. */
export function addressLike(id) {
  const address = new URL(addressOfForm(), location.href);
  for (const name of ["q", "min", "sort", "saved", "order"]) address.searchParams.delete(name);
  address.searchParams.set("like", id);
  return address.href;
}

export function fillForm() {
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

/** What the box invites to, beside a picture or without one. */
export function placeholder() {
  const beside = $(".chips img", results);
  field.placeholder = beside ? "What else it should show" : "Describe a picture";
}

export function checkFilter() {
  const text = filter.value.trim();
  let message = "";
  try {
    if (text && (JSON.parse(text)?.constructor !== Object)) message = 'A filter is an object, such as {"must": […]}.';
  } catch (error) {
    message = `Not JSON yet: ${error.message.replace(/^JSON\.parse: /, "")}`;
  }
  return showFilterError(message);
}

export function showFilterError(message) {
  $("#filter-error").textContent = message;
  if (message) { filter.setAttribute("aria-invalid", "true"); $("#tune").open = true; }
  else filter.removeAttribute("aria-invalid");
  return !message;
}
