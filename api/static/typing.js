// While somebody types: what is most similar at once, and ITM's order when the typing rests. The focus stays where it is.

import { addressOfForm } from "./asked.js";
import { box, field, form } from "./dom.js";
import { ownNow, show } from "./searching.js";

const PAUSE = 150, REST = 600, SHORTEST = 2;
let pause = 0, rest = 0;
let looking = false, more = false;  // one search at a time; what is typed meanwhile is the next
let asked = "", notBefore = 0;

/** Forget what was typed: something else is asked now. */
export function stopTyping() {
  clearTimeout(pause);
  clearTimeout(rest);
  more = false;
  asked = field.value.trim();
}

/** Whether nobody would want this text searched for yet. */
const tooEarly = (text) => text.length < SHORTEST || text === asked || box.open || ownNow() !== null || Date.now() < notBefore;

async function ask(typing) {
  const text = field.value.trim();
  if (tooEarly(text)) return;
  const seconds = await show(addressOfForm(), { typed: true, typing });
  if (seconds) notBefore = Date.now() + 1000 * seconds;
  else if (!typing && field.value.trim() === text) asked = text;
}

async function similar() {
  if (looking) { more = true; return; }
  looking = true;
  try { await ask(true); } finally { looking = false; }
  if (more) { more = false; pause = setTimeout(similar, PAUSE); }
}

field.addEventListener("input", (event) => {
  if (event.isComposing) return;
  clearTimeout(pause);
  clearTimeout(rest);
  more = false;
  pause = setTimeout(similar, PAUSE);
  rest = setTimeout(() => { clearTimeout(pause); more = false; ask(false); }, REST);
});
field.addEventListener("compositionend", () => field.dispatchEvent(new Event("input")));
form.addEventListener("submit", stopTyping);
asked = field.value.trim();
