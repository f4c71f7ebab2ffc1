// The card in the corner that tells what becomes of pictures that are being added.

import { $, make } from "./dom.js";
import { go } from "./searching.js";

const tray = $("#tray");  // not there for a key that may not write

export function traySay(title, files) {
  const heading = make("h2", {}, title), text = make("p", { role: "status" }, "Sending …");
  const bar = make("span", { class: "meter", "aria-hidden": "true" }, make("i"));
  const cross = make("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, make("path", { d: "M4 4l8 8M12 4l-8 8" }));
  const shut = make("button", { type: "button", "aria-label": "Close", onclick: () => { tray.hidden = true; } }, cross);
  const thumbs = make("div", { class: "thumbs", "aria-hidden": "true" }, ...files.slice(0, 7).map((file) => {
    const image = make("img", { alt: "", src: URL.createObjectURL(file) });
    image.onload = () => URL.revokeObjectURL(image.src);
    image.onerror = () => image.remove();
    return image;
  }));
  const errors = make("ul", {});
  const note = $(".status")?.dataset.note;
  tray.replaceChildren(make("header", {}, heading, shut), bar, text, ...(note ? [make("p", { class: "model-note" }, note)] : []), thumbs, errors);
  tray.hidden = false;
  const fill = (part) => bar.firstChild.style.setProperty("--p", part);
  fill(0.02);
  let seen = 0;
  return {
    progress(done, total) { seen = done; fill(Math.max(done / total, 0.02)); text.textContent = `${done} of ${total} seen by the model`; },
    waiting() { if (!seen) text.textContent = "Received; waiting for a worker to look at them"; },
    done(sum, failures, address) {
      fill(1);
      heading.textContent = sum.indexed + sum.replaced ? "Added" : failures.length ? "Nothing was added" : "Already here";
      const words = [[sum.indexed, "new"], [sum.replaced, "replaced"], [sum.unchanged, "already here"], [sum.failed, "could not be read"]];
      text.textContent = words.filter(([count]) => count).map(([count, word]) => `${count} ${word}`).join(" · ");
      if (sum.indexed + sum.replaced) text.append(" · ", make("a", { href: address, onclick: (event) => { event.preventDefault(); go(address); } }, "look at them"));
      errors.replaceChildren(...failures.map((item) => make("li", {}, make("b", {}, item.id), ` ${item.detail}`)));
      if (!failures.length) setTimeout(() => { if (heading.isConnected) tray.hidden = true; }, 12000);
    },
    failed(message) { heading.textContent = "That did not work"; text.textContent = message; bar.hidden = true; },
  };
}
