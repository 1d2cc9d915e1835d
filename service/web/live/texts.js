/** Every word that the page says, in its languages. */

const TEXTS = {
  en: {
    title: "Live speech recognition",
    colon: ": ",
    apiDocs: "API",
    theme: "Light or dark",
    source: "Sound",
    microphone: "Microphone",
    file: "Audio file",
    pace: "Pace",
    paceReal: "as it was spoken",
    paceFour: "4 times faster",
    paceMax: "as fast as it goes",
    start: "Start",
    stop: "Stop",
    level: "Level",
    threshold: "near-field threshold {rms} ({dbfs} dBFS)",
    belowThreshold: "below the near-field threshold {rms}: starts no sentence",
    transcript: "Transcript",
    copy: "Copy",
    copied: "Copied",
    saveText: "Download as text",
    saveSubtitles: "Download as subtitles",
    clear: "Clear",
    empty: "Press Start and speak. Text is grey while it may still change and dark once it is final.",
    audioSent: "Audio sent",
    partialLatency: "Sound to text",
    finalLatency: "End of speech to final",
    latency: "{last} ms",
    latencyMedian: "median {median}",
    latencyNotTold: "not told by this protocol",
    settings: "Settings",
    protocol: "Protocol",
    protocolAliyun: "Alibaba Cloud",
    model: "Model",
    modelDefault: "the server’s default",
    modelFixed: "This protocol has no choice of model.",
    token: "API key",
    hotwords: "Hotwords",
    hotwordsNote: "Words or names to listen for, separated by spaces; a number after a word is its weight.",
    cleanUp: "Let the browser clean up the microphone",
    cleanUpNote: "Takes echo and noise out and evens the level. Off: what the microphone hears.",
    keyNeeded: "This server asks for a key. It stays in this tab and is forgotten when you close it.",
    keyWrong: "The server refused this key.",
    keyFine: "The key is good. It stays in this tab and is forgotten when you close it.",
    keyless: "This server asks for no key.",
    modelsUnknown: "The list of models could not be fetched.",
    connecting: "Connecting …",
    listening: "Listening",
    streaming: "Sending {name}",
    finishing: "Waiting for the last words …",
    done: "Done",
    "failure.key-refused": "The server refused the API key.",
    "failure.key-needed": "This server asks for an API key: enter it under Settings.",
    "failure.not-connected": "The server can’t be reached.",
    "failure.no-websocket":
      "The server answers, but did not accept the live connection. If a proxy is between, let it pass WebSockets.",
    "failure.closed": "The connection was lost.",
    "failure.failed": "The server ended the session.",
    "failure.no-completion": "The server did not finish in time; the last words may be missing.",
    "failure.not-understood": "The server answered in a way that this page doesn’t understand.",
    "failure.microphone-denied":
      "The microphone is not allowed here. Allow it in the browser’s site settings, then start again.",
    "failure.microphone-missing": "No microphone was found.",
    "failure.microphone-busy": "The microphone can’t be used; another program may hold it.",
    "failure.microphone-lost": "The microphone has gone. What was heard until then is recognised.",
    "failure.microphone-insecure":
      "Browsers lend the microphone only to https:// pages and to localhost. An audio file works here as well.",
    "failure.file-missing": "Choose an audio file first.",
    "failure.file-undecodable": "This browser can’t decode the file.",
    "failure.copy": "The browser did not allow copying.",
  },
  zh: {
    title: "实时语音识别",
    colon: "：",
    apiDocs: "接口文档",
    theme: "浅色或深色",
    source: "声音来源",
    microphone: "麦克风",
    file: "音频文件",
    pace: "速度",
    paceReal: "按原速",
    paceFour: "4 倍速",
    paceMax: "尽可能快",
    start: "开始",
    stop: "停止",
    level: "音量",
    threshold: "近场阈值 {rms}（{dbfs} dBFS）",
    belowThreshold: "低于近场阈值 {rms}：不会开始新句",
    transcript: "识别结果",
    copy: "复制",
    copied: "已复制",
    saveText: "下载文本",
    saveSubtitles: "下载字幕",
    clear: "清空",
    empty: "点击“开始”后说话。灰色文字可能还会变化，变深后即为最终结果。",
    audioSent: "已发送音频",
    partialLatency: "声音到文字",
    finalLatency: "说完到最终结果",
    latency: "{last} 毫秒",
    latencyMedian: "中位数 {median}",
    latencyNotTold: "此协议不提供",
    settings: "设置",
    protocol: "协议",
    protocolAliyun: "阿里云",
    model: "模型",
    modelDefault: "服务器默认",
    modelFixed: "此协议不能选择模型。",
    token: "API 密钥",
    hotwords: "热词",
    hotwordsNote: "需要重点识别的词或名称，用空格分隔；词后的数字是它的权重。",
    cleanUp: "让浏览器处理麦克风声音",
    cleanUpNote: "消除回声和噪声并均衡音量。关闭时使用麦克风原声。",
    keyNeeded: "此服务器需要密钥。密钥只保存在本标签页，关闭后即清除。",
    keyWrong: "服务器拒绝了此密钥。",
    keyFine: "密钥有效。密钥只保存在本标签页，关闭后即清除。",
    keyless: "此服务器不需要密钥。",
    modelsUnknown: "无法获取模型列表。",
    connecting: "正在连接……",
    listening: "正在聆听",
    streaming: "正在发送 {name}",
    finishing: "正在等待最后的结果……",
    done: "已完成",
    "failure.key-refused": "服务器拒绝了 API 密钥。",
    "failure.key-needed": "此服务器需要 API 密钥，请在“设置”中填写。",
    "failure.not-connected": "无法连接服务器。",
    "failure.no-websocket": "服务器有响应，但没有接受实时连接。如果中间有代理，请允许 WebSocket 通过。",
    "failure.closed": "连接已断开。",
    "failure.failed": "服务器结束了会话。",
    "failure.no-completion": "服务器未能及时完成，最后的文字可能缺失。",
    "failure.not-understood": "无法理解服务器的回答。",
    "failure.microphone-denied": "未获准使用麦克风。请在浏览器的网站设置中允许，然后重新开始。",
    "failure.microphone-missing": "没有找到麦克风。",
    "failure.microphone-busy": "无法使用麦克风，可能被其他程序占用。",
    "failure.microphone-lost": "麦克风已断开。此前听到的内容会被识别。",
    "failure.microphone-insecure": "浏览器只允许 https:// 页面和 localhost 使用麦克风。这里也可以使用音频文件。",
    "failure.file-missing": "请先选择音频文件。",
    "failure.file-undecodable": "此浏览器无法解码该文件。",
    "failure.copy": "浏览器不允许复制。",
  },
};

export const LANGUAGES = Object.keys(TEXTS);

let language = "en";

/** Translates the whole page, and all that `say` tells from now on. */
export function speak(wanted) {
  language = wanted;
  document.documentElement.lang = wanted === "zh" ? "zh-CN" : wanted;
  for (const element of document.querySelectorAll("[data-i18n]")) element.textContent = say(element.dataset.i18n);
  for (const element of document.querySelectorAll("[data-i18n-label]")) {
    element.setAttribute("aria-label", say(element.dataset.i18nLabel));
    element.title = say(element.dataset.i18nLabel);
  }
}

export function say(key, values = {}) {
  return TEXTS[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** A failure in words, and what the server or the browser said of it. */
export function sayFailure({ kind, detail }) {
  const words = say(`failure.${kind}`);
  return detail ? `${words.replace(/[.。]$/, "")}${say("colon")}${detail}` : words;
}

export function keysOf(wanted) {
  return Object.keys(TEXTS[wanted]);
}
