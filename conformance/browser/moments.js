// Uses the pages of a list of moments as a person does: /watch with keys and links to moments, /embed alone on its page. One JSON object on the
// command line: {watch, embed}, {moments} to go to by link, {silent} pages that have nothing to see, {pictures}, a folder for screenshots. One JSON
// object is the answer. The numbers in the pictures are those of uploaded films: boxes of 24 pixels, the lowest bit first. What is right is not known here.
"use strict";
const path = require("path");
const { chromium } = require("playwright-core");

const order = JSON.parse(process.argv[2]);
const flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"];
const logged = [];

// Runs in the page.
function reader() {
  const canvas = Object.assign(document.createElement("canvas"), { width: 432, height: 24 });
  const paper = canvas.getContext("2d", { willReadFrequently: true });
  window.number = () => {
    paper.drawImage(document.querySelector("video"), 0, 0, 432, 24, 0, 0, 432, 24);
    const row = paper.getImageData(0, 12, 432, 1).data, box = (k) => row[(k * 24 + 12) * 4];
    let number = 0;
    for (let k = 0; k < 16; k++) number += box(k) > 128 ? 2 ** k : 0;
    return box(16) > 160 && box(17) < 96 ? number : null;
  };
  // When the picture has been painted.
  window.painted = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(window.number()))));
}

async function open(browser, url, options) {
  const page = await browser.newPage(options || { viewport: { width: 1280, height: 860 } });
  page.setDefaultTimeout(30000);
  page.on("console", (m) => m.type() === "error" && logged.push(m.text()));
  page.on("response", (r) => r.status() >= 400 && logged.push(`${r.status()} ${r.url()}`));
  page.on("pageerror", (e) => logged.push(String(e)));
  await page.goto(url);
  await page.waitForFunction(() => { const v = document.querySelector("video"); return v.readyState >= 3 && !v.seeking; });
  await page.evaluate(reader);
  return page;
}
const picture = (page, name) => order.pictures && page.screenshot({ path: path.join(order.pictures, `${name}.png`) });
const state = (page) => page.evaluate(async () => {
  const v = document.querySelector("video");
  return { time: v.currentTime, duration: v.duration, paused: v.paused, ended: v.ended, number: await window.painted() };
});
async function press(page, key, until) {
  await page.keyboard.press(key);
  await page.waitForFunction(until);
}
const settled = () => { const v = document.querySelector("video"); return !v.seeking && v.readyState >= 2; };

async function watch(browser, told) {
  const [first, ...others] = order.moments;
  const page = await open(browser, `${order.watch}#t=${first}`);
  told.linked = [await state(page)];
  for (const moment of others) {
    await page.evaluate((t) => { location.hash = `t=${t}`; }, moment);
    await page.waitForFunction((t) => { const v = document.querySelector("video"); return !v.seeking && v.readyState >= 2 && Math.abs(v.currentTime - t) < 0.001; }, moment);
    told.linked.push(await state(page));
  }
  for (const [key, name] of [["0", "start"], ["5", "half"], ["ArrowLeft", "left"]]) {
    await press(page, key, settled);
    told[name] = await state(page);
  }
  await press(page, "k", () => !document.querySelector("video").paused);
  const from = told.left.time;
  await page.waitForFunction((t) => document.querySelector("video").currentTime > t + 1, from);
  told.playing = await state(page);
  await press(page, "k", () => document.querySelector("video").paused);
  await page.keyboard.press("c");
  told.captions = await page.evaluate(() => ({ said: document.getElementById("toast").textContent, button: !document.getElementById("captions").hidden, tracks: document.querySelector("video").textTracks.length }));
  await press(page, "9", settled);
  await page.keyboard.press("k");
  await page.waitForFunction(() => document.querySelector("video").ended);
  told.end = await state(page);
  await picture(page, "list-watch");
  await page.close();
}

async function embed(browser, told) {
  const page = await open(browser, order.embed, { viewport: { width: 800, height: 450 } });
  const looks = () => page.evaluate(() => {
    const shown = (e) => { const s = getComputedStyle(e), b = e.getBoundingClientRect(); return s.display !== "none" && s.opacity > 0.5 && b.height > 0; };
    const box = document.querySelector("video").getBoundingClientRect();
    const over = document.documentElement;
    return { bar: shown(document.getElementById("bar")), title: shown(document.querySelector("h1")), fills: [box.width, box.height], scrolls: [over.scrollWidth - innerWidth, over.scrollHeight - innerHeight], note: shown(document.querySelector(".note")), full: Boolean(document.fullscreenElement) };
  });
  told.embedded = await looks();
  await picture(page, "list-embed");
  await press(page, "k", () => !document.querySelector("video").paused);
  await page.waitForFunction(() => document.querySelector(".idle.playing") && getComputedStyle(document.getElementById("bar")).opacity === "0");
  told.resting = await looks();
  await picture(page, "list-embed-resting");
  await press(page, "f", () => document.fullscreenElement);
  await page.mouse.move(300, 200);
  await page.waitForFunction(() => getComputedStyle(document.getElementById("bar")).opacity === "1");
  told.full = await looks();
  await picture(page, "list-embed-full");
  await page.close();
}

async function main() {
  const browser = await chromium.launch({ executablePath: order.chromium || "/usr/bin/chromium", headless: true, args: flags });
  const told = { silent: [] };
  try {
    if (order.watch) await watch(browser, told);
    if (order.embed) await embed(browser, told);
    for (const [n, url] of (order.silent || []).entries()) {
      const page = await open(browser, url);
      await press(page, "k", () => !document.querySelector("video").paused && document.querySelector("video").currentTime > 0.3);
      const bar = await page.locator("#seek").boundingBox();
      await page.mouse.move(bar.x + bar.width / 2, bar.y + bar.height / 2);
      await page.waitForFunction(() => !document.getElementById("preview").hidden);
      told.silent.push({ ...(await state(page)), poster: await page.evaluate(() => document.querySelector("video").poster), tile: await page.evaluate(() => !document.getElementById("tile").hidden), note: await page.locator(".note").isVisible(), tags: await page.evaluate(() => [...document.querySelectorAll("meta")].map((m) => m.getAttribute("property") || m.name)) });
      await picture(page, `silent-${n}`);
      await page.close();
    }
    console.log(JSON.stringify({ ...told, logged }));
  } finally {
    await browser.close();
  }
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
