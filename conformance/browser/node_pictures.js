// npm's videodb 0.2.0, unpatched: thumbnails of a video, or (with a fourth word) its storage removed. One JSON object is the answer.
"use strict";
const { connect } = require("videodb");

async function main() {
  const [baseUrl, apiKey, videoId, remove] = process.argv.slice(2);
  const coll = await connect({ apiKey, baseUrl }).getCollection("default");
  const video = await coll.getVideo(videoId);
  if (remove) {
    await video.removeStorage();
    return console.log(JSON.stringify({ removed: true }));
  }
  video.thumbnail = undefined;
  const url = await video.generateThumbnail();
  const image = await video.generateThumbnail(3.5);
  const zero = await video.generateThumbnail(0);
  const plain = (i) => ({ id: i.id, url: i.url, name: i.name, collectionId: i.collectionId });
  // `getThumbnails` of this release fails with any server: it makes an object of a list that is all of `data`, and then maps it.
  const listed = await video.getThumbnails().then((l) => l.map((i) => i.id), (error) => String(error));
  const images = (await coll.getImages()).map((i) => i.id);
  console.log(JSON.stringify({ url, image: plain(image), zero: plain(zero), listed, images }));
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
