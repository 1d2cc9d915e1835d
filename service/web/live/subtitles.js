/** SRT of a transcript. */

const LONGEST_CUE_CHARACTERS = 40;
const ASSUMED_MS_PER_CHARACTER = 200; // where nobody told when a sentence ended
const SHORTEST_CUE_MS = 300;

/** Sentences of `{ text, beginMs, endMs }` in order; long ones are cut at punctuation, their time shared by length. */
export function toSrt(sentences) {
  const cues = sentences.flatMap((sentence, i) => cuesOf(sentence, sentences[i + 1]?.beginMs));
  return cues
    .map(({ text, beginMs, endMs }, i) => `${i + 1}\n${srtTime(beginMs)} --> ${srtTime(endMs)}\n${text}\n`)
    .join("\n");
}

function cuesOf({ text, beginMs, endMs }, nextBeginMs = Infinity) {
  const assumed = beginMs + text.length * ASSUMED_MS_PER_CHARACTER;
  const end = Math.max(Math.min(endMs ?? assumed, nextBeginMs), beginMs + SHORTEST_CUE_MS);
  const pieces = piecesOf(text);
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  let before = 0;
  return pieces.map((piece) => {
    const timeAt = (characters) => beginMs + ((end - beginMs) * characters) / length;
    const cue = { text: piece.trim(), beginMs: timeAt(before), endMs: timeAt(before + piece.length) };
    before += piece.length;
    return cue;
  });
}

function piecesOf(text) {
  const pieces = [];
  for (const clause of text.match(/[^，。？！、；,;?!]+[，。？！、；,;?!]*\s*|[，。？！、；,;?!]+/g) ?? [text]) {
    if (pieces.length && pieces.at(-1).length + clause.length <= LONGEST_CUE_CHARACTERS) {
      pieces[pieces.length - 1] += clause;
    } else {
      pieces.push(clause);
    }
  }
  return pieces;
}

function srtTime(ms) {
  const whole = Math.round(ms);
  const two = (n) => String(n).padStart(2, "0");
  const seconds = Math.floor(whole / 1000);
  const clock = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60].map(two).join(":");
  return `${clock},${String(whole % 1000).padStart(3, "0")}`;
}
