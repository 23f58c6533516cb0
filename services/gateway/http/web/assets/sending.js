// One file over the wire: XMLHttpRequest, because fetch does not tell how much it has sent.

import { problemOf, unreachable } from "./api.js";
import { askForKey, keyHeaders } from "./key.js";

/**
 * Upload a file; return its job. `progress` hears the part that was sent, 0 to 1.
 * @throws {Problem} when it is refused; an AbortError when the signal said so.
 */
export async function sendFile(file, { signal, progress }) {
  const once = key(); // so that sending it again after a broken connection makes no second job
  for (;;) {
    const sent = keyHeaders();
    const answer = await post(file, { ...sent, "Idempotency-Key": once }, signal, progress);
    if (answer.status === 202) return answer.body;
    const refused = problemOf(answer.body, answer.status);
    if (refused.status !== 401 || !(await askForKey(sent.Authorization))) throw refused;
  }
}

function post(file, headers, signal, progress) {
  const form = new FormData();
  form.append("file", file, file.name);
  const request = new XMLHttpRequest();
  request.open("POST", "/v1/documents");
  request.responseType = "json";
  for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
  return new Promise((resolve, reject) => {
    const stopped = () => reject(new DOMException("The upload was stopped.", "AbortError"));
    if (signal.aborted) return stopped();
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.upload.addEventListener("progress", (event) => event.lengthComputable && progress(event.loaded / event.total));
    request.addEventListener("load", () => resolve({ status: request.status, body: request.response || {} }));
    request.addEventListener("error", () => reject(unreachable()));
    request.addEventListener("abort", stopped);
    request.send(form);
  });
}

function key() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
