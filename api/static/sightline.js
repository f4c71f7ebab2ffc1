// The page works without this. With it: no reloads, the two orders side by side, a lightbox, and pictures dropped in.

import { here } from "./address.js";
import { addressOfForm, checkFilter, fillForm } from "./asked.js";
import { $, field, filter, form, results } from "./dom.js";
import "./dropping.js";
import "./keyboard.js";
import { hide, open, restore } from "./lightbox.js";
import { reorder } from "./ordering.js";
import "./saved.js";
import { again, go, moreOf, ownNow, show } from "./searching.js";
import "./theme.js";
import { followThreshold } from "./threshold.js";
import { fadeImagesIn } from "./tiles.js";
import { stopTyping } from "./typing.js";

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!checkFilter()) { filter.focus(); return; }
  $("#tune").open = false;
  if (matchMedia("(pointer: coarse)").matches) field.blur();
  show(addressOfForm(), { file: ownNow(), over: true });
});
form.elements.collection.addEventListener("change", () => { filter.value = ""; show(addressOfForm()); });
filter.addEventListener("input", () => { if (filter.hasAttribute("aria-invalid")) checkFilter(); });
filter.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.metaKey || event.ctrlKey)) form.requestSubmit();
});
addEventListener("popstate", async () => {
  if (results.dataset.address !== here()) {
    hide();
    fillForm();
    stopTyping();
    await again();
  }
  restore();
});

results.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  if (link.dataset.order) { event.preventDefault(); reorder(link.dataset.order); }
  else if (link.dataset.more !== undefined) { event.preventDefault(); moreOf(link.href); }
  else if (link.dataset.go !== undefined) { event.preventDefault(); stopTyping(); go(link.href); }
  else if (link.closest(".tile")) { event.preventDefault(); open(link.closest(".tile")); }
});

if ($("#add")) $("#add").hidden = false;
fadeImagesIn();
results.dataset.address = here();
followThreshold(() => show(addressOfForm(), { top: false }));
restore();
document.documentElement.dataset.ready = "true";
