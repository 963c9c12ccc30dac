// One example at a time: the conversation, where it comes from, and the way to the next one.

const $ = (id) => document.getElementById(id);
const state = { filters: { task: "", dataset: "", split: "", text: "" }, entries: [], at: 0, of: 0, next: null, from: 0, before: [] };
let asked = 0;

// --- one example

// One turn; `first` is the number of the first image that it places.
function turn(message, entry, first) {
  let index = first;
  const said = make("div", { class: "said" });
  for (const part of message.content) {
    if (part.type === "image") {
      said.append(chip(entry, index++));
    } else {
      write(said, part.text);
    }
  }
  return make("section", { class: `turn ${message.role}` }, make("h3", {}, message.role), said);
}

function talk(entry) {
  let placed = 0;
  return entry.row.messages.map((message) => {
    const first = placed;
    placed += message.content.filter((part) => part.type === "image").length;
    return turn(message, entry, first);
  });
}

// Where an image stands in the text.
function chip(entry, index) {
  const button = make("button", { type: "button", class: "chip" }, `▣ ${entry.captions[index] || "image"}`);
  button.addEventListener("click", () => {
    const shown = document.querySelector(`#main figure[data-image="${index}"]`);
    shown.scrollIntoView({ block: "nearest" });
    shown.classList.add("lit");
    setTimeout(() => shown.classList.remove("lit"), 900);
  });
  return button;
}

function choices(row) {
  if (!row.options.length && !row.answers.length) {
    return null;
  }
  const right = new Set(row.answers);
  const listed = [...row.options, ...row.answers.filter((answer) => !row.options.includes(answer))];
  return make("section", { class: "choices" },
    make("h3", {}, row.options.length ? "options" : "answers"),
    make("ul", {}, listed.map((option) =>
      make("li", { class: right.has(option) ? "right" : null }, right.has(option) ? "✓ " : null, foreign(option)))));
}

function facts(entry, open) {
  const { row } = entry;
  const source = DATA.terms.sources.find((one) => one.name === entry.source);
  const held = [
    ["Example", row.id],
    ["Record", row.keys.record],
    ["Patient", row.keys.patient],
    ["Studies", row.keys.studies],
    ["Images", row.keys.images],
    ["Published in", row.provenance.origin],
    ["Template", `${row.provenance.template} (${row.provenance.template_digest})`],
    ["Variant", row.provenance.variant],
    ["Task spec", row.provenance.spec_digest],
    ["Source", source ? `${source.name}: ${source.access}; ${source.licence}` : entry.source],
  ];
  const list = make("dl", {});
  for (const [name, value] of held) {
    const values = (Array.isArray(value) ? value : [value ?? "not stated"]);
    list.append(make("dt", {}, name), make("dd", {}, (values.length ? values : ["none"]).map((one) => make("div", {}, foreign(one)))));
  }
  return make("details", { class: "facts", open },
    make("summary", {}, "Record, template and provenance"), list);
}

function raw(entry) {
  const details = make("details", { class: "raw" }, make("summary", {}, "Row as stored"));
  details.addEventListener("toggle", () => {
    if (details.open && !details.querySelector("pre")) {
      details.append(write(make("pre", { class: "text" }), JSON.stringify(entry.row, null, 1)));
    }
  });
  return details;
}

function show() {
  const main = $("main");
  const entry = state.entries[state.at];
  const open = main.querySelector(".facts")?.open ?? true;
  if (!entry) {
    main.replaceChildren(make("p", { class: "nothing" }, "No example suits the filters."));
    $("count").textContent = "0 of 0";
    showWay();
    return;
  }
  const { row } = entry;
  const images = entry.pictures.map((_, index) => figure(entry, index));
  const compared = entry.captions[0] === "Prior";
  const article = make("article", { class: images.length ? "with-images" : "text-only" },
    make("header", { class: "head" },
      make("h2", {}, foreign(row.task)),
      make("p", {}, make("span", { class: "pill" }, foreign(row.dataset)), make("span", { class: `pill ${entry.split}` }, entry.split),
        make("span", { class: "id" }, foreign(row.id)))),
    images.length
      ? make("div", { class: "pictures" },
          make("div", { class: `images ${compared ? "compared" : ""} ${images.length > 1 ? "several" : ""}` }, images),
          row.regions.length ? legend(entry) : null)
      : null,
    make("div", { class: "talk" }, talk(entry), choices(row)),
    make("div", { class: "about" }, facts(entry, open), raw(entry)));
  main.replaceChildren(article);
  showLayers();
  $("count").textContent = PAGES.told(state);
  for (const item of $("list").children) {
    item.classList.toggle("now", Number(item.dataset.at) === state.at);
  }
  $("list").querySelector(".now")?.scrollIntoView({ block: "nearest" });
  try {
    history.replaceState(null, "", `#${entry.rank + 1}`);
  } catch {
    // A page without an address of its own cannot change it.
  }
  for (const address of state.entries[state.at + 1]?.pictures ?? []) {
    PAGES.picture(address).catch(() => null);
  }
  showWay();
}

// --- the way through the examples

function showWay() {
  $("previous").disabled = !(state.at > 0 || state.before.length || state.from > 0);
  $("next").disabled = !(state.at + 1 < state.entries.length || state.next !== null);
}

function list() {
  $("list").replaceChildren(...state.entries.map((entry, index) => {
    const item = make("li", { "data-at": index },
      make("button", { type: "button" }, make("b", {}, foreign(entry.row.task)),
        make("span", {}, foreign(entry.row.dataset), ` · ${entry.split} · `, foreign(entry.row.id))));
    item.firstChild.addEventListener("click", () => go(index));
    return item;
  }));
}

function go(index) {
  state.at = index;
  show();
  window.scrollTo({ top: 0 });
}

