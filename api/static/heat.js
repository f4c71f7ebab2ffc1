// Why a picture matches: asked of the server once for each picture and text, and painted over the picture.

const asked = new Map(), MOST = 50;

/** The explanation of a picture for a text (see docs/http.md#why). Throws the problem's sentence. */
export function why(root, collection, id, text) {
  const address = `${root}/v1/collections/${encodeURIComponent(collection)}/images/${encodeURIComponent(id)}`
    + `/explanation?${new URLSearchParams({ text })}`;
  if (!asked.has(address)) {
    if (asked.size >= MOST) asked.delete(asked.keys().next().value);
    const answer = ask(address);
    asked.set(address, answer);
    answer.catch(() => asked.delete(address));
  }
  return asked.get(address);
}

async function ask(address) {
  const answer = await fetch(address, { headers: { Accept: "application/json" } });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.detail ?? `The server answered ${answer.status}.`);
  return said.explanation;
}

/** Paint a heat on a canvas that lies over the whole picture: cells share it evenly, whatever its shape. */
export function paint(canvas, heat, [red, green, blue] = [255, 96, 32]) {
  const small = new OffscreenCanvas(heat.width, heat.height), brush = small.getContext("2d");
  const cells = brush.createImageData(heat.width, heat.height);
  heat.values.flat().forEach((value, at) => cells.data.set([red, green, blue, Math.round(200 * value)], 4 * at));
  brush.putImageData(cells, 0, 0);
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

/** The text in pieces, its explained words as `{text, word}` and what is between them as `{text}`; offsets are code points. */
export function pieces(text, words) {
  const points = [...text], found = [];
  let at = 0;
  for (const word of words) {
    if (word.start > at) found.push({ text: points.slice(at, word.start).join("") });
    found.push({ text: points.slice(word.start, word.end).join(""), word });
    at = word.end;
  }
  if (at < points.length) found.push({ text: points.slice(at).join("") });
  return found;
}
