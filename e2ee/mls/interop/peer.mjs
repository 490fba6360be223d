// The other side of the interoperability test: members of a group that run
// ts-mls. Reads one request a line from standard input, a JSON object with the
// name of the operation, and answers each with a line on standard output. Bytes
// are base64 both ways.

import { createInterface } from "node:readline";
import {
  acceptAll, createApplicationMessage, createCommit, createGroup, createProposal, decodeMlsMessage, defaultCapabilities,
  encodeMlsMessage, generateKeyPackage, getCiphersuiteFromName, getCiphersuiteImpl, joinGroup, makePskIndex, mlsExporter,
  processMessage,
} from "ts-mls";

const suite = await getCiphersuiteImpl(getCiphersuiteFromName("MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519"));
const policyExtension = 0xf050;

/** Members by name: {invitation, state, next}. next is a commit of its own that is not yet accepted. */
const members = new Map();
/** External pre-shared keys: base64 of the id -> secret. */
const psks = {};

const base64 = (bytes) => Buffer.from(bytes).toString("base64");
const bytes = (text) => new Uint8Array(Buffer.from(text ?? "", "base64"));

function decode(text, wireformat) {
  const encoded = bytes(text);
  const [message, length] = decodeMlsMessage(encoded, 0) ?? [];
  if (message === undefined || length !== encoded.length) throw new Error("does not decode");
  if (wireformat !== undefined && message.wireformat !== wireformat) throw new Error(`is a ${message.wireformat}`);
  return message;
}

const encode = (wireformat, content) => base64(encodeMlsMessage({ version: "mls10", wireformat, ...content }));

function proposals(request) {
  const list = [];
  for (const keyPackage of request.adds ?? [])
    list.push({ proposalType: "add", add: { keyPackage: decode(keyPackage, "mls_key_package").keyPackage } });
  for (const removed of request.removes ?? []) list.push({ proposalType: "remove", remove: { removed } });
  if (request.psk !== undefined)
    list.push({
      proposalType: "psk",
      psk: { preSharedKeyId: { psktype: "external", pskId: bytes(request.psk), pskNonce: suite.rng.randomBytes(32) } },
    });
  return list;
}

const operations = {
  /** Tells the secret of an external pre-shared key. */
  psk({ id, secret }) {
    psks[id] = bytes(secret);
    return {};
  },

  async invite({ name }) {
    const now = BigInt(Math.floor(Date.now() / 1000));
    const capabilities = defaultCapabilities(); // with random GREASE values
    capabilities.extensions.push(policyExtension);
    const credential = { credentialType: "basic", identity: new TextEncoder().encode(name) };
    const lifetime = { notBefore: now - 3600n, notAfter: now + 86400n };
    const invitation = await generateKeyPackage(credential, capabilities, lifetime, [], suite);
    members.set(name, { invitation });
    return { message: encode("mls_key_package", { keyPackage: invitation.publicPackage }) };
  },

  async create({ name, group, policy }) {
    const { invitation } = members.get(name);
    const extensions = policy === undefined ? [] : [{ extensionType: policyExtension, extensionData: bytes(policy) }];
    const state = await createGroup(bytes(group), invitation.publicPackage, invitation.privatePackage, extensions, suite);
    members.set(name, { state });
    return {};
  },

  async join({ name, message }) {
    const { publicPackage, privatePackage } = members.get(name).invitation;
    const { welcome } = decode(message, "mls_welcome");
    members.set(name, { state: await joinGroup(welcome, publicPackage, privatePackage, makePskIndex(undefined, psks), suite) });
    return {};
  },

  async commit(request) {
    const member = members.get(request.name);
    const result = await createCommit(
      { state: member.state, cipherSuite: suite, pskIndex: makePskIndex(member.state, psks) },
      { extraProposals: proposals(request), wireAsPublicMessage: !request.private, ratchetTreeExtension: true },
    );
    member.next = result.newState;
    return {
      message: base64(encodeMlsMessage(result.commit)),
      welcome: result.welcome && encode("mls_welcome", { welcome: result.welcome }),
    };
  },

  /** The commit was accepted: go on with it. */
  accept({ name }) {
    const member = members.get(name);
    members.set(name, { state: member.next });
    return {};
  },

  async propose(request) {
    const member = members.get(request.name);
    const [proposal] = proposals(request);
    const { newState, message } = await createProposal(member.state, !request.private, proposal, suite);
    member.state = newState;
    return { message: base64(encodeMlsMessage(message)) };
  },

  async seal({ name, data }) {
    const member = members.get(name);
    const { newState, privateMessage } = await createApplicationMessage(member.state, bytes(data), suite);
    member.state = newState;
    return { message: encode("mls_private_message", { privateMessage }) };
  },

  async process({ name, message }) {
    const member = members.get(name);
    const result = await processMessage(decode(message), member.state, makePskIndex(member.state, psks), acceptAll, suite);
    members.set(name, { state: result.newState });
    if (result.kind === "applicationMessage") return { data: base64(result.message) };
    return { removed: result.newState.groupActiveState.kind === "removedFromGroup" };
  },

  /** What all members must agree on. */
  async epoch({ name, label, context, length }) {
    const { groupContext, keySchedule } = members.get(name).state;
    return {
      epoch: Number(groupContext.epoch),
      treeHash: base64(groupContext.treeHash),
      transcript: base64(groupContext.confirmedTranscriptHash),
      authenticator: base64(keySchedule.epochAuthenticator),
      exported: base64(await mlsExporter(keySchedule.exporterSecret, label, bytes(context), length, suite)),
    };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const request = JSON.parse(line);
    answer = await operations[request.op](request);
  } catch (error) {
    answer = { error: `${error.name}: ${error.message}` };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
