// Records with the capture page in headless Chromium: a tab that shows numbered pictures, flashes and beeps, and a microphone that plays a
// recording. One JSON object on the command line: {page}, {sources} that stay ticked, {steps} of [what, seconds] (record, drop: the network
// is gone, pause), {speech} for the microphone, {deny}, {scheme}, {width}, {shots} a folder for pictures. One JSON object is the answer.
"use strict";
const http = require("http");
const net = require("net");
const path = require("path");
const { chromium } = require("playwright-core");

const order = JSON.parse(process.argv[2]);
const flags = [
  "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
  "--autoplay-policy=no-user-gesture-required", "--auto-select-tab-capture-source-by-title=stage", "--use-fake-device-for-media-stream",
];
if (order.speech) flags.push(`--use-file-for-fake-audio-capture=${order.speech}`);

// Runs in the captured tab. As the stage film has it: 16 bits, a white box, a black box, each 48 of 1280 wide; a bar below that flashes.
function perform() {
  const paper = document.querySelector("canvas").getContext("2d");
  const sound = new AudioContext();
  let number = 0;
  setInterval(() => {
    number += 1;
    paper.fillStyle = "#12161f";
    paper.fillRect(0, 0, 1280, 720);
    for (let k = 0; k < 18; k++) {
      const white = k < 16 ? (number >> (15 - k)) & 1 : k === 16;
      paper.fillStyle = white ? "#fff" : "#000";
      paper.fillRect(k * 48, 0, 48, 48);
    }
    const flash = number % 14 < 2;
    paper.fillStyle = flash ? "#fff" : "#000";
    paper.fillRect(0, 640, 1280, 80);
    if (number % 14 === 0) {
      const beep = new OscillatorNode(sound, { frequency: 1000 });
      beep.connect(new GainNode(sound, { gain: 0.3 })).connect(sound.destination);
      beep.start();
      beep.stop(sound.currentTime + 0.1);
    }
  }, 125);
}

// The way to the server, which can be cut.
async function wire(target) {
  const lines = new Set();
  let isCut = false;
  const door = net.createServer((near) => {
    if (isCut) return near.destroy();
    const far = net.connect(Number(target.port), target.hostname);
    for (const [one, other] of [[near, far], [far, near]]) {
      lines.add(one);
      one.pipe(other);
      one.on("error", () => other.destroy());
      one.on("close", () => { lines.delete(one); other.destroy(); });
    }
  });
  await new Promise((ready) => door.listen(0, "127.0.0.1", ready));
  const cut = (yes) => { isCut = yes; if (yes) lines.forEach((l) => l.destroy()); };
  return { port: door.address().port, cut, close: () => { cut(true); door.close(); } };
}

const rest = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

async function main() {
  const line = await wire(new URL(order.page));
  const stage = http.createServer((_, answer) => answer.writeHead(200, { "content-type": "text/html" }).end("<title>stage</title><body style='margin:0'><canvas width=1280 height=720 style='display:block'>"));
  await new Promise((ready) => stage.listen(0, "127.0.0.1", ready));
  const browser = await chromium.launch({ executablePath: order.chromium, headless: true, args: flags, ignoreDefaultArgs: ["--mute-audio"] });
  try {
    const context = await browser.newContext({ viewport: { width: 1280, height: 720 }, permissions: order.deny ? [] : ["microphone"], colorScheme: order.scheme || "light" });
    const shown = await context.newPage();
    await shown.goto(`http://127.0.0.1:${stage.address().port}/`);
    await shown.evaluate(perform);
    const page = await context.newPage();
    // The window's size is the captured tab's, too.
    if (order.width) await page.setViewportSize({ width: order.width, height: 900 });
    page.setDefaultTimeout(40000);
    const logged = [];
    page.on("console", (m) => m.type() === "error" && logged.push(m.text()));
    page.on("pageerror", (e) => logged.push(String(e)));
    const shoot = (name) => order.shots && page.screenshot({ path: path.join(order.shots, `${name}.png`), fullPage: true });
    const phase = (...names) => page.waitForFunction((n) => n.includes(document.querySelector("main").dataset.phase), names);
    const seen = [];
    const look = async (what) => seen.push([what, await page.evaluate(() => ({
      state: document.querySelector("#state").textContent, link: document.querySelector("#link").textContent, elapsed: document.querySelector("#elapsed").textContent,
      bytes: document.querySelector("#bytes").textContent, trouble: document.querySelector("#trouble:not([hidden])")?.textContent || "",
    }))]);

    const address = new URL(order.page);
    address.port = line.port;
    await page.goto(address.href);
    await phase("ready", "failed");
    await shoot("open");
    await look("open");
    if (order.steps) {
      for (const id of ["screen", "sound", "mic"]) await page.locator(`#${id}`).setChecked(order.sources.includes(id)).catch(() => {});
      // With the keyboard alone, as some do.
      await page.locator("#choose").focus();
      await page.keyboard.press("Enter");
      await page.waitForFunction(() => document.querySelector("main").dataset.phase === "chosen" || !document.querySelector("#trouble").hidden);
      await rest(0.5);
      await shoot("chosen");
      await look("chosen");
    }
    if (seen.every(([, s]) => !s.trouble)) {
      await page.keyboard.press("Enter");
      await phase("recording", "failed");
      for (const [what, seconds] of order.steps) {
        if (what === "pause") await page.keyboard.press("p");
        if (what === "drop") line.cut(true);
        await rest(seconds);
        await shoot(what);
        await look(what);
        if (what === "pause") await page.keyboard.press("p");
        if (what === "drop") line.cut(false);
      }
      await page.locator("#stop").press("Enter");
      await phase("saved", "failed");
      await shoot("saved");
      await look("saved");
    }
    const watch = await page.locator("#watch").getAttribute("href");
    console.log(JSON.stringify({ seen, watch, logged, address: page.url() }));
  } finally {
    await browser.close();
    line.close();
    stage.close();
  }
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
