// Thumbs: what somebody thinks of an answer, with a word about it if they like.

import { call } from "./api.js";
import { iconButton, make, say, submitButton, textButton } from "./dom.js";

const MOST = 2000;

/** Return the thumbs of an answer. */
export function feedbackFor(answerId, bar) {
  let form = null;
  const up = iconButton("up", "Good answer", () => rate("up"));
  const down = iconButton("down", "Bad answer", () => rate("down"));
  const told = make("span", { class: "fine", role: "status" });
  const group = make("span", { class: "thumbs", role: "group", "aria-label": "What do you think of this answer?" }, up, down, told);
  show("");

  async function rate(rating, comment = "") {
    show(rating);
    told.textContent = "";
    try {
      await call("/v1/feedback", { method: "POST", json: { answer_id: answerId, rating, comment } });
    } catch (problem) {
      show("");
      close();
      told.textContent = problem.message;
      return;
    }
    if (comment) {
      close();
      told.textContent = "Thank you.";
      (rating === "up" ? up : down).focus();
    } else ask(rating);
  }

  function show(rating) {
    up.setAttribute("aria-pressed", String(rating === "up"));
    down.setAttribute("aria-pressed", String(rating === "down"));
  }

  function ask(rating) {
    close();
    const words = rating === "up" ? "What was good? (optional)" : "What was wrong? (optional)";
    const input = make("textarea", { rows: "2", maxlength: MOST, placeholder: words, "aria-label": words });
    const send = submitButton("Send", "main");
    form = make("form", { class: "comment" }, input, make("div", { class: "actions" }, textButton("No, thanks", "plain", close), send));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (input.value.trim()) rate(rating, input.value.trim());
      else close();
    });
    bar.after(form);
    say("Noted. You may add a comment.");
  }

  function close() {
    form?.remove();
    form = null;
  }

  return group;
}
