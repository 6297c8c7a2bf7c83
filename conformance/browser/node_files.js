// npm's videodb 0.2.0, unpatched: usage and files to take away. One JSON object is the answer.
"use strict";
const { connect } = require("videodb");

const parts = {
  async usage(conn) {
    return { usage: await conn.checkUsage(), invoices: await conn.getInvoices() };
  },

  async download(conn, id) {
    const collection = await conn.getCollection();
    const video = await collection.getVideo(id);
    const download = await video.download("by npm");
    const answer = await fetch(download.downloadUrl);
    return { download, type: answer.headers.get("content-type"), bytes: (await answer.arrayBuffer()).byteLength };
  },
};

async function main() {
  const [baseURL, apiKey, part, ...rest] = process.argv.slice(2);
  const told = await parts[part](connect({ apiKey, baseUrl: baseURL }), ...rest);
  console.log(JSON.stringify(told));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
