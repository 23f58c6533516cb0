// The passages an answer is made from, as a row of small buttons.

import { make, textButton } from "./dom.js";
import { place } from "./words.js";

const SHOWN = 4;

/** Return the list; `open` is called with a source and its button. */
export function sourceList(sources, open) {
  const list = make("ol", { class: "chips", "aria-label": "Sources" }, ...sources.map((source) => make("li", {}, chip(source, open))));
  if (sources.length <= SHOWN + 1) return list;
  const rest = [...list.children].slice(SHOWN);
  for (const item of rest) item.hidden = true;
  const more = textButton(`${rest.length} more`, "chip more", () => {
    for (const item of rest) item.hidden = false;
    more.parentElement.remove();
    rest[0].firstElementChild.focus();
  });
  more.setAttribute("aria-label", `Show ${rest.length} more sources`);
  list.append(make("li", {}, more));
  return list;
}

function chip(source, open) {
  const where = place(source.passage?.page);
  const words = `Source ${source.number}, ${[source.title, where].filter(Boolean).join(", ")}`;
  const button = make(
    "button",
    { type: "button", class: "chip", "data-number": source.number, "aria-label": words },
    make("span", { class: "number" }, String(source.number)),
    make("span", { class: "chip-title" }, source.title || "Untitled"),
    where ? make("span", { class: "chip-page" }, `p. ${source.passage.page}`) : null,
  );
  button.addEventListener("click", () => open(source, button));
  return button;
}
