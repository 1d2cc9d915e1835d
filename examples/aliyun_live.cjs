// Alibaba Cloud's npm client, live (npm install alibabacloud-nls; python3 with soundfile reads the recording).
const { execFileSync } = require("child_process")
const nls = require("alibabacloud-nls")

async function main() {
  const pcm = execFileSync("python3", ["-c",
    "import soundfile, sys; sys.stdout.buffer.write(soundfile.read('tests/fixtures/speech/weather.flac', dtype='int16')[0])"])
  const client = new nls.SpeechTranscription({ url: "ws://localhost:8000/ws/v1/asr", appkey: "any", token: "unused" })
  client.on("end", message => console.log(JSON.parse(message).payload.result))
  await client.start(client.defaultStartParams(), true, 1000)
  for (let at = 0; at < pcm.length; at += 3200) client.sendAudio(pcm.subarray(at, at + 3200))
  await client.close()
}

main()
