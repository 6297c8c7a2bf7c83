// npm's videodb 0.2.0, unpatched: a transcode with every option it has, waited for. One JSON object is the answer.
"use strict";
const { connect, ResizeMode, TranscodeMode } = require("videodb");

async function main() {
  const [baseURL, apiKey, source, callback] = process.argv.slice(2);
  const conn = connect({ apiKey, baseUrl: baseURL });
  const plain = await conn.transcode(source, callback);
  const video = { resolution: 180, quality: 28, framerate: 15, aspectRatio: "4:3", resizeMode: ResizeMode.pad };
  const wished = await conn.transcode(source, callback, TranscodeMode.lightning, video, { mute: true });
  const told = {};
  for (const [name, job] of Object.entries({ plain, wished })) {
    do {
      await new Promise((resolve) => setTimeout(resolve, 200));
      told[name] = await conn.getTranscodeDetails(job);
    } while (told[name].status === "processing");
  }
  console.log(JSON.stringify(told));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
