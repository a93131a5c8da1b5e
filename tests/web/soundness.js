// What is wrong with the page as it is shown now: a text for each fault, none where all is well.
() => {
  const faults = [];
  const place = (element) => element.outerHTML.replace(/\s+/g, " ").slice(0, 120);
  const isShown = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  const textOf = (element) => (element.textContent || "").trim();

  const nameOf = (element) => {
    const labels = (element.getAttribute("aria-labelledby") || "").split(/\s+/).filter(Boolean);
    const images = [...element.querySelectorAll("img[alt], [role=img][aria-label]")];
    return [
      ...labels.map((id) => textOf(document.getElementById(id) || document.createElement("i"))),
      element.getAttribute("aria-label") || "",
      ...[...(element.labels || [])].map(textOf),
      /^(INPUT|SELECT|PROGRESS)$/i.test(element.tagName) ? "" : textOf(element),
      ...images.map((image) => image.getAttribute("alt") || image.getAttribute("aria-label") || ""),
    ].join("").trim();
  };

  const check = (isWell, fault, element) => { if (!isWell) faults.push(element ? `${fault}: ${place(element)}` : fault); };

  check(document.documentElement.lang === "en", "no language");
  check(document.title.trim(), "no title");
  check(document.querySelectorAll("h1").length === 1, "not one h1");
  check(document.querySelectorAll("main").length === 1, "not one main");
  check(document.querySelector("header, [role=banner]"), "no header");
  for (const nav of document.querySelectorAll("nav")) check(nameOf(nav), "a nav without a name", nav);
  for (const part of document.querySelectorAll("[role=region], [role=search], section")) {
    check(part.getAttribute("aria-label") || part.getAttribute("aria-labelledby") || part.matches("section:not(.notice):not(.card)")
      || part.querySelector("h1"), "a part without a name", part);
  }
  for (const named of document.querySelectorAll("[aria-labelledby], [aria-describedby]")) {
    for (const attribute of ["aria-labelledby", "aria-describedby"]) {
      for (const id of (named.getAttribute(attribute) || "").split(/\s+/).filter(Boolean)) {
        check(document.getElementById(id), `${attribute} leads nowhere`, named);
      }
    }
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  check(new Set(ids).size === ids.length, `ids that are used twice: ${ids.filter((id, at) => ids.indexOf(id) !== at)}`);

  let level = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
    const here = Number(heading.tagName[1]);
    check(here <= level + 1 || level === 0, "a heading that skips a level", heading);
    level = here;
  }

  for (const control of document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, progress, [tabindex='0']")) {
    check(nameOf(control), "a control without a name", control);
  }
  for (const field of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
    check(field.labels.length || field.getAttribute("aria-label"), "a field without a label", field);
  }
  for (const image of document.querySelectorAll("img")) check(image.hasAttribute("alt"), "an image without alt", image);
  for (const drawing of document.querySelectorAll("svg")) {
    check(drawing.getAttribute("aria-hidden") === "true" || drawing.getAttribute("aria-label"), "a drawing without a name", drawing);
  }
  for (const table of document.querySelectorAll("table")) {
    check(table.caption && textOf(table.caption), "a table without a caption", table);
    for (const header of table.querySelectorAll("th")) check(header.scope, "a header without a scope", header);
    for (const row of table.tBodies[0]?.rows || []) check(row.querySelector("th"), "a row without a header", row);
  }
  for (const badge of document.querySelectorAll(".badge")) {
    check(badge.querySelector("svg") && textOf(badge), "a badge that is colour alone", badge);
  }
  for (const element of document.querySelectorAll("[style]:not([style=\"\"])")) faults.push(`a style of its own: ${place(element)}`);
  for (const script of document.querySelectorAll("script:not([src])")) faults.push(`a script of its own: ${place(script)}`);

  // Contrast, as WCAG 2 reckons it.
  const parse = (text) => {
    const [red, green, blue, alpha = 1] = text.match(/[\d.]+/g).map(Number);
    return { red, green, blue, alpha };
  };
  const over = (top, below) => ({
    red: top.red * top.alpha + below.red * (1 - top.alpha),
    green: top.green * top.alpha + below.green * (1 - top.alpha),
    blue: top.blue * top.alpha + below.blue * (1 - top.alpha),
    alpha: 1,
  });
  const groundOf = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reduceRight((below, top) => over(top, below), { red: 255, green: 255, blue: 255, alpha: 1 });
  };
  const light = ({ red, green, blue }) => {
    const [r, g, b] = [red, green, blue].map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [bright, dark] = [light(one), light(other)].sort((a, b) => b - a);
    return (bright + 0.05) / (dark + 0.05);
  };
  const seen = new Set();
  const readable = (element, style) => {
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ground = groundOf(element);
    const found = contrast(over(parse(style.color), ground), ground);
    if (found < (isLarge ? 3 : 4.5)) faults.push(`a contrast of ${found.toFixed(2)}: ${place(element)}`);
  };
  const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (words.nextNode()) {
    const element = words.currentNode.parentElement;
    if (seen.has(element) || !words.currentNode.data.trim() || !isShown(element)) continue;
    if (element.closest("noscript, svg, [disabled]")) continue;
    seen.add(element);
    readable(element, getComputedStyle(element));
  }
  for (const field of document.querySelectorAll("input[placeholder]")) readable(field, getComputedStyle(field, "::placeholder"));

  const wide = document.documentElement.scrollWidth;
  check(wide <= document.documentElement.clientWidth, `it is ${wide} wide, more than the window`);
  return faults;
}
