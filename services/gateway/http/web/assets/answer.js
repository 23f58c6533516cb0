// One question and its answer, as it is shown while it is written and after.

import { icon, iconButton, make, say, textButton } from "./dom.js";
import { feedbackFor } from "./feedback.js";
import { draw, readable } from "./markdown.js";
import { openPassage } from "./passage.js";
import { receiptOf } from "./receipt.js";
import { openRetrieval } from "./retrieval.js";
import { sourceList } from "./source_list.js";
import { count, place } from "./words.js";

const STAGES = {
  cache: "Looking for an earlier answer",
  rewriting: "Rewriting the question",
  embedding: "Understanding the question",
  retrieval: "Searching the documents",
  generation: "Writing",
  extraction: "Picking sentences",
};
const ENDS = {
  length: "The answer was cut at its longest length.",
  no_context: "Nothing in the documents is close enough to this question. Try other words, or add a document about it.",
};

const SHOWN_BY = {
  accepted: "_accepted",
  progress: "_progress",
  sources: "_showSources",
  token: "_token",
  citation: "_citation",
  notice: "_notice",
  usage: "_usage",
  done: "_done",
  error: "_error",
};

export class Turn {
  /** A question that was just asked; `again` asks it once more. */
  constructor(question, again) {
    this.question = question;
    this.text = "";
    this.isDone = false;
    this.sources = [];
    this.cited = new Set();
    this._again = again;
    this._marks = new Map();
    this._units = { points: 0, at: 0 };
    this._stage = make("p", { class: "stage" }, make("span", { class: "pulse", "aria-hidden": "true" }), make("span", {}, "Asking"));
    this._notices = make("div", { class: "notices" });
    this._sources = make("div", { class: "sources" });
    this._body = make("div", { class: "text", dir: "auto" });
    this._end = make("div", { class: "end" });
    this.root = make(
      "article",
      { class: "turn", "aria-busy": "true", "aria-label": `Answer to: ${question}` },
      make("h3", { class: "asked", dir: "auto" }, question),
      this._stage,
      this._sources,
      this._notices,
      this._body,
      this._end,
    );
  }

  /** Show one event of the answer. */
  take({ name, data }) {
    const show = SHOWN_BY[name];
    if (show) this[show](data);
  }

  /** Show that the one who asked stopped it. */
  stopped() {
    this._finish();
    this._end.append(note("You stopped this answer.", "info"));
    say("Stopped.");
  }

  /** Show what went wrong. */
  failed(problem) {
    this._finish();
    const words = [make("p", {}, problem.message)];
    const id = problem.requestId || this.requestId;
    if (id) words.push(make("p", { class: "fine" }, "Request ", make("code", {}, id)));
    const card = make("div", { class: "failed", role: "alert" }, ...words);
    card.append(textButton("Ask again", "plain", () => this._again(this.question), "retry"));
    this._end.append(card);
  }

  _accepted(data) {
    this.answerId = data.answer_id;
    this.requestId = data.request_id;
  }

  _progress(data) {
    const words = STAGES[data.stage] || "Working";
    this._stage.lastElementChild.textContent = `${words}…`;
    say(words);
  }

  _showSources(data) {
    this.sources = data.sources;
    if (!data.sources.length) return;
    this._sources.append(sourceList(data.sources, (source, from) => openPassage(source, null, from)));
    say(`${count(data.sources.length, "passage")} found.`);
  }

  _token(data) {
    this.text += data.text;
    this._drawSoon();
  }

  _citation(data) {
    const source = this.sources.find((one) => one.number === data.number);
    const from = this._unit(data.char_start);
    this._marks.set(from, { end: this._unit(data.char_end), make: () => this._button(data, source) });
    this.cited.add(data.number);
    this._drawSoon();
  }

  _notice(data) {
    this._notices.append(note(data.message || data.code, "warn", "notice"));
    say(data.message || data.code);
  }

  _usage(data) {
    this.usage = data;
  }

  _done(data) {
    this.isDone = true;
    this._finish();
    if (ENDS[data.finish_reason]) this._end.append(note(ENDS[data.finish_reason], "info"));
    this._end.append(this._acts());
    if (this.usage) this._end.append(receiptOf(this.usage));
    for (const chip of this._sources.querySelectorAll("[data-number]")) {
      chip.classList.toggle("is-cited", this.cited.has(Number(chip.dataset.number)));
    }
    say(`The answer is complete, with ${count(this._marks.size, "citation")}. ${this._body.textContent}`);
  }

  _error(data) {
    this.failed({ message: data.message, requestId: this.requestId });
  }

  _finish() {
    cancelAnimationFrame(this._drawing);
    this._drawing = 0;
    this._draw();
    this._stage.remove();
    this.root.removeAttribute("aria-busy");
  }

  _acts() {
    const bar = make("div", { class: "acts" });
    if (this.answerId) bar.append(feedbackFor(this.answerId, bar));
    if (navigator.clipboard && this.text) bar.append(iconButton("copy", "Copy the answer", () => this._copy()));
    if (this.sources.length) {
      const open = textButton("How it was found", "tool", () => openRetrieval(this, open), "layers");
      bar.append(open);
    }
    return bar;
  }

  async _copy() {
    try {
      await navigator.clipboard.writeText(readable(this.text));
      say("Copied.");
    } catch {
      say("The browser did not allow copying.");
    }
  }

  _button(citation, source) {
    const where = [`Citation of source ${citation.number}`, source?.title, place(citation.page)].filter(Boolean).join(", ");
    const button = make("button", { type: "button", class: "cite", "aria-label": where, title: where }, String(citation.number));
    button.addEventListener("click", () => source && openPassage(source, citation, button));
    return button;
  }

  _drawSoon() {
    this._drawing ||= requestAnimationFrame(() => {
      this._drawing = 0;
      this._draw();
    });
  }

  _draw() {
    draw(this._body, this.text, this._marks);
  }

  /** Return the place in the text of a code point, which the server counts by. The places asked for never go back. */
  _unit(point) {
    const units = this._units;
    if (point < units.points) Object.assign(units, { points: 0, at: 0 });
    while (units.points < point && units.at < this.text.length) {
      units.at += this.text.codePointAt(units.at) > 0xffff ? 2 : 1;
      units.points += 1;
    }
    return units.at;
  }
}

function note(words, drawing, look = "") {
  return make("p", { class: `note ${look}` }, icon(drawing), make("span", {}, words));
}
