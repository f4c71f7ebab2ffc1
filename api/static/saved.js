// Saved searches: save the present one, look at those of the collection, open one, remove one.

import { $, form, make, results, root, say } from "./dom.js";
import { go } from "./searching.js";
import { whole } from "./threshold.js";

const menu = $("#saved");
const collection = () => $(".status").dataset.collection || form.elements.collection.value;
const address = (rest = "") => `${root}/v1/collections/${encodeURIComponent(collection())}/saved-searches${rest}`;

/** The answer; an Error with the problem's sentence. */
async function call(url, options) {
  const answer = await fetch(url, options).catch(() => { throw new Error("The server does not answer."); });
  if (answer.status === 204) return null;
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.detail ?? `The server answered ${answer.status}.`);
  return body;
}

async function list() {
  const panel = $(".panel", menu);
  try {
    const { items } = await call(address());
    const none = make("p", {}, "None yet. Search, drag the threshold along the line, and save it.");
    panel.replaceChildren(items.length ? make("ul", {}, ...items.map(line)) : none);
  } catch (error) {
    panel.replaceChildren(make("p", { class: "wrong" }, error.message));
  }
}

function line({ name, text, min_probability: least, members, pending, trouble }) {
  const query = new URLSearchParams({ collection: collection(), saved: name });
  const link = make("a", { href: `${root}/?${query}` }, name);
  link.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    menu.open = false;
    go(link.href);
  });
  const waits = pending ? `, ${pending.toLocaleString("en")} to be judged yet` : "";
  const facts = make("small", {}, `“${text}” at ${whole(least)} · ${members.toLocaleString("en")} picture${members === 1 ? "" : "s"}${waits}`);
  const item = make("li", {}, make("p", {}, link, facts, ...(trouble ? [make("small", { class: "wrong" }, trouble)] : [])));
  if (menu.dataset.writes) item.append(removal(name));
  return item;
}

/** A button that asks once more before it removes. */
function removal(name) {
  const button = make("button", { type: "button", "aria-label": `Remove ${name}` }, "Remove");
  button.addEventListener("click", async () => {
    if (!button.dataset.sure) {
      button.dataset.sure = "yes";
      button.textContent = "Really?";
      button.setAttribute("aria-label", `Really remove ${name}? No picture is touched`);
      return;
    }
    try {
      await call(address(`/${encodeURIComponent(name)}`), { method: "DELETE" });
      say(`${name} is removed.`);
      await list();
      $("summary", menu).focus();
    } catch (error) {
      button.replaceWith(make("small", { class: "wrong", role: "alert" }, error.message));
    }
  });
  button.addEventListener("blur", () => {
    delete button.dataset.sure;
    button.textContent = "Remove";
    button.setAttribute("aria-label", `Remove ${name}`);
  });
  return button;
}

async function save(keep) {
  const wrong = $(".wrong", keep), name = $("input", keep).value.trim();
  const body = { name, text: keep.dataset.text, min_probability: Number(keep.dataset.min) };
  try {
    await call(address(), { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    say(`Saved as ${name}.`);
    keep.open = false;
    keep.replaceChildren(make("summary", {}, `Saved as ${name}`));
  } catch (error) {
    wrong.textContent = error.message;
    $("input", keep).setAttribute("aria-invalid", "true");
  }
}

/** A name that its text could have. */
const named = (text) => text.normalize("NFD").replace(/[^A-Za-z0-9]+/g, "-").replace(/^-+|-+$/g, "").toLowerCase().slice(0, 63);

menu?.addEventListener("toggle", () => { if (menu.open) list(); });
results.addEventListener("toggle", (event) => {
  const keep = event.target;
  if (keep.id !== "keep" || !keep.open) return;
  const input = $("input", keep);
  if (input && !input.value) input.value = named(keep.dataset.text);
  input?.select();
}, true);
results.addEventListener("submit", (event) => {
  const keep = event.target.closest("#keep");
  if (keep) { event.preventDefault(); save(keep); }
});
