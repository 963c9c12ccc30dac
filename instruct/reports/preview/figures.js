// Images with what is drawn on them, in SVG and in pixels of the image, so that it lies where the data says at any size.

const SVG = "http://www.w3.org/2000/svg";
const LAYERS = { boxes: true, masks: true, printed: true, labels: true };
const LAYER_NAMES = { boxes: "Boxes", masks: "Masks", printed: "As printed", labels: "Labels" };
const COLOURS = 8;

function draw(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  return element;
}

// The same label has the same colour within an example.
function colours(entry) {
  const labels = [...new Set(entry.row.regions.map((region) => region.label || ""))];
  return new Map(labels.map((label, index) => [label, index % COLOURS]));
}

function layersOf(entry) {
  return {
    boxes: entry.row.regions.filter((region) => region.box).length,
    masks: entry.outlines.filter(Boolean).length,
    printed: entry.printed.length,
    labels: entry.row.regions.filter((region) => region.label && region.box).length,
  };
}

function overlay(entry, index, width, height) {
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const colour = colours(entry);
  const layer = {};
  for (const name of ["masks", "boxes", "printed"]) {
    layer[name] = draw("g", { class: `layer ${name}` });
    svg.append(layer[name]);
  }
  entry.row.regions.forEach((region, number) => {
    if (region.image !== index) {
      return;
    }
    const marks = { "data-region": number, class: `colour${colour.get(region.label || "")}` };
    if (entry.outlines[number]) {
      const [maskHeight, maskWidth] = region.size;
      const path = draw("path", { ...marks, d: entry.outlines[number], "fill-rule": "evenodd" });
      path.setAttribute("transform", `scale(${width / maskWidth} ${height / maskHeight})`);
      layer.masks.append(path);
    }
    if (region.box) {
      const [x1, y1, x2, y2] = region.box;
      const box = { x: x1 * width, y: y1 * height, width: (x2 - x1) * width, height: (y2 - y1) * height };
      layer.boxes.append(draw("rect", { ...box, class: "halo" }), draw("rect", { ...box, ...marks }));
    }
  });
  for (const shape of entry.printed) {
    if (shape.image === index) {
      const [first, second] = shape.points;
      const corners = shape.kind === "box"
        ? [first, [second[0], first[1]], second, [first[0], second[1]]]
        : shape.points;
      const points = corners.map(([x, y]) => `${x * width},${y * height}`).join(" ");
      layer.printed.append(draw("polygon", { points }));
    }
  }
  return svg;
}

// Labels are HTML, so that they keep their size; their place is a share of the image.
function tags(entry, index) {
  const colour = colours(entry);
  const holder = make("div", { class: "layer labels", "aria-hidden": "true" });
  entry.row.regions.forEach((region, number) => {
    if (region.image === index && region.label && region.box) {
      const tag = make("span", { class: `tag colour${colour.get(region.label)}`, "data-region": number }, foreign(region.label));
      const [x1, y1, x2] = region.box;
      if (x1 > 0.6) {
        tag.style.right = `${(1 - x2) * 100}%`;
      } else {
        tag.style.left = `${x1 * 100}%`;
      }
      tag.style.top = `${y1 * 100}%`;
      tag.classList.toggle("inside", y1 < 0.06);
      holder.append(tag);
    }
  });
  return holder;
}

function figure(entry, index) {
  const caption = make("figcaption", {}, entry.captions[index]);
  const frame = make("div", { class: "frame" }, make("p", { class: "wait" }, "…"));
  const whole = make("figure", { "data-image": index }, caption, frame);
  PAGES.picture(entry.pictures[index]).then(
    (picture) => fill(entry, index, whole, picture),
    (error) => fill(entry, index, whole, { fault: error.message }),
  );
  return whole;
}

function fill(entry, index, whole, picture) {
  const frame = whole.querySelector(".frame");
  if (picture.fault) {
    frame.replaceChildren(make("p", { class: "fault" }, `Not shown: ${picture.fault}`));
    frame.classList.add("empty");
    return;
  }
  const { width, height } = picture;
  const image = make("img", { alt: `${entry.captions[index]} of ${plain(entry.row.id)}`, decoding: "async" });
  image.src = picture.uri;
  frame.style.setProperty("--ratio", width / height);
  frame.replaceChildren(image, overlay(entry, index, width, height), tags(entry, index));
  frame.title = "Larger or smaller (z)";
  frame.addEventListener("click", () => whole.classList.toggle("large"));
  const size = make("span", { class: "size" }, `${width} × ${height}${picture.note ? ` · ${picture.note}` : ""}`);
  whole.querySelector("figcaption").append(" ", size);
}

// Buttons for the layers that the example has, and the list of its regions.
function legend(entry) {
  const numbers = layersOf(entry);
  const buttons = Object.keys(LAYERS).filter((name) => numbers[name]).map((name) => {
    const number = name === "labels" ? "" : ` ${numbers[name]}`;
    const button = make("button", { type: "button", "data-layer": name }, `${LAYER_NAMES[name]}${number}`);
    button.addEventListener("click", () => toggleLayer(name));
    return button;
  });
  const colour = colours(entry);
  const items = entry.row.regions.map((region, number) => {
    const label = region.label ? foreign(region.label) : make("i", {}, "no label");
    const place = region.box ? region.box.map((share) => share.toFixed(3)).join(", ") : "no box";
    const item = make("li", { class: `colour${colour.get(region.label || "")}`, tabindex: "0" },
      make("span", { class: "swatch" }), label, make("code", {}, place),
      entry.pictures.length > 1 ? make("small", {}, entry.captions[region.image] || "") : null);
    for (const [event, lit] of [["mouseenter", true], ["focus", true], ["mouseleave", false], ["blur", false]]) {
      item.addEventListener(event, () => light(number, lit));
    }
    return item;
  });
  return make("div", { class: "legend" },
    make("div", { class: "layers", role: "group", "aria-label": "What is drawn" }, buttons),
    items.length ? make("ul", { class: "regions" }, items) : null);
}

function light(number, lit) {
  for (const mark of document.querySelectorAll(`#main [data-region="${number}"]`)) {
    mark.classList.toggle("lit", lit);
  }
}

function toggleLayer(name) {
  LAYERS[name] = !LAYERS[name];
  showLayers();
}

function showLayers() {
  const main = document.getElementById("main");
  for (const [name, on] of Object.entries(LAYERS)) {
    main.classList.toggle(`no-${name}`, !on);
  }
  for (const button of main.querySelectorAll("[data-layer]")) {
    button.setAttribute("aria-pressed", String(LAYERS[button.dataset.layer]));
  }
}
