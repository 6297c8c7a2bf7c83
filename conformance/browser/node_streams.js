// npm's videodb 0.2.0, unpatched: calls 11 to 18 and the audio calls on streams that were recorded and have stopped. One JSON object is the answer.
"use strict";
const { connect } = require("videodb");

async function main() {
  const [baseUrl, apiKey, screenId, micId, start, end] = process.argv.slice(2);
  const conn = connect({ apiKey, baseUrl });
  const coll = await conn.getCollection("default");
  const listed = await coll.listRTStreams({ limit: 100, ordering: "name", status: "stopped" });
  const screen = await coll.getRTStream(screenId);
  const mic = await coll.getRTStream(micId);
  await screen.stop();
  const exported = await screen.export("From Node");
  const again = await screen.export("Another name");
  const sound = await mic.export();
  const audio = await coll.getAudio(sound.videoId);
  const page = await mic.getTranscript({ page: 1, pageSize: 10 });
  await mic.stopTranscript("force");
  let refused = "";
  await screen.start().catch((error) => { refused = String(error.cause?.cause ?? error.message) + JSON.stringify(error.cause ?? {}); });
  const answer = {
    listed: listed.map((s) => ({ id: s.id, name: s.name, status: s.status, streamUrl: s.streamUrl })),
    screen: { id: screen.id, name: screen.name, status: screen.status, mediaTypes: screen.mediaTypes, store: screen.store },
    stream: await screen.generateStream(Number(start), Number(end)),
    exported, again, sound,
    audio: { id: audio.id, name: audio.name, length: audio.length, url: await audio.generateUrl() },
    audios: (await coll.getAudios()).map((a) => a.id),
    transcript: page,
    refused,
  };
  await coll.deleteAudio(audio.id);
  answer.audiosAfter = (await coll.getAudios()).map((a) => a.id);
  await coll.deleteVideo(exported.videoId);
  console.log(JSON.stringify(answer));
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
