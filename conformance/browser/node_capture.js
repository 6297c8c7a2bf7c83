// npm's videodb 0.2.0, unpatched, in the shape of its quickstart: a session, a token, a capture client that starts the recorder,
// channels, a socket, live words, a pause, a stop, and the video. One JSON object is the answer; times are epoch seconds.
"use strict";
const { connect } = require("videodb");
const { CaptureClient } = require("videodb/capture");

const now = () => Date.now() / 1000;
const sleep = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

async function until(what, seconds, look) {
  for (const limit = now() + seconds; now() < limit; await sleep(0.1)) {
    const found = await look();
    if (found) return found;
  }
  throw new Error(`waited too long for ${what}`);
}

// What the quickstart does with the streams once they are live: it indexes the sound, and the transcript comes with that (trap 10).
// indexVisuals, events and alerts belong here as well, as soon as the server has them.
async function understand(session, ws) {
  const [mic] = session.getRTStream("mic");
  const index = await mic.indexAudio({ prompt: "Sum up", batchConfig: { type: "word", value: 5 }, name: "notes", socketId: ws.connectionId });
  const made = { status: index.status, type: index.extractionType, config: index.extractionConfig, name: index.name };
  const listed = (await mic.listSceneIndexes()).map((i) => i.rtstreamIndexId);
  await index.updateSceneIndex("Only names");
  return { mic, index, made, listed };
}

async function main() {
  const [baseUrl, apiKey, seconds] = process.argv.slice(2);
  const conn = connect({ apiKey, baseUrl });
  const ws = await conn.connectWebsocket();
  await ws.connect();
  const frames = [];
  (async () => { for await (const frame of ws.receive()) frames.push(frame); })().catch(() => {});
  const session = await conn.createCaptureSession({ endUserId: "node-user", wsConnectionId: ws.connectionId, metadata: { app: "quickstart" } });
  const token = await conn.generateClientToken(600);

  const client = new CaptureClient({ sessionToken: token, apiUrl: baseUrl });
  const events = [];
  for (const name of ["recording:started", "recording:stopped", "recording:error", "error", "shutdown"]) {
    client.on(name, (payload) => events.push([name, payload]));
  }
  const granted = [await client.requestPermission("microphone"), await client.requestPermission("screen-capture")];
  const channels = await client.listChannels();
  const chosen = [channels.mics.default, channels.displays.default, channels.systemAudio.default];
  await client.startSession({ sessionId: session.id, channels: chosen.map((c) => ({ channelId: c.id, type: c.type, record: true, store: true })) });
  const started = now();
  const live = await until("the streams", 3, async () => { await session.refresh(); return session.status === "active" && session.rtstreams; });
  const streams = live.map((s) => ({ name: s.name, mediaTypes: s.mediaTypes, channelId: s.channelId }));
  const { mic, index, made, listed } = await understand(session, ws);

  await sleep(Number(seconds) / 2);
  await channels.mics.default.pause();
  await channels.displays.default.pause();
  const paused = now();
  await sleep(1.5);
  const resuming = now();
  await channels.mics.default.resume();
  await channels.displays.default.resume();
  await session.refresh();
  const statusAfterPause = session.status;
  await sleep(Number(seconds) / 2);

  const stopping = now();
  await client.stopSession();
  await until("recording:stopped", 3, () => events.some(([name]) => name === "recording:stopped"));
  await until("the export", 20, async () => { await session.refresh(); return session.exportedVideoId; });
  await client.shutdown();
  await until("the recorder's end", 5, () => events.some(([name]) => name === "shutdown"));
  const collection = await conn.getCollection("default");
  const video = await collection.getVideo(session.exportedVideoId);
  const micUrl = await mic.generateStream(started, stopping);
  const { scenes, nextPage } = await index.getScenes();
  const shown = await mic.getSceneIndex(index.rtstreamIndexId);
  const indexed = frames.filter((f) => f.channel === "audio_index").map((f) => [f.index_id, f.rtstream_id, f.data.text]);
  const finals = frames.filter((f) => f.channel === "transcript" && f.data.is_final).map((f) => f.data.text);
  console.log(JSON.stringify({
    micId: mic.id, index: { id: index.rtstreamIndexId, prompt: index.prompt, made, listed, scenes, nextPage, indexed, shown: [shown.status, shown.prompt] }, finals,
    id: session.id, collectionId: session.collectionId, endUserId: session.endUserId, metadata: session.metadata, status: session.status, statusAfterPause,
    granted, chosen: chosen.map((c) => c.id), streams, events, started, paused, resuming, stopping, micUrl,
    states: frames.filter((f) => f.channel === "capture_session").map((f) => f.status),
    video: { id: video.id, length: video.length, streamUrl: video.streamUrl, playerUrl: video.playerUrl },
  }));
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
