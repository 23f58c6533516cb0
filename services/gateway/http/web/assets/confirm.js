// A question before what cannot be undone.

import { byId } from "./dom.js";

/** Ask; return whether the answer was yes. The focus returns to where it was. */
export function confirmed(title, text, yes) {
  const dialog = byId("confirm-dialog");
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = text;
  byId("confirm-yes").textContent = yes;
  dialog.showModal();
  byId("confirm-no").focus();
  return new Promise((resolve) => {
    const ends = new AbortController();
    let answer = false;
    const on = (id, name, act) => byId(id).addEventListener(name, act, { signal: ends.signal });
    on("confirm-yes", "click", () => {
      answer = true;
      dialog.close();
    });
    on("confirm-no", "click", () => dialog.close());
    on("confirm-dialog", "close", () => {
      ends.abort();
      resolve(answer);
    });
  });
}
