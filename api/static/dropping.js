// Pictures come by drop, paste or choice.

import { add, collectionName } from "./adding.js";
import { $, results } from "./dom.js";

const drop = $("#drop");  // not there for a key that may not write

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
results.addEventListener("click", (event) => { if (event.target.closest("[data-choose]")) $("#files").click(); });
$("#files")?.addEventListener("change", (event) => { add([...event.target.files]); event.target.value = ""; });
