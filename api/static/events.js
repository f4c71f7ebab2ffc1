// Server-sent events of an answer, read while it comes.

/** Whether this browser reads an answer while it comes. */
export const follows = "ReadableStream" in window && "TextDecoderStream" in window;

/** [name, data] of each server-sent event of an answer, as it comes. EventSource cannot be called off and asked anew like a fetch. */
export async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split(/\r?\n/).map((line) => line.split(/: (.*)/s, 2)));
      if (fields.event) yield [fields.event, JSON.parse(fields.data)];
    }
  }
}
