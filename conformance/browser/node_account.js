// npm's videodb 0.2.0, unpatched, through calls 1-3, 5 and 9: what it sends (Node itself tells), what it makes of the answers, and
// the class of each error. One JSON object is the answer.
"use strict";
const { subscribe } = require("node:diagnostics_channel");
const { connect } = require("videodb");

const sent = [];
subscribe("http.client.request.start", ({ request }) => sent.push(`${request.method} ${request.path}`));

async function requests(work) {
  const before = sent.length;
  const result = await work();
  return [result, sent.slice(before)];
}

async function refusal(work) {
  try {
    await work();
    return { class: "none" };
  } catch (error) {
    return { class: error.constructor.name, status: error.response?.status, told: error.response?.data?.message, message: error.message };
  }
}

// What a recorder does, on the bare wire.
async function start(baseUrl, token, sessionId) {
  const channels = [{ channel_id: "mic:default", type: "audio", record: true, transcript: false, store: true }, { channel_id: "display:1", type: "video" }];
  const headers = { "x-access-token": token, "content-type": "application/json" };
  const answer = await fetch(`${baseUrl}/capture/session/start`, { method: "POST", headers, body: JSON.stringify({ session_id: sessionId, channels }) });
  if (!answer.ok) throw new Error(await answer.text());
}

function plain(session) {
  const { id, collectionId, status, endUserId, clientId, callbackUrl, metadata, exportedVideoId, createdAt } = session;
  const streams = session.rtstreams.map(({ id, name, collectionId, channelId, mediaTypes, status, sampleRate }) => ({ id, name, collectionId, channelId, mediaTypes, status, sampleRate }));
  return { id, collectionId, status, endUserId, clientId, callbackUrl, metadata, exportedVideoId, createdAt, streams };
}

async function main() {
  const [baseUrl, apiKey] = process.argv.slice(2);
  const conn = connect({ apiKey, baseUrl });
  const told = {};

  const socket = await conn.connectWebsocket();
  await socket.connect();
  told.connection = socket.connectionId;
  const config = { endUserId: "node-account", metadata: { camera_view: { is_wide: true } }, wsConnectionId: socket.connectionId };
  const [made, creating] = await requests(() => conn.createCaptureSession(config));
  told.made = plain(made);
  told.creating = creating;
  for await (const frame of socket.receive()) {
    told.frame = frame;
    break;
  }
  await socket.close();

  const token = await conn.generateClientToken(600);
  told.token = token;
  await start(baseUrl, token, made.id);
  const [got, getting] = await requests(() => conn.getCaptureSession(made.id));
  told.got = plain(got);
  told.getting = getting;
  told.categories = Object.fromEntries(["mic", "screen", "camera", "mics"].map((c) => [c, got.getRTStream(c).map((s) => s.name)]));

  const second = await conn.createCaptureSession({ endUserId: "node-account" });
  const listed = (filter) => conn.listCaptureSessions("default", filter).then((all) => all.map((s) => s.id));
  told.mine = await listed({ endUserId: "node-account" });
  told.starting = await listed({ endUserId: "node-account", status: "starting" });
  told.first = await listed({ endUserId: "node-account", limit: 1 });
  told.next = await listed({ endUserId: "node-account", limit: 1, cursor: second.id });
  told.second = second.id;
  const collection = await conn.getCollection();
  told.collection = collection.id;
  told.inCollection = (await collection.listCaptureSessions({ status: "created" })).map((s) => s.id);
  told.viaCollection = plain(await collection.getCaptureSession(made.id)).metadata;

  const limited = connect({ sessionToken: token, baseUrl });
  told.errors = {
    400: await refusal(() => conn.createCaptureSession({})),
    "400 list": await refusal(() => conn.listCaptureSessions("default", { status: "asleep" })),
    401: await refusal(() => connect({ apiKey: "sk-wrong", baseUrl }).listCaptureSessions()),
    403: await refusal(() => limited.generateClientToken()),
    404: await refusal(() => conn.getCaptureSession("cap-nobody")),
  };
  const limitedSocket = await limited.connectWebsocket();
  await limitedSocket.connect();
  told.limitedConnection = limitedSocket.connectionId;
  await limitedSocket.close();
  console.log(JSON.stringify(told));
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
