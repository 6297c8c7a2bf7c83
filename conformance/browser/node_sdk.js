// npm's videodb 0.2.0, unpatched: create a capture session, list it, get it, mint a token. One JSON object is the answer.
"use strict";
const { connect } = require("videodb");

async function main() {
  const [baseUrl, apiKey] = process.argv.slice(2);
  const conn = connect({ apiKey, baseUrl });
  const made = await conn.createCaptureSession({ endUserId: "node-user", metadata: { app: "smoke" } });
  const listed = await conn.listCaptureSessions();
  const got = await conn.getCaptureSession(made.id);
  const token = await conn.generateClientToken(600);
  const sessions = Array.isArray(listed) ? listed : listed.sessions;
  console.log(JSON.stringify({ made: made.id, listed: sessions.map((s) => s.id), got: { id: got.id, status: got.status, endUserId: got.endUserId }, token }));
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
