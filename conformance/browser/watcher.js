// Uses the player page as a person does: keys, the strip, captions, links. One JSON object on the command line: {page}, and {pictures}, a folder
// for screenshots (light and dark, wide and narrow). One JSON object is the answer: what was seen after each step, and every address that was asked for.
"use strict";
const path = require("path");
const { chromium } = require("playwright-core");

const order = JSON.parse(process.argv[2]);
const flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"];
const origin = new URL(order.page).origin;

async function open(browser, options, fragment) {
  const context = await browser.newContext(options);
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin });
  const page = await context.newPage();
  page.setDefaultTimeout(20000);
  page.on("request", (r) => !/^(data|blob):/.test(r.url()) && asked.add(r.url()));
  page.on("console", (m) => m.type() === "error" && logged.push(m.text()));
  page.on("response", (r) => r.status() >= 400 && logged.push(`${r.status()} ${r.url()}`));
  page.on("pageerror", (e) => logged.push(String(e)));
  await page.goto(order.page + (fragment || ""));
  await page.waitForFunction(() => document.querySelector("video").readyState >= 3);
  return page;
}
const asked = new Set(), logged = [];

const time = (page) => page.evaluate(() => document.querySelector("video").currentTime);
const state = (page) => page.evaluate(() => {
  const v = document.querySelector("video"), label = (id) => document.getElementById(id).getAttribute("aria-label");
  return { time: v.currentTime, duration: v.duration, paused: v.paused, muted: v.muted, rate: v.playbackRate, play: label("play"), speed: document.getElementById("speed").value };
});
async function press(page, key, until) {
  await page.keyboard.press(key);
  await page.waitForFunction(until);
}
const settled = () => !document.querySelector("video").seeking;

async function main() {
  const browser = await chromium.launch({ executablePath: order.chromium || "/usr/bin/chromium", headless: true, args: flags });
  const told = {};
  try {
    const page = await open(browser, { viewport: { width: 1280, height: 860 }, colorScheme: "light" });
    // The button says so when the event has come, a moment after the video plays.
    await press(page, "k", () => !document.querySelector("video").paused && document.querySelector("#play").getAttribute("aria-label") === "Pause");
    told.playing = await state(page);
    await press(page, "k", () => document.querySelector("video").paused);
    const places = {};
    for (const [key, name] of [["5", "half"], ["l", "on"], ["j", "back"], ["ArrowLeft", "left"], ["ArrowRight", "right"], ["0", "start"]]) {
      await press(page, key, settled);
      places[name] = await time(page);
    }
    told.places = places;
    await page.keyboard.press(">");
    await page.keyboard.press(">");
    told.faster = await state(page);
    await page.keyboard.press("<");
    told.slower = await state(page);
    await page.keyboard.press("m");
    told.muted = await state(page);
    await page.keyboard.press("m");
    // Space on a button presses the button, and does not play.
    await page.focus("#mute");
    await page.keyboard.press(" ");
    told.button = await state(page);
    await page.keyboard.press(" ");
    // Captions.
    await page.keyboard.press("c");
    await page.waitForFunction(() => { const t = document.querySelector("track"); return t && t.track.mode === "showing" && t.track.cues && t.track.cues.length > 0; });
    told.captions = await page.evaluate(() => [...document.querySelector("track").track.cues].map((c) => ({ start: c.startTime, end: c.endTime, text: c.text })));
    // The strip.
    const bar = await page.locator("#seek").boundingBox();
    await page.mouse.move(bar.x + bar.width * 0.6, bar.y + bar.height / 2);
    await page.waitForFunction(() => document.getElementById("tile").style.backgroundImage && !document.getElementById("tile").hidden);
    told.preview = await page.evaluate(() => ({ moment: document.getElementById("moment").textContent, image: document.getElementById("tile").style.backgroundImage, width: document.getElementById("tile").offsetWidth }));
    await page.waitForFunction((end) => performance.getEntriesByType("resource").some((r) => r.name.endsWith(end) && r.responseEnd > 0), "strip-0.jpg");
    await page.keyboard.press("6");
    await page.waitForFunction(settled);
    await page.waitForTimeout(300);
    if (order.pictures) await page.screenshot({ path: path.join(order.pictures, "wide-light.png") });
    // A link to this moment.
    await page.mouse.move(10, 10);
    await page.click("#copy");
    await page.waitForFunction(() => document.getElementById("toast").classList.contains("shown"));
    told.link = await page.evaluate(() => navigator.clipboard.readText());
    told.copiedAt = await time(page);
    // What has no name is nothing to who does not see.
    told.nameless = await page.evaluate(() => [...document.querySelectorAll("button, input, select, video")].filter((e) => !e.hidden && !(e.getAttribute("aria-label") || e.textContent.trim())).map((e) => e.outerHTML));
    told.tags = await page.evaluate(() => Object.fromEntries([...document.querySelectorAll("meta[property], meta[name^=twitter]")].map((m) => [m.getAttribute("property") || m.name, m.content])));
    await page.context().close();

    // From here to there.
    const piece = await open(browser, { viewport: { width: 1280, height: 860 }, colorScheme: "dark" }, "#t=2,3.5");
    told.begins = await time(piece);
    await press(piece, "k", () => !document.querySelector("video").paused);
    await piece.waitForFunction(() => document.querySelector("video").paused);
    told.ends = await time(piece);
    if (order.pictures) await piece.screenshot({ path: path.join(order.pictures, "wide-dark.png") });
    await piece.context().close();

    for (const colorScheme of ["light", "dark"]) {
      const phone = await open(browser, { viewport: { width: 390, height: 780 }, colorScheme, hasTouch: true, isMobile: true }, "#t=4");
      await phone.waitForTimeout(300);
      told[`${colorScheme}Overflow`] = await phone.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (order.pictures) await phone.screenshot({ path: path.join(order.pictures, `narrow-${colorScheme}.png`) });
      await phone.context().close();
    }
    told.foreign = [...asked].filter((url) => !url.startsWith(origin + "/"));
    told.logged = logged;
    console.log(JSON.stringify(told));
  } finally {
    await browser.close();
  }
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
