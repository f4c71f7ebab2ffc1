// The theme: as the system, light or dark, kept in a cookie.

import { $, root, say } from "./dom.js";

const THEMES = ["", "light", "dark"], NAMES = { "": "as the system", light: "light", dark: "dark" };
const theme = $("#theme");
function nameTheme() {
  const now = NAMES[document.documentElement.dataset.theme ?? ""];
  $("span", theme).textContent = `Theme: ${now}`;
  theme.title = `Theme: ${now}`;
}
theme.addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "") + 1) % THEMES.length];
  if (next) document.documentElement.dataset.theme = next; else delete document.documentElement.dataset.theme;
  document.cookie = `theme=${next}; path=${root || "/"}; max-age=31536000; samesite=lax`;
  nameTheme();
  say(theme.title);
});

theme.hidden = false;
nameTheme();
