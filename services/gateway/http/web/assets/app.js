// The page: starts its parts, and what concerns more than one of them.

import { startAsking, startOver, stop } from "./ask.js";
import { forgetDocuments, loadDocuments } from "./documents.js";
import { byId } from "./dom.js";
import { closeInspector, startInspector } from "./inspector.js";
import { onKeyChange, startKey } from "./key.js";
import { forgetUploads, resumeJobs, startUploads } from "./uploads.js";

function startViews() {
  const show = (name) => {
    document.body.dataset.view = name;
    for (const other of ["ask", "documents"]) byId(`view-${other}`).setAttribute("aria-pressed", String(other === name));
  };
  for (const name of ["ask", "documents"]) byId(`view-${name}`).addEventListener("click", () => show(name));
  // On a phone what was chosen is watched in the other view.
  byId("files").addEventListener("change", () => show("documents"));
}

function startEscape() {
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog:modal")) return;
    if (!closeInspector()) stop();
  });
}

async function load() {
  await loadDocuments();
  // A key that may not ingest has no jobs to show; the documents say what is wrong with any other.
  await resumeJobs().catch(() => {});
}

startKey();
startViews();
startEscape();
startInspector();
startAsking();
startUploads(loadDocuments);
onKeyChange((isIn) => {
  if (isIn) return load();
  startOver();
  closeInspector();
  forgetUploads();
  return forgetDocuments();
});
load();
// On a phone that would bring up the keyboard over half of the page.
if (matchMedia("(hover: hover)").matches) byId("question").focus({ preventScroll: true });
