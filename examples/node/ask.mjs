// Asks ragmesh a question over gRPC and streams its answer with the citations. README.md tells how to run it.

import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const PROTOS = process.env.RAGMESH_PROTOS ?? join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'protos');
const DEADLINE_MS = 120_000;
const LOOPBACK = /^(127\.|localhost:|\[::1\]:)/;

// The .proto files are all that a client needs; nothing is generated.
function load() {
  const definition = protoLoader.loadSync('rag/v1/generator.proto', {
    includeDirs: [PROTOS],
    keepCase: true, // names as in the contract
    longs: Number,
    enums: String,
    oneofs: true, // `event.event` names the event that is set
  });
  return grpc.loadPackageDefinition(definition).rag.v1;
}

// `https://host` is TLS; a key is never sent unencrypted to another machine.
export function connect(address, key, authorityFile) {
  const url = /^(https?):\/\/([^/]+)\/?$/.exec(address);
  const secure = url?.[1] === 'https';
  let target = url ? url[2] : address;
  if (secure && !/:\d+$/.test(target)) target += ':443';
  if (key && !url && !LOOPBACK.test(target)) {
    throw new Error(`The key would travel unencrypted to ${target}; write https:// before the address.`);
  }
  const roots = authorityFile ? readFileSync(authorityFile) : null;
  const channel = secure ? grpc.credentials.createSsl(roots) : grpc.credentials.createInsecure();
  return new (load().GeneratorService)(target, channel);
}

// Yields the events of an answer in the order of the contract. Leaving the loop cancels the call, and so stops the model.
export async function* ask(client, question, key) {
  const metadata = new grpc.Metadata();
  if (key) metadata.set('authorization', `Bearer ${key}`);
  const call = client.Generate({ question }, metadata, { deadline: Date.now() + DEADLINE_MS });
  try {
    yield* call;
  } finally {
    call.cancel();
  }
}

// What a document or a model wrote is shown and not obeyed: a terminal would follow escape sequences in it.
const plain = (text) => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '\ufffd');
const line = (text) => plain(text).replace(/\s+/g, ' ').trim();

async function main() {
  const question = process.argv.slice(2).join(' ') || 'What happens to a job when its worker dies?';
  const { RAGMESH_ADDRESS: address = '127.0.0.1:50050', RAGMESH_KEY: key = '', RAGMESH_CA_FILE: authorities } = process.env;
  const client = connect(address, key, authorities);
  const sources = new Map();
  const citations = new Map();
  try {
    for await (const event of ask(client, question, key)) {
      switch (event.event) {
        case 'sources':
          for (const source of event.sources.sources) sources.set(source.number, source);
          break;
        case 'token':
          process.stdout.write(plain(event.token.text));
          break;
        case 'citation':
          citations.set(`${event.citation.number} ${event.citation.quote}`, event.citation);
          break;
        case 'notice':
          process.stderr.write(`note: ${line(event.notice.message)}\n`);
          break;
      }
    }
    process.stdout.write('\n\n');
    for (const { number, page, quote } of citations.values()) {
      process.stdout.write(`[${number}] ${line(sources.get(number)?.title ?? '')}, page ${page || '-'}: "${line(quote)}"\n`);
    }
  } finally {
    client.close();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main().catch((error) => {
    process.stderr.write(`${line(error.details || error.message)}\n`);
    process.exitCode = 1;
  });
}
