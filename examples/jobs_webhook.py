"""Jobs: make sure that a callback is genuine, as Standard Webhooks has it (needs nothing but Python)."""

import base64
import hashlib
import hmac
import time


def is_genuine(headers, body, secret, now):
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    is_signed = any(hmac.compare_digest(expected, one) for one in headers["webhook-signature"].split())
    return is_signed and abs(now - int(headers["webhook-timestamp"])) < 300  # a copy may come later


headers = {  # with lower-case names, as most frameworks have them; here Standard Webhooks' own example
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
print("in time:", is_genuine(headers, body, secret, now=1614265330))
print("changed:", is_genuine(headers, body + b" ", secret, now=1614265330))
print("an old copy:", is_genuine(headers, body, secret, now=time.time()))
