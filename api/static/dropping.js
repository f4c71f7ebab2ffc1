// Pictures come by drop, paste or choice: on the search box they ask, anywhere else they are added.

import { add, collectionName } from "./adding.js";
import { $, field, form, results } from "./dom.js";
import { askWith } from "./searching.js";

const drop = $("#drop"), adds = $(".adding", drop);  // adding is not there for a key that may not write
const asks = () => Boolean($(".status").dataset.collection);

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
const hasFiles = (event) => (adds || asks()) && event.dataTransfer?.types.includes("Files");
const onBox = (event) => asks() && event.clientY < form.getBoundingClientRect().bottom;
function leave() { depth = 0; drop.hidden = true; }

addEventListener("dragenter", (event) => {
  if (!hasFiles(event)) return;
  depth += 1;
  if (adds) $("b", adds).textContent = collectionName();
  $(".asking", drop).hidden = !asks();
  drop.style.setProperty("--head", asks() ? `${form.getBoundingClientRect().bottom}px` : "0px");
  drop.hidden = false;
});
addEventListener("dragleave", (event) => { if (hasFiles(event) && --depth <= 0) leave(); });
addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  drop.dataset.over = onBox(event) ? "asking" : "adding";
  if (!adds && !onBox(event)) event.dataTransfer.dropEffect = "none";
});
addEventListener("drop", async (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  leave();
  const asking = onBox(event), files = await filesOf(event.dataTransfer);
  if (asking) { if (files.length) askWith(files[0]); } else if (adds) add(files);
});
addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])], asking = event.target === field && asks();
  if (!files.length || !(asking || adds)) return;
  event.preventDefault();
  if (asking) askWith(files[0]); else add(files);
});
$("#add")?.addEventListener("click", () => $("#files").click());
results.addEventListener("click", (event) => { if (event.target.closest("[data-choose]")) $("#files").click(); });
$("#files")?.addEventListener("change", (event) => { add([...event.target.files]); event.target.value = ""; });
$("#ask-file").addEventListener("click", () => $("#ask-files").click());
$("#ask-files").addEventListener("change", (event) => { askWith(event.target.files[0]); event.target.value = ""; });
$("#ask-file").hidden = !asks();
