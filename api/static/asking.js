// In the lightbox: ask about this picture. What was answered stays with the picture until the page goes.
import { make, percent, root } from "./dom.js";

const told = new Map();

/** A field and the answers to it, for one picture. */
export function questions(hit, collection) {
  const asked = told.get(hit.file) ?? [];
  told.set(hit.file, asked);
  const answers = make("ol", { class: "answers", "aria-live": "polite" }, ...asked.map((one) => line(one)));
  const field = make("input", {
    type: "text", name: "question", maxlength: 2000, autocomplete: "off", enterkeyhint: "send",
    placeholder: "Ask about this picture", "aria-label": "Ask about this picture",
  });
  const form = make("form", { class: "question" }, field, make("button", { type: "submit" }, "Ask"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const question = field.value.trim();
    if (!question) return;
    field.value = "";
    const one = { question, answer: null, probability: null, wrong: null };
    asked.push(one);
    const place = answers.appendChild(line(one));
    Object.assign(one, await answer(`${root}/v1/collections/${encodeURIComponent(collection)}/ask`, question, hit.id));
    place.replaceWith(line(one));
  });
  return make("section", { class: "asking", "aria-label": "Questions about this picture" }, form, answers);
}

async function answer(url, question, id) {
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ question, image_ids: [id] }),
    });
    const body = await response.json();
    if (!response.ok) return { wrong: body.detail ?? `The server answered ${response.status}.` };
    const [result] = body.results;
    return result.problem ? { wrong: result.problem } : { answer: result.answer, probability: result.probability };
  } catch {
    return { wrong: "The server does not answer." };
  }
}

function line({ question, answer, probability, wrong }) {
  const said = wrong ? make("p", { class: "wrong" }, wrong)
    : answer === null ? make("p", { class: "waiting" }, "…")
    : make("p", { class: "said" }, answer || "(no words)", make("small", { title: "Probability of this answer" }, percent(probability)));
  return make("li", {}, make("p", { class: "asked" }, question), said);
}
