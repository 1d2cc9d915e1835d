/** The page: controls and what they set in motion, and where text, level and figures are shown. */

import { QUIETEST_DBFS, loudestRms, toDbfs } from "./audio/level.js";
import { LiveError } from "./failures.js";
import { parseHotwords } from "./hotwords.js";
import { Latency, median } from "./latency.js";
import { PROTOCOLS, addressOf } from "./protocols/index.js";
import { Recording } from "./recording.js";
import { askForModels } from "./server.js";
import { toSrt } from "./subtitles.js";
import { say, sayFailure, speak } from "./texts.js";
import { Transcript, clockTime } from "./transcript.js";

const BASE = new URL("../../", import.meta.url); // the service's own address: this is /static/live/main.js below it
const THRESHOLD_RMS = Number(document.body.dataset.nearFieldRms);
const THRESHOLD = { rms: THRESHOLD_RMS, dbfs: minus(toDbfs(THRESHOLD_RMS).toFixed(0)) };
const TOKEN = "live-page-token"; // in sessionStorage
const LANGUAGE = "live-page-language"; // in localStorage, as is the theme
const THEME = "live-page-theme";

const $ = (id) => document.getElementById(id);
const transcript = new Transcript();
let recording = null;
let latency = new Latency();
let latencies = { partial: [], final: [] };
let state = { name: "idle" };
let failure = null;
let server = { status: "unknown", models: [] };

// --- what is shown -------------------------------------------------------------------------------------------------

function showState() {
  const running = recording !== null;
  const words = { connecting: "connecting", finishing: "finishing", done: "done", microphone: "listening", file: "streaming" };
  $("state").textContent = words[state.name] ? say(words[state.name], { name: state.file }) : "";
  document.body.dataset.state = state.name;
  $("start-label").textContent = say(running ? "stop" : "start");
  $("start").disabled = state.name === "finishing";
  for (const control of document.querySelectorAll("#sources, #file, #pace, #protocol, #model, #token, #hotwords, #clean-up")) {
    control.disabled = running || (control.id === "model" && !chosenProtocol().choosesModel);
  }
}

function showFailure(error = failure) {
  failure = error;
  $("alert").hidden = !failure;
  $("alert").textContent = failure ? sayFailure(failure) : "";
}

function showSettings() {
  const microphone = chosenSource() === "microphone";
  $("file-options").hidden = microphone;
  $("clean-up-field").hidden = !microphone;
  $("address").textContent = addressOf(chosenProtocol(), BASE);
  const notes = { "key-needed": "keyNeeded", "key-refused": "keyWrong", fine: $("token").value ? "keyFine" : "keyless" };
  $("token-note").textContent = notes[server.status] ? say(notes[server.status]) : "";
  $("token").setAttribute("aria-invalid", String(server.status.startsWith("key-")));
  const unknown = server.status === "fine" ? "" : say("modelsUnknown");
  $("model-note").textContent = chosenProtocol().choosesModel ? unknown : say("modelFixed");
}

function showModels() {
  const chosen = $("model").value;
  const [first] = $("model").options;
  $("model").replaceChildren(first, ...server.models.map((id) => new Option(id, id)));
  $("model").value = server.models.includes(chosen) ? chosen : "";
}

function showLevel(loudness) {
  const dbfs = toDbfs(loudness ?? 0);
  const tooQuiet = loudness !== null && loudness < THRESHOLD_RMS;
  const meter = $("meter");
  meter.classList.toggle("too-quiet", tooQuiet);
  meter.classList.toggle("too-loud", dbfs > -3);
  meter.querySelector(".bar").style.transform = `scaleX(${meterPlace(dbfs)})`;
  meter.setAttribute("aria-valuenow", dbfs.toFixed(0));
  meter.setAttribute("aria-valuetext", `${dbfs.toFixed(0)} dBFS`);
  $("level-number").textContent =
    loudness === null ? "–" : `${minus(dbfs.toFixed(1))} dBFS · RMS ${loudness.toFixed(3)}`;
  $("threshold-note").textContent = THRESHOLD_RMS ? say(tooQuiet ? "belowThreshold" : "threshold", THRESHOLD) : "";
}

