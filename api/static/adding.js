// Adding pictures to the collection: sent in batches, and followed until the model has seen them.

import { $, form, root } from "./dom.js";
import { show } from "./searching.js";
import { traySay } from "./tray.js";

const first = () => $("#first")?.elements;  // the form for a first collection
const BATCH_FILES = 50, BATCH_BYTES = 48 << 20;
export const collectionName = () => form.elements.collection.value || first()?.name.value.trim() || "pictures";

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

export async function add(files) {
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
  const wanted = { name, model: first()?.model.value || undefined };
  await call("/v1/collections", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(wanted) });
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
