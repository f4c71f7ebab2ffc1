// The page works without this: with it, a verdict is given without reloading.
const root = document.body.dataset.root;
const say = (text) => { document.querySelector("#say").textContent = text; };

async function decide(form, verdict) {
  const values = new FormData(form);
  const url = `${root}/v1/collections/${encodeURIComponent(values.get("collection"))}/texts/${values.get("text")}/verdict`;
  const asked = verdict === "withdraw" ? { method: "DELETE" }
    : { method: "PUT", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ verdict }) };
  const answer = await fetch(url, asked);
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail ?? `status ${answer.status}`);
  return answer.json();
}

function show(row, text) {
  row.dataset.verdict = text.verdict;
  for (const button of row.querySelectorAll("button")) {
    if (button.value === "withdraw") { button.hidden = !text.overruled; continue; }
    if (button.value === text.verdict) button.setAttribute("aria-pressed", "true");
    else button.removeAttribute("aria-pressed");
  }
  const facts = row.querySelector(".facts"), mark = facts.querySelector(".warn");
  if (text.overruled && !mark) {
    const made = document.createElement("span");
    made.className = "warn";
    made.textContent = "decided by a person";
    facts.append(made);
  } else if (!text.overruled) mark?.remove();
  say(text.verdict === "kept" ? "Kept." : text.verdict === "dropped" ? "Dropped." : "Not judged.");
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches(".verdict") || !event.submitter) return;
  event.preventDefault();
  const row = form.closest(".text");
  row.setAttribute("aria-busy", "true");
  try {
    show(row, await decide(form, event.submitter.value));
  } catch (error) {
    say(`That did not work: ${error.message}`);
    let said = row.querySelector("[role=alert]");
    if (!said) {
      said = document.createElement("p");
      said.setAttribute("role", "alert");
      said.className = "warn";
      row.querySelector(".facts").append(said);
    }
    said.textContent = error.message;
  } finally {
    row.removeAttribute("aria-busy");
  }
});
