// The record of one picture, for whoever comes by its address and not from a tile.
import { root } from "./dom.js";

const NOT_RANKED = { rank: null, itc_rank: null, itc: null, itm_logit: null, probability: null, score: null, moved: null };

/** A picture of a collection as a hit that no search found, or `{ problem }`: a sentence. */
export async function recordOf(collection, id) {
  if (!collection) return { problem: "There is no collection to show this picture from." };
  const plain = [".", ".."].includes(id) ? id.replaceAll(".", "%2E") : id;
  const url = `${root}/v1/collections/${encodeURIComponent(collection)}/images/${encodeURIComponent(plain)}`;
  try {
    const answer = await fetch(url);
    if (answer.status === 404) return { problem: `There is no picture “${id}” in ${collection}.` };
    const record = await answer.json();
    if (!answer.ok) return { problem: record.detail ?? `The server answered ${answer.status}.` };
    const { file_url: file, thumbnail_url: thumbnail, width, height } = record;
    return { ...record, ...NOT_RANKED, file, thumbnail, width: width ?? 1, height: height ?? 1 };
  } catch {
    return { problem: "The server does not answer." };
  }
}