function minus(number) {
  return number.replace("-", "−");
}

const meterPlace = (dbfs) => 1 - dbfs / QUIETEST_DBFS; // 0 to 1 from left to right

function showThreshold() {
  const line = document.querySelector("#meter .threshold");
  line.hidden = !THRESHOLD_RMS;
  line.style.left = `${meterPlace(toDbfs(THRESHOLD_RMS)) * 100}%`;
}

function showFigures() {
  $("audio-sent").textContent = clockTime(latency.audioMs);
  for (const [name, values] of Object.entries(latencies)) {
    const figure = $(`${name}-latency`);
    figure.textContent = values.length ? say("latency", { last: values.at(-1).toFixed(0) }) : "–";
    const note = document.createElement("small");
    if (values.length > 1) note.textContent = say("latencyMedian", { median: median(values).toFixed(0) });
    else if (name === "partial" && !chosenProtocol().tellsPartialTimes) note.textContent = say("latencyNotTold");
    figure.append(" ", note);
  }
}

function showFinal(sentence) {
  following(() => {
    $("finals").append(lineOf(sentence));
    showTranscriptState();
  });
}

function showPartials() {
  following(() => {
    const lines = [...transcript.partials.values()].filter(({ text }) => text).map(lineOf);
    $("partials").replaceChildren(...lines);
    showTranscriptState();
  });
}

function showTranscriptState() {
  $("empty").hidden = !transcript.isEmpty || $("partials").childElementCount > 0;
  for (const id of ["copy", "save-txt", "save-srt", "clear"]) $(id).disabled = transcript.isEmpty;
}

function lineOf({ text, beginMs, endMs, unfinished }) {
  const line = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = beginMs === undefined ? "" : clockTime(beginMs);
  if (endMs) time.title = `${clockTime(beginMs)} – ${clockTime(endMs)}`;
  const words = document.createElement("span");
  words.className = unfinished ? "text unfinished" : "text";
  words.textContent = text;
  line.append(time, words);
  return line;
}

/** Keeps the newest line in sight, unless somebody has scrolled up to read. */
function following(change) {
  const lines = $("lines");
  const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
  change();
  if (atEnd) lines.scrollTop = lines.scrollHeight;
}

// --- what one does -------------------------------------------------------------------------------------------------

async function record() {
  const plan = {
    protocol: chosenProtocol(),
    base: BASE,
    token: $("token").value,
    model: $("model").value,
    hotwords: parseHotwords($("hotwords").value),
    source: chosenSource(),
    cleanUp: $("clean-up").checked,
    file: $("file").files[0],
    pace: Number($("pace").value),
  };
  latency = new Latency();
  latencies = { partial: [], final: [] };
  showFailure(null);
  showFigures();
  recording = new Recording(plan, {
    state: (name) => enter(name === "live" ? plan.source : name, plan.file?.name),
    heard: (pcm) => showLevel(loudestRms(pcm, plan.protocol.sampleRate)),
    chunk: (pcm) => {
      latency.sent((pcm.length / plan.protocol.sampleRate) * 1000);
      showFigures();
    },
    partial: (partial) => {
      measured("partial", partial.text ? partial.audioMs : undefined);
      transcript.partial(partial);
      showPartials();
    },
    final: (final) => {
      measured("final", final.endMs);
      const sentence = transcript.final(final);
      showPartials();
      if (sentence) showFinal(sentence);
    },
    warn: showFailure,
  });
  let error = null;
  try {
    await recording.run();
  } catch (thrown) {
    if (!(thrown instanceof LiveError)) throw thrown;
    error = await explained(thrown, plan);
    showFailure(error);
  } finally {
    recording = null;
    for (const sentence of transcript.endRecording(latency.audioMs)) showFinal(sentence);
    showPartials();
    showLevel(null);
    enter(error ? "failed" : "done");
  }
  if (error?.kind.startsWith("key-")) $("token").focus();
}

