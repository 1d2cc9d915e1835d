# Alibaba Cloud's FlashRecognizer: the sentences of a recording, as subtitles (needs curl and python3).
curl -s -X POST "http://localhost:8000/stream/v1/FlashRecognizer?appkey=any&token=unused&sentence_max_length=12" \
    -H "Content-Type: application/octet-stream" --data-binary @tests/fixtures/speech/dialogue.flac |
    python3 -c 'import json, sys
for sentence in json.load(sys.stdin)["flash_result"]["sentences"][:3]:
    print(sentence["begin_time"], sentence["end_time"], sentence["text"])'
