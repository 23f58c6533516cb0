// One file on its way in, as it is shown.

import { icon, iconButton, make, submitButton } from "./dom.js";
import { count, kind, left } from "./words.js";

const OVER = new Set(["ready", "failed", "dead", "cancelled"]);

/** Tell whether a job is at its end. */
export function isFinished(job) {
  return OVER.has(job.state);
}

export class UploadRow {
  /** A row for a file; `dismissed` and `changed` are called with it. */
  constructor(name, { dismissed, changed }) {
    this.name = name;
    this.job = null;
    this.isOver = false;
    this.onCancel = () => {};
    this.onRetry = () => {};
    this._leave = new AbortController();
    this.gone = this._leave.signal;
    this._dismissed = dismissed;
    this._changed = changed;
    this._part = 0;
    this._bar = make("progress", { max: "1", "aria-label": `Progress of ${name}` });
    this._words = make("p", { class: "fine upload-state" });
    this._acts = make("div", { class: "upload-acts" });
    this._more = make("div", { class: "upload-more" });
    this.root = make(
      "li",
      { class: "upload" },
      make("span", { class: "kind", "aria-hidden": "true" }, kind(name)),
      make("div", { class: "upload-words" }, make("p", { class: "document-name", title: name }, name), this._bar, this._words),
      this._acts,
      this._more,
    );
  }

  showWaiting() {
    this._part = 0;
    this._show("busy", "Waiting to be sent", 0);
  }

  showSending(part) {
    this._show("busy", part < 1 ? `Sending, ${Math.floor(part * 100)} %` : "Sent, being written to disk", part < 1 ? part : null);
  }

  showJob(job) {
    if (job.state !== this.job?.state) this._part = 0;
    this.job = job;
    const progress = job.progress || {};
    if (job.state === "queued") this._show("busy", "Waiting for a worker", null);
    else if (job.state === "running") this._show("busy", running(progress), this._furthest(progress));
    else if (job.state === "ready") this._show("ready", ready(job, progress), 1);
    else if (job.state === "cancelled") this.showCancelled();
    else this._showError(job.error || { message: "It could not be read.", reason: "" });
  }

  showCancelled() {
    this._show("stopped", "Cancelled: nothing of it is kept", null);
  }

  showProblem(problem) {
    this._showError({ message: problem.message, reason: problem.reason });
  }

  dismiss() {
    this._leave.abort();
    this.root.remove();
    this._dismissed(this);
  }

  _furthest(progress) {
    this._part = Math.max(this._part, part(progress));
    return this._part || null;
  }

  _showError(error) {
    this._show("failed", error.message, null);
    if (error.reason === "PDF_ENCRYPTED") this._more.append(this._password());
  }

  _show(state, words, value) {
    const hadFocus = this._acts.contains(document.activeElement);
    this.root.dataset.state = state;
    this._words.replaceChildren(words);
    if (state === "failed") this._words.prepend(icon("warn"));
    if (state === "ready") this._words.prepend(icon("check"));
    this._bar.hidden = state !== "busy";
    if (value === null) this._bar.removeAttribute("value");
    else this._bar.value = value;
    this.isOver = state !== "busy";
    if (this._acts.dataset.state !== state) this._showActs(state, hadFocus);
    this._changed(this);
  }

  _showActs(state, hadFocus) {
    this._acts.dataset.state = state;
    this._more.replaceChildren();
    const retry = () => iconButton("retry", `Try ${this.name} again`, () => this.onRetry());
    const remove = () => iconButton("cross", `Remove ${this.name} from this list`, () => this.dismiss());
    const cancel = () => iconButton("cross", `Cancel ${this.name}`, () => this.onCancel());
    const acts = { busy: [cancel], failed: [retry, remove], stopped: [remove], ready: [remove] }[state];
    this._acts.replaceChildren(...acts.map((build) => build()));
    if (hadFocus) this._acts.firstElementChild.focus();
  }

  _password() {
    const input = make("input", { type: "password", "aria-label": `Password of ${this.name}`, placeholder: "Its password", autocomplete: "off" });
    const form = make("form", { class: "password" }, input, submitButton("Open", "plain"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (input.value) this.onRetry(input.value);
    });
    return form;
  }
}

function part(progress) {
  if (!progress.pages_total) return 0;
  const read = progress.pages_done / progress.pages_total;
  const written = progress.passages ? progress.passages_indexed / progress.passages : 0;
  return read * (0.5 + 0.5 * written);
}

function running(progress) {
  const parts = [];
  if (progress.pages_total) parts.push(`Reading page ${Math.max(1, progress.pages_done)} of ${progress.pages_total}`);
  else parts.push(progress.passages ? "Reading" : "Opening");
  if (progress.passages) parts.push(`${count(progress.passages_indexed, "passage")} of ${progress.passages} in the index`);
  if (progress.seconds_left) parts.push(left(progress.seconds_left));
  return parts.join(" · ");
}

function ready(job, progress) {
  if (job.unchanged) return "Ready: it was here already, unchanged";
  const parts = ["Ready"];
  if (progress.pages_done) parts.push(count(progress.pages_done, "page"));
  if (progress.passages_indexed) parts.push(count(progress.passages_indexed, "passage"));
  if (progress.pages_skipped) parts.push(`${count(progress.pages_skipped, "page")} could not be read`);
  if (job.document_version > 1) parts.push(`version ${job.document_version}`);
  return parts.join(" · ");
}
