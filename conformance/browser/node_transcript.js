// npm's videodb 0.2.0, unpatched: the transcript of an uploaded video. One JSON object is the answer.
"use strict";
const { connect } = require("videodb");

async function main([baseUrl, apiKey, videoId]) {
  const video = await (await connect({ apiKey, baseUrl }).getCollection()).getVideo(videoId);
  const { wordTimestamps, text } = await video.getTranscript();
  const made = await video.generateTranscript();
  console.log(JSON.stringify({ words: wordTimestamps, text, made: made.success }));
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
