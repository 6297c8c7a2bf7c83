// npm's videodb 0.2.0, unpatched: moments of a video as a stream, and a video put into another. One JSON object is the answer.
"use strict";
const { connect } = require("videodb");

async function main() {
  const { base, key, video } = JSON.parse(process.argv[2]);
  const conn = connect({ apiKey: key, baseUrl: base });
  const collection = await conn.getCollection();
  const host = await collection.getVideo(video);
  const guest = await collection.getVideo(video);
  const stream = await host.generateStream([[4.3, 5.3], [0, 1]]);
  const inserted = await host.insertVideo(guest, 2.5);
  console.log(JSON.stringify({ stream, inserted }));
}

main().then(() => process.exit(0), (error) => {
  console.error(error.stack, error.response?.data);
  process.exit(1);
});
