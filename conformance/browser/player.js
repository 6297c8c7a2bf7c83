// Plays a recording in headless Chromium and says which burned-in frame was shown at which moment of the media.
// One JSON object on the command line: {page} opens a player page, {stream} plays a playlist with hls.js from another origin;
// {seconds} how long, {jump} a second to jump to, {seeks} moments whose pictures are wanted, {screenshot} where to put a picture. One JSON
// object is the answer.
"use strict";
const fs = require("fs");
const http = require("http");
const path = require("path");
const { chromium } = require("playwright-core");

const order = JSON.parse(process.argv[2]);
const flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"];

// Runs in the page. The band on top: 16 bits, a white box, a black box, each 48 of 1280 wide.
function watchFrames() {
  const video = document.querySelector("video");
  const canvas = document.createElement("canvas");
  canvas.width = 864;
  canvas.height = 48;
  const paper = canvas.getContext("2d", { willReadFrequently: true });
  window.seen = [];
  const read = () => {
    paper.drawImage(video, 0, 0, (video.videoWidth * 864) / 1280, (video.videoHeight * 48) / 720, 0, 0, 864, 48);
    const row = paper.getImageData(0, 24, 864, 1).data;
    const box = (k) => row[(k * 48 + 24) * 4];
    let number = 0;
    for (let k = 0; k < 16; k++) number = number * 2 + (box(k) > 128 ? 1 : 0);
    return box(16) > 160 && box(17) < 96 ? number : null;
  };
  const look = (_, facts) => {
    window.seen.push({ at: facts.mediaTime, number: read() });
    video.requestVideoFrameCallback(look);
  };
  // The picture of a moment: what stands there when the player has come to it, and has painted it.
  window.seekTo = (moment) => new Promise((found) => {
    video.pause();
    video.addEventListener("seeked", () => requestAnimationFrame(() => requestAnimationFrame(() => found(read()))), { once: true });
    video.currentTime = moment;
  });
  video.requestVideoFrameCallback(look);
}

// A page of another origin that plays a playlist with hls.js and nothing else.
function plainPage() {
  const script = fs.readFileSync(path.join(__dirname, "../../console/vendor/hls.min.js"));
  const page = '<video muted width=640></video><script src="hls.js"></script>';
  const door = http.createServer((asked, answer) => {
    const isScript = asked.url === "/hls.js";
    answer.writeHead(200, { "content-type": isScript ? "text/javascript" : "text/html" });
    answer.end(isScript ? script : page);
  });
  return new Promise((ready) => door.listen(0, "127.0.0.1", () => ready(door)));
}

function attach(stream) {
  const hls = new Hls();
  window.trouble = [];
  hls.on(Hls.Events.ERROR, (_, error) => window.trouble.push(`${error.details}${error.fatal ? " (fatal)" : ""}`));
  hls.loadSource(stream);
  hls.attachMedia(document.querySelector("video"));
}

async function main() {
  const browser = await chromium.launch({ executablePath: order.chromium || "/usr/bin/chromium", headless: true, args: flags });
  const door = order.stream ? await plainPage() : null;
  const page = await browser.newPage({ viewport: { width: 1280, height: 860 } });
  page.setDefaultTimeout(30000);
  const logged = [];
  page.on("console", (m) => m.type() === "error" && logged.push(m.text()));
  page.on("pageerror", (e) => logged.push(String(e)));
  try {
    await page.goto(order.stream ? `http://127.0.0.1:${door.address().port}/` : order.page);
    if (order.stream) await page.evaluate(attach, order.stream);
    await page.waitForFunction(() => document.querySelector("video")?.readyState >= 3);
    await page.evaluate(watchFrames);
    // The page is played as a person would; the bare one has no keys.
    if (order.stream) await page.evaluate(() => document.querySelector("video").play());
    else await page.keyboard.press("Space");
    const state = () => page.evaluate(() => {
      const v = document.querySelector("video"), q = v.getVideoPlaybackQuality();
      return { time: v.currentTime, duration: v.duration, paused: v.paused, frames: q.totalVideoFrames, dropped: q.droppedVideoFrames, width: v.videoWidth, height: v.videoHeight };
    });
    await page.waitForFunction((s) => document.querySelector("video").currentTime > s, order.seconds);
    const played = await state();
    if (order.jump !== undefined) {
      if (order.stream) await page.evaluate((t) => { document.querySelector("video").currentTime = t; }, order.jump);
      else await page.evaluate((t) => { location.hash = `t=${t}`; }, order.jump);
      await page.waitForFunction((t) => { const v = document.querySelector("video"); return !v.seeking && v.currentTime > t + 1 && v.currentTime < t + 8; }, order.jump);
    }
    const sought = [];
    for (const moment of order.seeks || []) sought.push(await page.evaluate((t) => window.seekTo(t), moment));
    const seen = await page.evaluate(() => window.seen);
    const trouble = await page.evaluate(() => window.trouble || []);
    const message = await page.evaluate(() => document.querySelector("#message:not([hidden])")?.textContent || "");
    if (order.screenshot) await page.screenshot({ path: order.screenshot });
    const shown = await page.evaluate(() => document.querySelector("video").dataset.state || "");
    const badge = await page.evaluate(() => { const b = document.querySelector("#live"); return Boolean(b) && !b.hidden; });
    console.log(JSON.stringify({ title: await page.title(), state: shown, badge, played, after: await state(), seen, sought, trouble, message, logged }));
  } finally {
    await browser.close();
    if (door) door.close();
  }
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
