// npm's videodb 0.2.0, unpatched: files that become assets. One JSON object is the answer.
"use strict";
const { connect } = require("videodb");

async function main() {
  const { base, key, file } = JSON.parse(process.argv[2]);
  const conn = connect({ apiKey: key, baseUrl: base });
  const collection = await conn.getCollection();
  const video = await collection.uploadFile({ filePath: file, name: "of npm" });
  const sound = await collection.uploadFile({ filePath: file, mediaType: "audio" });
  const again = await collection.getVideo(video.id);
  const { id, name, streamUrl } = again;
  console.log(JSON.stringify({ kind: video.constructor.name, id, name, streamUrl, length: Number(again.length), sound: sound.id }));
}

main().catch((error) => {
  console.error(error.stack, error.response?.data);
  process.exit(1);
});
