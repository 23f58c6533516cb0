// The stored documents: what there is, and how to delete one.

import { call, callJson } from "./api.js";
import { confirmed } from "./confirm.js";
import { byId, iconButton, make, say, textButton } from "./dom.js";
import { count, kind, moment, size } from "./words.js";

const PAGE = 50;
let next = "";
let shown = 0;
let asked = 0;
let isLoaded = false;

/** Load the first page of the documents anew. */
export async function loadDocuments() {
  const mine = ++asked;
  if (!shown) showState(make("p", { class: "quiet" }, "Loading…"));
  try {
    const page = await callJson(`/v1/documents?page_size=${PAGE}`);
    if (mine !== asked) return; // a later call knows better
    byId("library").replaceChildren();
    shown = 0;
    isLoaded = true;
    append(page);
  } catch (problem) {
    if (mine === asked) fail(problem, loadDocuments);
  }
}

/** Forget what is shown: somebody else may sign in. */
export function forgetDocuments() {
  asked += 1;
  shown = 0;
  isLoaded = false;
  byId("library").replaceChildren();
  showCount();
  showState(make("p", { class: "quiet" }, "Enter a key to see the documents."));
}

async function loadMore() {
  const mine = asked;
  try {
    const page = await callJson(`/v1/documents?page_size=${PAGE}&page_token=${encodeURIComponent(next)}`);
    if (mine === asked) append(page);
  } catch (problem) {
    if (mine === asked) fail(problem, loadMore);
  }
}

function append(page) {
  byId("library").append(...page.documents.map(row));
  shown += page.documents.length;
  next = page.next_page_token;
  if (next) showState(textButton("Show more", "plain wide-button", loadMore));
  else if (!shown) showState(empty());
  else showState();
  showCount();
}

function row(document) {
  const name = document.title || document.name;
  const facts = [
    document.page_count ? count(document.page_count, "page") : "",
    count(document.passage_count, "passage"),
    document.version > 1 ? `version ${document.version}` : "",
  ];
  const when = [size(document.size_bytes), moment(document.updated_at)];
  const item = make(
    "li",
    { class: "document", "data-id": document.id },
    make("span", { class: "kind", "aria-hidden": "true" }, kind(document.name, document.media_type)),
    make(
      "div",
      { class: "document-words" },
      make("p", { class: "document-name", title: name === document.name ? name : `${name} (${document.name})` }, name),
      make("p", { class: "fine" }, facts.filter(Boolean).join(" · ")),
      make("p", { class: "fine" }, when.filter(Boolean).join(" · ")),
    ),
  );
  item.append(iconButton("trash", `Delete ${name}`, () => remove(item, document.id, name), "tool icon-only delete"));
  return item;
}

async function remove(item, id, name) {
  const text = "No answer will quote it any more, and its text is erased from the index, the caches and the disk.";
  if (!(await confirmed(`Delete “${name}”?`, text, "Delete"))) return;
  item.setAttribute("aria-busy", "true");
  try {
    await call(`/v1/documents/${encodeURIComponent(id)}`, { method: "DELETE" }).catch((problem) => {
      if (problem.status !== 404) throw problem; // somebody else was first
    });
    const neighbour = item.nextElementSibling || item.previousElementSibling;
    item.remove();
    shown -= 1;
    say(`Deleted ${name}.`);
    (neighbour?.querySelector(".delete") || byId("documents-title")).focus();
    if (!shown && !next) showState(empty());
    showCount();
  } catch (problem) {
    item.removeAttribute("aria-busy");
    fail(problem, loadDocuments);
  }
}

function empty() {
  return make(
    "div",
    { class: "empty" },
    make("p", {}, "No documents yet."),
    make("p", { class: "fine" }, "Add a file above: it can be asked about as soon as it is read."),
  );
}

function fail(problem, again) {
  const words = make("p", {}, problem.message);
  showState(make("div", { class: "failed", role: "alert" }, words, textButton("Try again", "plain", () => again(), "retry")));
}

function showState(...children) {
  byId("library-state").replaceChildren(...children);
}

function showCount() {
  byId("document-count").textContent = shown ? `${shown}${next ? "+" : ""}` : "";
  document.body.toggleAttribute("data-is-empty", isLoaded && !shown && !next);
}
