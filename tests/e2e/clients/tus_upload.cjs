// Uploads a file with tus-js-client, which goes on by itself after whatever happens.
// Arguments: ENDPOINT KEY FILE. Prints the address of the finished upload.
"use strict"

const fs = require("fs")
const path = require("path")
const tus = require("tus-js-client")

const [endpoint, key, file] = process.argv.slice(2)

const upload = new tus.Upload(fs.createReadStream(file), {
  endpoint,
  chunkSize: 128 * 1024,
  headers: { Authorization: `Bearer ${key}` },
  metadata: { filename: path.basename(file) },
  retryDelays: Array(120).fill(500),
  onError: error => {
    console.error(error)
    process.exit(1)
  },
  onSuccess: () => console.log(upload.url),
})

upload.start()
