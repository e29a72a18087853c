"use strict";

// What the page shows. Everything in it is hostile text: it enters the document as text nodes and attribute
// values, never as markup.
const session = JSON.parse(document.getElementById("data").textContent).session;

const find = (id) => document.getElementById(id);

// Characters that turn the direction of writing, cannot be seen or control a device are shown by their numbers.
const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\udb40[\udc00-\udc7f]/g;
const visible = (text) => String(text).replace(HIDDEN, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

function cut(text, max) {
  const characters = Array.from(String(text).slice(0, 2 * max + 2));
  if (characters.length <= max) return visible(text);
  return visible(characters.slice(0, max).join("")) + `… (+${String(text).length - max} characters)`;
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "onclick") node.addEventListener("click", value);
    else if (value !== undefined && value !== null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}
const element = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
const drawn = (name, attributes, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

// RFC 3339 with nanoseconds, as milliseconds.
function milliseconds(time) {
  const [seconds, fraction = "0Z"] = time.split(".");
  return Date.parse(seconds + "Z") + Number("0." + fraction.slice(0, -1)) * 1000;
}
const start = milliseconds(session.start);
const end = Math.max(milliseconds(session.end), start + 1);
const clock = (time) => time.slice(11, 23);

function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3600000) return `${Math.floor(ms / 60000)} min ${Math.round((ms / 1000) % 60)} s`;
  return `${Math.floor(ms / 3600000)} h ${Math.round((ms / 60000) % 60)} min`;
}

const counted = (count, one, many) => `${count} ${count === 1 ? one : many || one + "s"}`;

function processName(index) {
  const process = index === null ? undefined : session.processes[index];
  return process ? `${process.name || "pid"}[${process.pid}]` : "";
}

const eventsByNumber = new Map(session.events.map((event) => [event.number, event]));

function because(denial) {
  const reason = denial.because ? `, because: ${denial.because}` : "";
  const how = denial.enforcement ? ` (${denial.enforcement})` : "";
  return `by ${denial.rule}${reason}${how}`;
}
const verdictWord = (denial) => (denial.result === "deny" ? "Denied" : "Would be denied");
