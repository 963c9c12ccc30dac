// Where examples come from: all of them in this file, or page by page from `cxr-instruct preview --serve`.

const DATA = JSON.parse(document.getElementById("data").textContent);

function suits(group, filters, except) {
  return ["task", "dataset", "split"].every(
    (name) => name === except || !filters[name] || group[name] === filters[name],
  );
}

function inFile() {
  const words = DATA.entries.map((entry) =>
    [entry.row.id, ...entry.row.conversations.map((turn) => turn.value)].join("\n").toLowerCase(),
  );
  return {
    async page(filters) {
      const wanted = filters.text.toLowerCase();
      const entries = [];
      DATA.entries.forEach((entry, index) => {
        const group = { task: entry.row.task, dataset: entry.row.dataset, split: entry.split };
        if (suits(group, filters) && words[index].includes(wanted)) {
          entries.push({ ...entry, rank: index });
        }
      });
      return { entries, next: null, of: entries.length };
    },
    async picture(number) {
      return DATA.pictures[number];
    },
    told(state) {
      const all = DATA.entries.length;
      return `${(state.at + 1).toLocaleString("en")} of ${state.of.toLocaleString("en")}` +
        (state.of < all ? ` · ${all.toLocaleString("en")} in the file` : "");
    },
  };
}

function served() {
  const pictures = new Map();
  async function ask(address) {
    const answer = await fetch(address);
    if (!answer.ok) {
      throw new Error(await answer.text());
    }
    return answer.json();
  }
  return {
    page(filters, from) {
      return ask(`rows?${new URLSearchParams({ ...filters, from })}`);
    },
    picture(address) {
      if (!pictures.has(address)) {
        if (pictures.size > 200) {
          pictures.clear();
        }
        pictures.set(address, ask(address));
      }
      return pictures.get(address);
    },
    told(state) {
      return `${state.filters.text ? "found at " : ""}${(state.entries[state.at].rank + 1).toLocaleString("en")} of ` +
        state.of.toLocaleString("en");
    },
  };
}

const SERVED = DATA.entries === null;
const PAGES = SERVED ? served() : inFile();