async function load(from, last = false) {
  const mine = ++asked;
  let at = from;
  try {
    for (;;) {
      const page = await PAGES.page(state.filters, at);
      if (mine !== asked) {
        return false; // other filters have been set since
      }
      if (page.entries.length || page.next === null) {
        Object.assign(state, page, { from, at: last ? Math.max(0, page.entries.length - 1) : 0 });
        list();
        show();
        return true;
      }
      at = page.next;
      $("count").textContent = `searched ${at.toLocaleString("en")} of ${page.of.toLocaleString("en")} …`;
    }
  } catch (error) {
    $("main").replaceChildren(make("p", { class: "nothing" }, `The examples could not be read: ${error.message}`));
    return false;
  }
}

async function next() {
  if (state.at + 1 < state.entries.length) {
    go(state.at + 1);
  } else if (state.next !== null) {
    const { from } = state;
    if (await load(state.next)) {
      state.before.push(from);
      showWay();
    }
  }
}

async function previous() {
  if (state.at > 0) {
    go(state.at - 1);
  } else if (state.before.length) {
    await load(state.before.pop(), true);
  } else if (state.from > 0) {
    const { from } = state;
    await load(Math.max(0, from - 24));
    const before = state.entries.findLastIndex((entry) => entry.rank < from);
    go(Math.max(0, before));
  }
}

// --- filters

const ALL = { task: "All tasks", dataset: "All datasets", split: "All splits" };

function offer() {
  for (const name of ["task", "dataset", "split"]) {
    const numbers = new Map();
    for (const group of DATA.groups) {
      const number = suits(group, state.filters, name) ? group.examples : 0;
      numbers.set(group[name], (numbers.get(group[name]) || 0) + number);
    }
    const options = [make("option", { value: "" }, ALL[name])];
    for (const [value, number] of numbers) {
      options.push(make("option", { value, disabled: number === 0 }, `${plain(value)} (${number.toLocaleString("en")})`));
    }
    $(name).replaceChildren(...options);
    $(name).value = state.filters[name];
  }
}

function filter() {
  for (const name of Object.keys(state.filters)) {
    state.filters[name] = $(name).value;
  }
  state.before = [];
  offer();
  return load(0);
}

// --- keys and buttons

const KEYS = [
  [["ArrowRight", "j"], "→ or j", "next example", next],
  [["ArrowLeft", "k"], "← or k", "previous example", previous],
  [["Home"], "Home", "first example of the list", () => go(0)],
  [["End"], "End", "last example of the list", () => go(Math.max(0, state.entries.length - 1))],
  [["/"], "/", "find in text", () => $("text").focus()],
  [["b"], "b", "boxes on or off", () => toggleLayer("boxes")],
  [["m"], "m", "masks on or off", () => toggleLayer("masks")],
  [["p"], "p", "boxes and polygons as the text prints them, on or off", () => toggleLayer("printed")],
  [["l"], "l", "labels on or off", () => toggleLayer("labels")],
  [["z"], "z", "images larger or smaller", zoom],
  [["r"], "r", "row as stored", () => document.querySelector("#main .raw summary")?.click()],
  [["d"], "d", "light or dark", changeTheme],
  [["?"], "?", "this list", () => $("help").showModal()],
  [["Escape"], "Esc", "leave a field, close this list", () => null],
];

function zoom() {
  const figures = [...document.querySelectorAll("#main figure")];
  const large = figures.some((one) => !one.classList.contains("large"));
  figures.forEach((one) => one.classList.toggle("large", large));
}

function changeTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) {
    return;
  }
  if (event.target.closest("input, select, textarea")) {
    if (event.key === "Escape") {
      event.target.blur();
    }
    return;
  }
  const key = KEYS.find(([names]) => names.includes(event.key));
  if (key) {
    event.preventDefault();
    key[3]();
  }
});

let typing = 0;
$("text").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(filter, SERVED ? 300 : 80);
});
for (const name of ["task", "dataset", "split"]) {
  $(name).addEventListener("change", filter);
}
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("next").addEventListener("click", next);
$("previous").addEventListener("click", previous);
$("theme").addEventListener("click", changeTheme);
$("help-button").addEventListener("click", () => $("help").showModal());
$("terms-button").addEventListener("click", () => {
  const open = $("terms").toggleAttribute("hidden") === false;
  $("terms-button").setAttribute("aria-expanded", String(open));
});
$("goto").addEventListener("change", () => {
  const number = Number($("goto").value);
  if (Number.isInteger(number) && number >= 1 && number <= state.of) {
    state.before = [];
    load(number - 1);
  }
});

for (const [, name, meaning] of KEYS) {
  $("keys").append(make("dt", {}, make("kbd", {}, name)), make("dd", {}, meaning));
}
for (const source of DATA.terms.sources) {
  $("sources").append(make("li", {}, make("b", {}, foreign(source.name)), ` (${plain(source.access)}): `, foreign(source.licence)));
}
for (const [source, reason] of Object.entries(DATA.terms.permissions)) {
  $("sources").append(make("li", {}, make("b", {}, foreign(source)), " is shown by permission: ", foreign(reason)));
}
$("made").textContent = `Build ${DATA.name}: ${SERVED ? "all" : `a sample of ${DATA.entries.length.toLocaleString("en")} of`} ` +
  `${DATA.total.toLocaleString("en")} examples, by cxr-instruct ${DATA.version}.`;
$("goto-box").hidden = !SERVED;
offer();

const start = Math.max(0, (parseInt(location.hash.slice(1), 10) || 1) - 1);
load(SERVED ? Math.min(start, DATA.total - 1) : 0).then(() => {
  if (!SERVED && start < state.entries.length) {
    go(start);
  }
  document.body.dataset.ready = "yes";
});
