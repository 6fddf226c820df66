"use strict";

(() => {
  const find = (id) => document.getElementById(id);
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  // Light or dark, remembered where the browser allows it.
  const root = document.documentElement;
  const theme = find("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const remember = (value) => {
    try { localStorage.setItem("layerwise-theme", value); } catch { /* a page from a file may not */ }
  };
  const recall = () => {
    try { return localStorage.getItem("layerwise-theme"); } catch { return null; }
  };
  const current = () => root.dataset.theme || (system.matches ? "dark" : "light");
  const label = () => { theme.textContent = current() === "dark" ? "Light" : "Dark"; theme.title = `${theme.textContent} colours`; };
  if (["light", "dark"].includes(recall())) root.dataset.theme = recall();
  theme.addEventListener("click", () => {
    root.dataset.theme = current() === "dark" ? "light" : "dark";
    remember(root.dataset.theme);
    label();
  });
  system.addEventListener("change", label);
  label();
  theme.hidden = false;
  for (const element of document.querySelectorAll(".scripted")) element.hidden = false;

  const copy = find("copy");
  copy?.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(find("command").textContent);
      copy.textContent = "Copied";
    } catch { // not allowed: select it, so that the keys for copying work
      getSelection().selectAllChildren(find("command"));
      copy.textContent = "Selected";
    }
    setTimeout(() => { copy.textContent = "Copy"; }, 2000);
  });

  // The unit browser.
  const data = JSON.parse(find("browser-data").textContent);
  const units = find("browser-units");
  const choice = find("browser-layer");
  const bars = find("browser-bars");
  let layer = data.layers[0];
  let chosen = 0;

  // A tile cut from a picture of tiles, `width` pixels of the page wide; "100%" fills its parent.
  const cut = (picture, sprite, place) => {
    const image = find(sprite.sprite);
    const [width, height] = sprite.tile;
    const rows = (image.naturalHeight + 1) / (height + 1);
    const x = place % sprite.columns, y = Math.floor(place / sprite.columns);
    picture.style.backgroundImage = `url(${image.src})`;
    picture.style.backgroundSize = `${100 * image.naturalWidth / width}% ${100 * image.naturalHeight / height}%`;
    const share = (step, tile, whole) => (whole > tile ? 100 * step * (tile + 1) / (whole - tile) : 0);
    picture.style.backgroundPosition =
      `${share(x, width, image.naturalWidth)}% ${share(y, height, image.naturalHeight)}%`;
    picture.style.aspectRatio = `${width} / ${height}`;
    picture.dataset.lines = rows;
    return picture;
  };
  const tile = (sprite, place, size, words) => {
    const picture = cut(make("span", { class: "tile", role: "img", "aria-label": words }), sprite, place);
    picture.style.width = `${size}px`;
    return picture;
  };

  const drawUnits = () => {
    units.replaceChildren(...layer.units.map((unit, place) => {
      const words = `Unit ${place}, mean activation ${unit.mean}` + (unit.state ? `, ${unit.state}` : "");
      const button = make("button", { type: "button", "aria-label": words, title: words, tabindex: -1 });
      if (layer.sprite) cut(button, layer, place).classList.add("tile");
      else button.textContent = place;
      button.addEventListener("click", () => choose(place));
      return button;
    }));
    units.classList.toggle("plain", !layer.sprite);
    choose(0);
  };

  const drawBars = (counts) => {
    const highest = Math.max(1, ...counts), step = 240 / counts.length;
    bars.replaceChildren(...counts.map((count, place) => {
      const bar = document.createElementNS(bars.namespaceURI, "rect");
      const height = 84 * count / highest;
      const box = { x: place * step + 0.5, y: 86 - height, width: step - 1, height };
      for (const [name, value] of Object.entries(box)) bar.setAttribute(name, value);
      return bar;
    }));
    const line = document.createElementNS(bars.namespaceURI, "line");
    for (const [name, value] of Object.entries({ x1: 0, x2: 240, y1: 86.5, y2: 86.5 })) line.setAttribute(name, value);
    bars.append(line);
    const total = counts.reduce((sum, count) => sum + count, 0);
    const words = `Activations of ${total} rows; axis from ${layer.low} to ${layer.high}, the range of all units of the layer`;
    bars.setAttribute("aria-label", `${words}; the highest bar holds ${highest}.`);
    find("browser-scale").textContent = `${words}.`;
  };

  const drawWeights = (weights) => {
    const largest = Math.max(...weights.map(([, weight]) => Math.abs(weight))) || 1;
    return make("dl", { class: "weights" }, ...weights.flatMap(([name, weight]) => {
      const bar = make("span", weight < 0 ? { class: "negative" } : {});
      bar.style.width = `${50 * Math.abs(weight) / largest}%`;
      return [make("dt", { title: name }, name), make("dd", { class: "signed" }, bar), make("dd", {}, weight.toPrecision(3))];
    }));
  };

  const drawImages = (rows) => make("ol", {}, ...rows.map(([place, activation]) => {
    const name = data.rows.names[place];
    return make("li", {}, tile(data.rows, place, 72, name), make("span", {}, `${name}: ${activation}`));
  }));

  const drawTable = (unit) => {
    const names = unit.weights.slice(0, unit.values[0].length).map(([name]) => name);
    const head = ["Row", "Activation", ...names].map((name) => make("th", { scope: "col" }, name));
    const lines = unit.values.map((values, place) => make("tr", {},
      make("th", { scope: "row" }, unit.names[place]),
      ...[unit.rows[place][1], ...values].map((value) => make("td", { class: "number" }, value))));
    return make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...lines));
  };

  const choose = (place) => {
    units.children[chosen]?.setAttribute("tabindex", -1);
    units.children[chosen]?.setAttribute("aria-pressed", false);
    chosen = place;
    units.children[chosen].setAttribute("tabindex", 0);
    units.children[chosen].setAttribute("aria-pressed", true);
    const unit = layer.units[place];
    find("browser-name").textContent = `${layer.name}, unit ${place}`;
    find("browser-words").textContent = `mean activation ${unit.mean}` + (unit.state ? `; ${unit.state}` : "");
    find("browser-filter").replaceChildren(
      layer.sprite ? tile(layer, place, 144, `Filter of unit ${place}`) : drawWeights(unit.weights));
    drawBars(unit.counts);
    find("browser-best").replaceChildren(layer.sprite ? drawImages(unit.rows) : drawTable(unit));
  };

  const columns = () => {
    const top = units.children[0].offsetTop;
    const count = [...units.children].findIndex((button) => button.offsetTop > top);
    return count < 0 ? units.children.length : count;
  };
  units.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns(), Home: -1e9, End: 1e9 };
    if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const last = units.children.length - 1;
    const place = chosen + steps[event.key];
    choose(Math.abs(steps[event.key]) < 1e9 && (place < 0 || place > last) ? chosen : Math.min(last, Math.max(0, place)));
    units.children[chosen].focus();
  });

  data.layers.forEach((each, place) => {
    const shown = each.units.length < each.n_units ? `${each.units.length} of ${each.n_units}` : each.n_units;
    choice.append(make("option", { value: place }, `${each.name}: ${shown} units`));
  });
  choice.addEventListener("change", () => { layer = data.layers[choice.value]; chosen = 0; drawUnits(); });
  const images = [...document.querySelectorAll("#filters img, #browser img")];
  Promise.all(images.map((image) => image.decode().catch(() => {}))).then(drawUnits);
})();
