// The API key: asked for when the server wants one, kept in this tab's storage only.

import { byId, say } from "./dom.js";

const STORED = "ragmesh.key";
let memory = "";
let asking = null;
let isAskedFor = false;
const listeners = [];

/** Return the headers that carry the key; none without one. */
export function keyHeaders() {
  const key = stored();
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** Call back when somebody signed in (true) or out (false). */
export function onKeyChange(listener) {
  listeners.push(listener);
}

/** Ask for a key, once for all who need one; return whether there is another than the `refused` one now. */
export function askForKey(refused = "") {
  isAskedFor = true;
  if (keyHeaders().Authorization && keyHeaders().Authorization !== refused) return Promise.resolve(true);
  asking ??= openDialog(refused).finally(() => {
    asking = null;
    showState();
  });
  return asking;
}

/** Make the buttons of the header work. */
export function startKey() {
  byId("enter-key").addEventListener("click", () => askForKey().then((is) => is && tell(true)));
  byId("sign-out").addEventListener("click", () => {
    store("");
    isAskedFor = true;
    showState();
    say("You are signed out.");
    tell(false);
  });
  showState();
}

function openDialog(refused) {
  const dialog = byId("key-dialog");
  const input = byId("key");
  input.value = "";
  showError(refused ? "Your key is not accepted any more: it may have expired or been revoked." : "");
  if (refused) store("");
  dialog.showModal();
  input.focus();
  return new Promise((resolve) => {
    const ends = new AbortController();
    const end = (found) => {
      ends.abort();
      input.value = "";
      dialog.close();
      resolve(found);
    };
    const on = (id, name, act) => byId(id).addEventListener(name, act, { signal: ends.signal });
    on("key-dialog", "cancel", () => end(false));
    on("key-cancel", "click", () => end(false));
    on("key-form", "submit", async (event) => {
      event.preventDefault();
      if (await isAccepted(input.value.trim())) end(true);
    });
  });
}

async function isAccepted(key) {
  const submit = byId("key-submit");
  if (!key || submit.disabled) return false;
  if (!/^[\x21-\x7e]+$/.test(key)) {
    showError("A key has no spaces and only plain letters, digits and signs.");
    return false;
  }
  submit.disabled = true;
  try {
    const sent = { headers: { Authorization: `Bearer ${key}` }, cache: "no-store", credentials: "omit" };
    const response = await fetch("/v1/documents?page_size=1", sent);
    // Any other refusal comes after the key was known.
    if (response.status === 401 || response.status === 429) {
      const body = await response.json().catch(() => ({}));
      showError(response.status === 401 ? "This key is not accepted. Check that it is whole." : body.detail || "Too many attempts.");
      return false;
    }
    store(key);
    say("You are signed in.");
    return true;
  } catch {
    showError("The server cannot be reached.");
    return false;
  } finally {
    submit.disabled = false;
  }
}

function showError(words) {
  byId("key-error").textContent = words;
  byId("key").setAttribute("aria-invalid", words ? "true" : "false");
  if (words) byId("key").select();
}

function showState() {
  byId("sign-out").hidden = !stored();
  byId("enter-key").hidden = Boolean(stored()) || !isAskedFor;
}

function tell(isIn) {
  for (const listener of listeners) listener(isIn);
}

function stored() {
  try {
    return sessionStorage.getItem(STORED) || memory;
  } catch {
    return memory; // storage may be forbidden
  }
}

function store(key) {
  memory = key;
  try {
    if (key) sessionStorage.setItem(STORED, key);
    else sessionStorage.removeItem(STORED);
  } catch {
    // it is kept until the page is left
  }
}
