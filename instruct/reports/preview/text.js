// Text of a dataset comes from anywhere. It is only ever put into text nodes, and what would not be seen, or would turn
// the direction of what follows, is shown by its code point.

const UNSEEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;
const CODE_NAMES = {
  "00AD": "soft hyphen", "061C": "Arabic letter mark", "200B": "zero width space", "200C": "zero width non-joiner",
  "200D": "zero width joiner", "200E": "left-to-right mark", "200F": "right-to-left mark",
  "202A": "left-to-right embedding", "202B": "right-to-left embedding", "202C": "pop directional formatting",
  "202D": "left-to-right override", "202E": "right-to-left override", "2066": "left-to-right isolate",
  "2067": "right-to-left isolate", "2068": "first strong isolate", "2069": "pop directional isolate",
  FEFF: "byte order mark",
};

function codeOf(character) {
  return character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
}

// As one string, for places that hold no elements.
function plain(text) {
  return String(text).replace(UNSEEN, (character) => `‹U+${codeOf(character)}›`);
}

function write(element, text) {
  const whole = String(text);
  let end = 0;
  for (const match of whole.matchAll(UNSEEN)) {
    element.append(whole.slice(end, match.index));
    const mark = document.createElement("span");
    const code = codeOf(match[0]);
    mark.className = "unseen";
    mark.textContent = `U+${code}`;
    mark.title = CODE_NAMES[code] || "control character";
    element.append(mark);
    end = match.index + match[0].length;
  }
  element.append(whole.slice(end));
  return element;
}

// An element; strings among its children are foreign text.
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  for (const child of children.flat()) {
    if (child instanceof Node) {
      element.append(child);
    } else if (child !== null && child !== undefined) {
      write(element, child);
    }
  }
  return element;
}

// Foreign text in a line of ours: its direction ends where it ends.
function foreign(text, className) {
  return make("bdi", { class: className }, text);
}
