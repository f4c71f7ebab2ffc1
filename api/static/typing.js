// While somebody types: what is most similar at once, and ITM's order when the typing rests. The focus stays where it is.

import { addressOfForm } from "./asked.js";
import { box, field, form } from "./dom.js";
import { ownNow, show } from "./searching.js";

const PAUSE = 150, LONGEST = 450, REST = 600, SHORTEST = 2;
let pause = 0, rest = 0, since = 0;  // since when something new waits for a pause, or for LONGEST
let looking = false, more = false;  // one search at a time; what is typed meanwhile is the next
let asked = "", notBefore = 0;

/** Forget what was typed: something else is asked now. */
export function stopTyping() {
  clearTimeout(pause);
  clearTimeout(rest);
  more = false;
  since = 0;
  asked = field.value.trim();
}

/** Says only what is not wanted, so far. */
const WITHOUT = /^([-−–‐‑﹣－]("[^"]*"?|\S*)\s*)+$/;

/** Whether nobody would want this text searched for yet. */
const tooEarly = (text) => text.length < SHORTEST || WITHOUT.test(text) || text === asked || box.open || ownNow() !== null || Date.now() < notBefore;

async function ask(typing) {
  const text = field.value.trim();
  if (tooEarly(text)) return;
  const seconds = await show(addressOfForm(), { typed: true, typing });
  if (seconds) notBefore = Date.now() + 1000 * seconds;
  else if (!typing && field.value.trim() === text) asked = text;
}

async function similar() {
  since = 0;
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
  since ||= Date.now();
  pause = setTimeout(similar, Math.max(0, Math.min(PAUSE, since + LONGEST - Date.now())));
  rest = setTimeout(() => { clearTimeout(pause); more = false; since = 0; ask(false); }, REST);
});
field.addEventListener("compositionend", () => field.dispatchEvent(new Event("input")));
form.addEventListener("submit", stopTyping);
asked = field.value.trim();
