// Calls of the API: with the key, and with errors as the server words them.

import { askForKey, keyHeaders } from "./key.js";

/** What the server refused, or that it could not be reached. */
export class Problem extends Error {
  constructor(body, status) {
    super(body.detail || "Something went wrong.");
    this.status = status;
    this.reason = body.reason || "";
    this.requestId = body.request_id || "";
    this.mayRetry = status === 0 || status === 429 || status >= 500;
  }
}

/** Return the problem that an answer's JSON tells of. */
export function problemOf(body, status) {
  return new Problem({ detail: `The server answered ${status}.`, ...body }, status);
}

/** Return the problem of a server that did not answer. */
export function unreachable() {
  return new Problem({ detail: "The server cannot be reached. Is it running, and are you online?", reason: "UNREACHABLE" }, 0);
}

/**
 * Call the API; return the response when it is a good one.
 * @throws {Problem} else; an AbortError when the signal said so.
 */
export async function call(path, { method = "GET", json, headers = {}, signal } = {}) {
  const options = {
    method,
    signal,
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
    body: json === undefined ? undefined : JSON.stringify(json),
  };
  for (;;) {
    const sent = { ...headers, ...keyHeaders() };
    if (json !== undefined) sent["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(path, { ...options, headers: sent });
    } catch (error) {
      throw error.name === "AbortError" ? error : unreachable();
    }
    if (response.ok) return response;
    const problem = problemOf(await response.json().catch(() => ({})), response.status);
    if (problem.status !== 401 || !(await askForKey(sent.Authorization))) throw problem;
  }
}

/** Call the API; return the JSON of its answer. */
export async function callJson(path, options) {
  return (await call(path, options)).json();
}
