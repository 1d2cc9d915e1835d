/** The protocols to choose from, and where the server speaks them. */

import { AliyunSession } from "./aliyun.js";
import { FunasrSession } from "./funasr.js";
import { OpenaiSession } from "./openai.js";
import { QwenSession } from "./qwen.js";

export const PROTOCOLS = { aliyun: AliyunSession, funasr: FunasrSession, openai: OpenaiSession, qwen: QwenSession };

/** A protocol's address below `base` (the service's own http address). Browsers can send a key only in it. */
export function addressOf(protocol, base, token = "") {
  const address = new URL(protocol.path, base);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  if (token) address.searchParams.set("token", token);
  return address.href;
}
