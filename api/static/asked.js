// What is asked for: the form, written into an address and read from one.

import { $, field, filter, form, root } from "./dom.js";

export function addressOfForm() {
  const values = new FormData(form), defaults = { k: "24", candidates: "100", order: "itm", effort: "" };
  const kept = [...values].map(([name, value]) => [name, String(value).trim()]);
  const query = new URLSearchParams(kept.filter(([name, value]) => value && value !== defaults[name]));
  return `${root}/${query.size ? `?${query}` : ""}`;
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
