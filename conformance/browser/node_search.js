// npm's videodb 0.2.0, unpatched: a search by meaning and one word for word in an indexed video. One JSON object is the answer.
"use strict";
const { connect } = require("videodb");

async function main([baseUrl, apiKey, videoId]) {
  const video = await (await connect({ apiKey, baseUrl }).getCollection()).getVideo(videoId);
  const meant = await video.search("a cold season without any hope", "semantic", "spoken_word");
  const semantic = [];
  for (const shot of meant.shots) semantic.push({ text: shot.text, stream: await shot.generateStream() });
  const said = await video.search("despair", "keyword", "spoken_word");
  const again = await video.indexSpokenWords().catch((error) => error.message);
  const keyword = said.shots.map(({ text, searchScore }) => ({ text, score: searchScore }));
  console.log(JSON.stringify({ semantic, keyword, compiled: await meant.compile(), again }));
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
