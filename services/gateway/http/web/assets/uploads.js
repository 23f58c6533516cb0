// Files on their way in: sent two at a time, each watched until it is searchable.

import { call, callJson } from "./api.js";
import { byId, say } from "./dom.js";
import { eventsOf } from "./events.js";
import { sendFile } from "./sending.js";
import { isFinished, UploadRow } from "./upload_row.js";

// A browser has six connections to a server over HTTP/1.1: some must be left for questions.
const sending = slots(2);
const watching = slots(2);
const MOST_TRIES = 6;
const rows = new Set();
let whenReady = () => {};

/** Make the drop zone work; `ready` is called when a document became searchable. */
export function startUploads(ready) {
  whenReady = ready;
  const input = byId("files");
  for (const id of ["choose", "welcome-choose"]) byId(id).addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    addFiles([...input.files]);
    input.value = ""; // the same file may be chosen again
  });
  byId("clear-uploads").addEventListener("click", clearFinished);
  listenForDrops();
}

/** Watch the jobs that an earlier visit left running. */
export async function resumeJobs() {
  for (const state of ["running", "queued"]) {
    const { jobs } = await callJson(`/v1/jobs?state=${state}&page_size=20`);
    for (const job of jobs) {
      if (isFinished(job) || [...rows].some((row) => row.job?.id === job.id)) continue;
      const row = add(job.name);
      row.showJob(job);
      watch(row);
    }
  }
}

/** Forget what is shown, and stop sending: somebody else may sign in. */
export function forgetUploads() {
  for (const row of [...rows]) {
    if (!row.job) row.onCancel();
    row.dismiss();
  }
}

/** Upload files, each as a document of its own. */
function addFiles(files) {
  if (!files.length) return;
  say(files.length === 1 ? `Adding ${files[0].name}.` : `Adding ${files.length} files.`);
  for (const file of files) upload(add(file.name), file);
}

function add(name) {
  const row = new UploadRow(name, { dismissed: (gone) => (rows.delete(gone), showSection()), changed: showSection });
  steer(row);
  rows.add(row);
  byId("upload-list").append(row.root);
  showSection();
  return row;
}

/** Let the buttons of a row act on its job. */
function steer(row) {
  row.onCancel = () => cancelJob(row);
  row.onRetry = (password) => retryJob(row, password);
}

async function upload(row, file) {
  const ends = new AbortController();
  row.onCancel = () => ends.abort();
  row.onRetry = () => upload(row, file);
  row.showWaiting();
  try {
    row.showJob(await sending(() => sendFile(file, { signal: ends.signal, progress: (part) => row.showSending(part) }), ends.signal));
    steer(row);
    await watch(row);
  } catch (error) {
    if (error.name === "AbortError") row.showCancelled();
    else row.showProblem(error);
  }
}

async function watch(row) {
  await watching(() => follow(row));
  if (row.job.state !== "ready" || row.gone.aborted) return;
  say(`${row.name} can be asked about now.`);
  whenReady();
}

async function follow(row) {
  let last = row.lastEvent || "";
  for (let tries = 0; !isFinished(row.job) && !row.gone.aborted; tries += 1) {
    try {
      const headers = last ? { "Last-Event-ID": last } : {};
      const response = await call(`/v1/jobs/${row.job.id}/events`, { headers, signal: row.gone });
      if (response.status === 204) row.showJob(await callJson(`/v1/jobs/${row.job.id}`));
      for await (const event of eventsOf(response)) {
        if (event.name !== "job") break;
        tries = 0;
        last = row.lastEvent = event.id;
        row.showJob(event.data.job);
      }
    } catch (problem) {
      if (row.gone.aborted) return;
      if ((problem.status && !problem.mayRetry) || tries >= MOST_TRIES) return row.showProblem(problem);
    }
    if (!isFinished(row.job)) await pause(500 * 2 ** Math.min(tries, 4));
  }
}

async function cancelJob(row) {
  try {
    row.showJob(await callJson(`/v1/jobs/${row.job.id}:cancel`, { method: "POST" }));
  } catch (problem) {
    row.showProblem(problem);
  }
}

async function retryJob(row, password) {
  try {
    const json = password ? { password } : undefined;
    row.showJob(await callJson(`/v1/jobs/${row.job.id}:retry`, { method: "POST", json }));
    await watch(row);
  } catch (problem) {
    row.showProblem(problem);
  }
}

function clearFinished() {
  for (const row of [...rows]) if (row.isOver) row.dismiss();
  byId("choose").focus();
}

function showSection() {
  byId("uploads").hidden = rows.size === 0;
  byId("clear-uploads").hidden = ![...rows].some((row) => row.isOver);
}

function listenForDrops() {
  let depth = 0;
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  const mark = (change) => {
    depth = change ? Math.max(0, depth + change) : 0;
    document.body.toggleAttribute("data-dropping", depth > 0);
  };
  addEventListener("dragenter", (event) => hasFiles(event) && mark(1));
  addEventListener("dragleave", (event) => hasFiles(event) && mark(-1));
  addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    mark(0);
    addFiles([...event.dataTransfer.files]);
  });
}

/** Return a function that runs work when one of so many slots is free. */
function slots(free) {
  const waiting = [];
  return async (work, signal) => {
    if (free > 0) free -= 1;
    else await new Promise((resolve) => waiting.push(resolve));
    try {
      signal?.throwIfAborted();
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else free += 1;
    }
  };
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
