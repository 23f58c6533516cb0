// The panel beside the conversation: a column on a wide screen, a sheet above the page on a narrow one.

import { byId, textButton } from "./dom.js";

const wide = matchMedia("(min-width: 1180px)");
let opener = null;

/** Make the panel close. */
export function startInspector() {
  const panel = byId("inspector");
  byId("close-inspector").addEventListener("click", () => panel.close());
  panel.addEventListener("close", () => {
    if (panel.open) return; // it was closed to be opened otherwise
    document.body.removeAttribute("data-inspecting");
    const isElsewhere = document.activeElement !== document.body && !panel.contains(document.activeElement);
    if (opener?.isConnected && !isElsewhere) opener.focus();
    opener = null;
  });
  // The sheet ends where its shadow begins: a press beside it closes it.
  panel.addEventListener("click", (event) => event.target === panel && panel.matches(":modal") && panel.close());
  wide.addEventListener("change", () => panel.open && show(panel));
}

/** Open the panel on something; the focus returns to `from` when it is closed. */
export function inspect(title, children, from) {
  const body = byId("inspector-body");
  if (body.contains(from)) children = [back(from), ...children];
  else opener = from;
  byId("inspector-title").textContent = title;
  body.replaceChildren(...children);
  body.scrollTop = 0;
  show(byId("inspector"));
  byId("inspector-title").focus({ preventScroll: true });
}

/** Close the panel when it is open as a column; tell whether it was. */
export function closeInspector() {
  const panel = byId("inspector");
  if (!panel.open || panel.matches(":modal")) return false; // a modal one closes by itself
  panel.close();
  return true;
}

/** Return a button that leads to what the panel shows now. */
function back(from) {
  const body = byId("inspector-body");
  const title = byId("inspector-title").textContent;
  const [kept, scrolled] = [[...body.childNodes], body.scrollTop];
  return textButton(`Back to “${title}”`, "link back", () => {
    byId("inspector-title").textContent = title;
    body.replaceChildren(...kept);
    body.scrollTop = scrolled;
    from.focus({ preventScroll: true });
  });
}

function show(panel) {
  if (panel.open && panel.matches(":modal") !== wide.matches) return;
  if (panel.open) panel.close();
  if (wide.matches) panel.show();
  else panel.showModal();
  document.body.toggleAttribute("data-inspecting", true);
}
