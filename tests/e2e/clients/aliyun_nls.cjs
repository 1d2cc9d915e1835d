// Recognises a file of PCM16 with Alibaba Cloud's npm client, as its README shows.
// Arguments: SpeechTranscription|SpeechRecognition URL TOKEN FILE. Prints a JSON line for every event.
"use strict"

const fs = require("fs")
const nls = require("alibabacloud-nls")

const [kind, url, token, file] = process.argv.slice(2)
const EVENTS = ["started", "changed", "begin", "end", "completed", "failed", "closed"]
const FRAME_BYTES = 3200
const PAUSE_MS = 20

const print = (event, message) => console.log(JSON.stringify({ event, message: message && JSON.parse(message) }))

async function main() {
  const client = new nls[kind]({ url, appkey: "default", token })
  for (const event of EVENTS) client.on(event, message => print(event, message))
  client.on("failed", () => process.exit(0))
  await client.start(client.defaultStartParams(), true, 1000)
  const audio = fs.readFileSync(file)
  for (let at = 0; at < audio.length; at += FRAME_BYTES) {
    if (!client.sendAudio(audio.subarray(at, at + FRAME_BYTES))) throw new Error("audio was refused")
    await new Promise(resolve => setTimeout(resolve, PAUSE_MS))
  }
  await client.close()
}

main().catch(error => {
  console.log(JSON.stringify({ event: "error", message: { error: String(error && error.message || error) } }))
  process.exit(0)
})
