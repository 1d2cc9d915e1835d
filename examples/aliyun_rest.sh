# Alibaba Cloud's REST API: the text of a recording (needs curl and python3).
curl -s -X POST "http://localhost:8000/stream/v1/asr?enable_punctuation_prediction=true" -H "X-NLS-Token: unused" \
    -H "Content-Type: application/octet-stream" --data-binary @tests/fixtures/speech/date.flac |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["result"])'
