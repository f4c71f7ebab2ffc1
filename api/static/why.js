// Why a picture matches: below the words that were asked for, what each contributed, and where it was seen in the picture.

import { $, box, make, percent, root } from "./dom.js";
import { paint, pieces, why } from "./heat.js";

const REST = 400, CELLS = 640;
const calm = matchMedia("(prefers-reduced-motion: reduce)");
let wanted = false;  // once somebody asked why, further pictures tell it by themselves when they rest

/** What the words of this search are: one text, or each clause that says what is wanted. */
export const texts = () => JSON.parse($(".status").dataset.texts || "[]");

/** The part of the lightbox that tells why; null where nothing was asked in words. */
export function reasons(hit) {
  const asked = texts(), { collection } = $(".status").dataset;
  cover(null);
  if (!asked.length || !collection) return null;
  const told = make("div", { class: "told" });
  const button = make("button", { type: "button", name: "why", class: "ask-why", "aria-expanded": String(wanted) }, "Why?");
  const part = make("section", { class: "why", "aria-label": "Why this picture matches" }, button, told);
  button.addEventListener("click", () => {
    wanted = !wanted;
    button.setAttribute("aria-expanded", String(wanted));
    if (wanted) tell(part, told, collection, hit, asked); else { told.replaceChildren(); cover(null); }
  });
  if (wanted) setTimeout(() => { if (part.isConnected && box.open && wanted) tell(part, told, collection, hit, asked); }, REST);
  return part;
}

async function tell(part, told, collection, hit, asked) {
  if (told.hasChildNodes()) return;
  told.append(make("p", { class: "waiting", role: "status" }, "Looking …"));
  try {
    const found = await Promise.all(asked.map((text) => why(root, collection, hit.id, text)));
    if (!part.isConnected || !wanted) return;
    told.replaceChildren(...found.flatMap((one, at) => lines(one, asked[at])));
    $(".whole", told)?.click();
  } catch (error) {
    if (part.isConnected) told.replaceChildren(make("p", { class: "wrong", role: "alert" }, error.message));
  }
}

/** One text: its words as buttons that show where each was seen, all of it as one more, and what the chosen one did. */
function lines(explanation, text) {
  const result = make("p", { class: "without", "aria-hidden": "true" });
  const line = make("p", { class: "words", role: "group", "aria-label": `Words of “${text}”` });
  const choose = (button, heat, words) => {
    const show = () => { cover(heat, words); result.textContent = words; };
    const press = () => {
      for (const other of box.querySelectorAll(".why [aria-pressed]")) other.setAttribute("aria-pressed", String(other === button));
      show();
    };
    button.addEventListener("click", press);
    button.addEventListener("focus", show);
    button.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") show(); });
    button.addEventListener("pointerleave", () => $('.why [aria-pressed="true"]', box)?.dispatchEvent(new Event("again")));
    button.addEventListener("again", show);
    return button;
  };
  const all = `all of it: ${percent(explanation.match_probability)}`;
  for (const { text: said, word } of pieces(text, explanation.words)) {
    if (!word) { line.append(said); continue; }
    const words = word.probability_without === null ? `“${word.word}” is all there is` : `without “${word.word}”: ${percent(word.probability_without)}`;
    const button = make("button", { type: "button", name: "why", "aria-pressed": "false", "aria-label": `${word.word}, ${words}` }, said);
    button.style.setProperty("--p", Math.max(0, word.drop ?? 0));
    line.append(choose(button, word.heat, words));
  }
  const whole = make("button", { type: "button", name: "why", class: "whole", "aria-pressed": "false", "aria-label": `The whole text, ${all}` }, "the whole text");
  return [line, make("p", { class: "under" }, choose(whole, explanation.heat, all), result)];
}

/** Lay a heat over the picture; null: none. What it says is in the words beside it. */
function cover(heat) {
  const old = $(".stage canvas", box), image = $(".stage img", box);
  if (heat === null) { old?.remove(); return; }
  const ratio = Number(image.style.getPropertyValue("--r")) || 1;
  const canvas = make("canvas", { width: CELLS, height: Math.max(1, Math.round(CELLS / ratio)), "aria-hidden": "true" });
  for (const name of ["--w", "--r"]) canvas.style.setProperty(name, image.style.getPropertyValue(name));
  paint(canvas, heat);
  if (old) old.replaceWith(canvas); else image.after(canvas);
  if (!old && !calm.matches) canvas.animate([{ opacity: 0 }, {}], { duration: 250, easing: "ease-out" });
}
