// The page of `allgood serve`. All numbers come from the service: /v1/score once, /v1/what-if while a slider moves.
"use strict";

const byId = (id) => document.getElementById(id);
const NAMES = ["A", "B"];
let objectives = [];
let rows = [];            // of the last /v1/score
let cuts = [];
let references = {};      // as the sliders say
let moves = 0;            // answers to earlier moves of a slider are dropped

async function ask(path, body) {
  const headers = { "Content-Type": "application/json" };
  const token = byId("token").value;
  if (token) headers.Authorization = "Bearer " + token;
  const options = body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers };
  const answer = await fetch(path, options);
  if (answer.status === 401) {
    byId("token-field").hidden = false;
    byId("token").focus();
  }
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error);
  return content;
}

async function loadObjectives() {
  objectives = (await ask("v1/objectives")).objectives;
  byId("objective").replaceChildren(...objectives.map((one) => new Option(one.name, one.name)));
  showObjective();
}

function chosen() {
  return objectives.find((one) => one.name === byId("objective").value);
}

function showObjective() {
  const one = chosen();
  byId("formula").textContent = one.expression ? "Good means: " + one.expression : "Kind: " + one.kind;
  for (const label of document.querySelectorAll(".cut")) label.hidden = !one.needs_was_cut;
}

async function judge() {
  if (!objectives.length) await loadObjectives();
  const prompt = byId("prompt").value;
  const given = ["a", "b"].map((letter) => ({
    prompt,
    response: byId("response-" + letter).value,
    was_cut: chosen().needs_was_cut ? byId("cut-" + letter).checked : null,
  }));
  const asked = given[1].response ? given : given.slice(0, 1);
  rows = (await ask("v1/score", { objective: chosen().name, rows: asked })).rows;
  cuts = asked.map((row) => row.was_cut);
  show(rows);
  makeSliders();
  byId("result").hidden = false;
}

function show(shown) {
  byId("answers").replaceChildren(...shown.map((row, index) => answerOf(row, NAMES[index])));
  byId("verdict").textContent = verdict(shown);
}

function verdict(shown) {
  const [a, b] = shown.map((row) => row.utility);
  if (a === null || b === null) return "A row without a utility is missing, and no bad answer.";
  if (b === undefined) return "Utility " + number(a) + " nats; 0 is the best there is where the objective is a formula.";
  if (a === b) return "A and B are worth the same.";
  return (a > b ? "A" : "B") + " is better by " + number(Math.abs(a - b)) + " nats.";
}

function answerOf(row, name) {
  const box = element("div", "answer");
  box.append(element("h3", "", "Response " + name));
  if (row.utility === null) box.append(element("p", "failed", "No utility: " + (row.reason || "not finite")));
  const total = element("div", "total");
  total.append(facts({ "combined utility (nats)": row.utility, "P(all good)": row.p_all_good }));
  if (row.p_all_good !== null) total.append(bar(row.p_all_good, "P(all good) of response " + name));
  box.append(total);
  for (const [key, part] of Object.entries(row.properties)) {
    const property = element("div", "property");
    const source = part.reference_from ? "reference (" + part.reference_from + ")" : "reference";
    property.append(element("strong", "", key));
    property.append(facts({ reward: part.reward, [source]: part.reference, margin: part.margin, "P(good)": part.p_good }));
    if (part.p_good !== null) property.append(bar(part.p_good, "P(good) of response " + name + " in " + key));
    box.append(property);
  }
  return box;
}

function makeSliders() {
  references = {};
  const known = Object.keys(rows[0].properties).filter((name) => {
    const values = rows.flatMap((row) => [row.properties[name].reward, row.properties[name].reference]);
    return chosen().properties[name].reference_is_a_number && values.every((value) => value !== null);
  });
  const all = known.length === Object.keys(rows[0].properties).length;
  byId("references").hidden = !all;
  byId("sliders").replaceChildren(...(all ? known.map(sliderOf) : []));
}

function sliderOf(name) {
  const values = rows.flatMap((row) => [row.properties[name].reward, row.properties[name].reference]);
  const own = rows[0].properties[name].reference;
  const reach = Math.max(2, ...values.map((value) => Math.abs(value - own))) * 1.5;
  references[name] = own;
  const box = element("div", "slider");
  const label = element("label", "", name);
  const range = element("input");
  Object.assign(range, { type: "range", id: "reference-" + name, min: own - reach, max: own + reach, step: reach / 200 });
  range.value = own;
  label.htmlFor = range.id;
  const exact = element("input");
  Object.assign(exact, { type: "number", step: "any", value: number(own) });
  exact.setAttribute("aria-label", "reference point of " + name);
  const move = (from, to) => {
    if (from.value === "") return;
    to.value = from === range ? number(Number(from.value)) : from.value;
    references[name] = Number(from.value);
    guarded(moved);
  };
  range.addEventListener("input", () => move(range, exact));
  exact.addEventListener("input", () => move(exact, range));
  box.append(label, range, exact);
  return box;
}

async function moved() {
  const move = ++moves;
  const asked = rows.map((row, index) => ({
    rewards: Object.fromEntries(Object.entries(row.properties).map(([name, part]) => [name, part.reward])),
    references,
    was_cut: cuts[index],
  }));
  const answer = await ask("v1/what-if", { objective: chosen().name, rows: asked });
  if (move !== moves) return;
  show(answer.rows.map((row, index) => ({
    ...row,
    properties: Object.fromEntries(Object.entries(row.properties).map(([name, part]) =>
      [name, { ...part, reward: rows[index].properties[name].reward, reference: references[name] }])),
  })));
}

function facts(values) {
  const list = element("dl");
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined) continue;
    list.append(element("dt", "", name), element("dd", "", value === null ? "none" : number(value)));
  }
  return list;
}

function bar(share, name) {
  const track = element("div", "track");
  track.setAttribute("role", "img");
  track.setAttribute("aria-label", name + ": " + number(share));
  const fill = element("div", "fill");
  fill.style.width = 100 * share + "%";
  track.append(fill);
  return track;
}

function number(value) {
  return value.toFixed(3);
}

function element(tag, name = "", text = "") {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.textContent = text;
  return made;
}

async function guarded(act) {
  byId("problem").textContent = "";
  try {
    await act();
  } catch (error) {
    byId("problem").textContent = error.message;
  }
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  guarded(judge);
});
byId("objective").addEventListener("change", showObjective);
byId("token").addEventListener("change", () => guarded(loadObjectives));
byId("reset").addEventListener("click", () => {
  makeSliders();
  show(rows);
});
guarded(loadObjectives);
