/** What somebody types into the hotwords field. */

const DEFAULT_WEIGHT = 10;

/** `词 20 通义` is 词 with weight 20 and 通义 with the default one: [{ word, weight }]. Weights are 1 to 100. */
export function parseHotwords(text) {
  const hotwords = [];
  let weightMayFollow = false;
  for (const token of text.split(/[\s,;，、；]+/).filter(Boolean)) {
    if (weightMayFollow && /^([1-9]\d?|100)$/.test(token)) {
      hotwords.at(-1).weight = Number(token);
      weightMayFollow = false;
    } else {
      hotwords.push({ word: token, weight: DEFAULT_WEIGHT });
      weightMayFollow = true;
    }
  }
  return hotwords;
}