/** A browser doesn't tell why a WebSocket was refused; an ordinary request with the same key does. */
async function explained(error, { token }) {
  if (error.kind !== "not-connected") return error;
  await refreshModels(token);
  if (server.status.startsWith("key-")) return new LiveError(server.status);
  return server.status === "unreachable" ? error : new LiveError("no-websocket");
}

function measured(name, audioMs) {
  const ms = latency.since(audioMs);
  if (ms === null) return;
  latencies[name].push(ms);
  showFigures();
}

function enter(name, file = "") {
  state = { name, file };
  showState();
}

async function refreshModels(token) {
  server = await askForModels(BASE, token);
  showModels();
  showSettings();
}

async function copy() {
  try {
    await navigator.clipboard.writeText(transcript.text);
  } catch {
    // Pages that are neither https:// nor localhost have no clipboard, or it was not allowed; this is older and asks nobody.
    if (!copySelected(transcript.text)) {
      showFailure(new LiveError("copy"));
      return;
    }
  }
  $("copy").textContent = say("copied");
  setTimeout(() => ($("copy").textContent = say("copy")), 1500);
}

function copySelected(text) {
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  $("copy").focus();
  return copied;
}

function save(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

function clear() {
  transcript.clear();
  $("finals").replaceChildren();
  showPartials();
  $("start").focus();
}

const chosenProtocol = () => PROTOCOLS[$("protocol").value];
const chosenSource = () => document.querySelector('input[name="source"]:checked').value;

// --- language and theme --------------------------------------------------------------------------------------------

function setLanguage(language) {
  speak(language);
  $("language").textContent = language === "zh" ? "English" : "中文";
  $("language").lang = language === "zh" ? "en" : "zh";
  showState();
  showFailure();
  showSettings();
  showLevel(null);
  showFigures();
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
}

/** Storage may be switched off; the page works without. */
function remember(storage, key, value) {
  try {
    window[storage].setItem(key, value);
  } catch {
    // forgotten at the next visit, then
  }
}

function recall(storage, key) {
  try {
    return window[storage].getItem(key);
  } catch {
    return null;
  }
}

// --- start ---------------------------------------------------------------------------------------------------------

$("start").onclick = () => (recording ? recording.stop() : record());
$("copy").onclick = copy;
$("save-txt").onclick = () => save("transcript.txt", `${transcript.text}\n`);
$("save-srt").onclick = () => save("transcript.srt", toSrt(transcript.finals));
$("clear").onclick = clear;
$("settings").onsubmit = (event) => event.preventDefault();
$("sources").onchange = showSettings;
$("protocol").onchange = () => {
  showState();
  showSettings();
  showFigures();
};
$("token").onchange = () => {
  remember("sessionStorage", TOKEN, $("token").value);
  refreshModels($("token").value);
};
$("language").onclick = () => {
  const language = document.documentElement.lang.startsWith("zh") ? "en" : "zh";
  remember("localStorage", LANGUAGE, language);
  setLanguage(language);
};
$("theme").onclick = () => {
  const isDark = getComputedStyle(document.documentElement).getPropertyValue("--is-dark").trim() === "1";
  const theme = isDark ? "light" : "dark";
  remember("localStorage", THEME, theme);
  setTheme(theme);
};

setTheme(recall("localStorage", THEME));
$("token").value = recall("sessionStorage", TOKEN) ?? "";
showThreshold();
setLanguage(recall("localStorage", LANGUAGE) ?? (navigator.language.startsWith("zh") ? "zh" : "en"));
showTranscriptState();
await refreshModels($("token").value);
