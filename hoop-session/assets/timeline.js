// The timeline: an axis, and lanes for models, tools, processes, connections and denials.

const LANE = 22;
const MAX_PROCESS_LANES = 16;
const NAMES = 92;

// Steps of an axis that a person can read, in milliseconds.
function step(span, most) {
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 18e5, 36e5, 72e5, 216e5, 864e5];
  return steps.find((candidate) => span / candidate <= most) || span / most;
}

// Rows in which no two overlap, as far as there are rows.
function packed(bars, most) {
  const ends = [];
  for (const bar of bars) {
    let row = ends.findIndex((until) => until <= bar.from);
    if (row < 0) row = ends.length < most ? ends.length : most - 1;
    ends[row] = Math.max(ends[row] || 0, bar.to);
    bar.row = row;
  }
  return Math.max(ends.length, 1);
}

function lanes() {
  const models = session.turns.map((turn, index) => ({
    from: milliseconds(turn.start), to: milliseconds(turn.end), sort: "model",
    label: `turn ${index + 1}: ${turn.model}`, open: () => openRecord(turn.number),
  }));
  const calls = session.turns.flatMap((turn) => turn.calls.map((call) => ({
    from: milliseconds(turn.end), sort: "call", label: `${call.tool} ${call.arguments}`,
    to: call.result ? milliseconds(call.result.time) : milliseconds(turn.end), open: () => openCall(call),
  })));
  const processes = session.processes.map((process, index) => ({
    from: milliseconds(process.start), to: process.end ? milliseconds(process.end) : end,
    sort: "process", label: process.cmd_line || process.path || processName(index), open: () => openProcess(index),
  }));
  const connections = session.connections.filter((connection) => connection.denial === null).map((connection) => ({
    from: milliseconds(connection.time), to: milliseconds(connection.time), sort: "network",
    label: `${connection.kind} ${connection.destination}`, open: () => openRecord(connection.number),
  }));
  const denials = session.denials.map((denial) => ({
    from: milliseconds(denial.time), to: milliseconds(denial.time), sort: denial.result,
    label: `${verdictWord(denial)}: ${denial.kind} ${denial.subject} ${because(denial)}`, open: () => openRecord(denial.number),
  }));
  return [
    ["models", models, 3], ["tool calls", calls, 6], ["processes", processes, MAX_PROCESS_LANES],
    ["connections", connections, 1], ["denied", denials, 1],
  ].filter(([, bars]) => bars.length > 0);
}

function drawTimeline() {
  const place = find("timeline");
  const width = Math.max(place.clientWidth - 2, 640);
  const scale = (width - NAMES - 24) / (end - start);
  const x = (time) => NAMES + (Math.min(Math.max(time, start), end) - start) * scale;
  const all = lanes();
  let y = 26;
  const marks = drawn("g", {});
  const names = drawn("g", {});
  for (const [name, bars, most] of all) {
    bars.sort((a, b) => a.from - b.from);
    const rows = packed(bars, most);
    names.append(drawn("text", { x: 8, y: y + 15, class: "lane-name" }, name));
    for (const bar of bars) {
      const left = x(bar.from);
      const mark = drawn("rect", {
        class: `mark ${bar.sort}`, x: left.toFixed(1), y: y + bar.row * LANE + 3, rx: 2, height: LANE - 6,
        width: Math.max(x(bar.to) - left, 3).toFixed(1), onclick: bar.open,
      });
      mark.append(drawn("title", {}, cut(bar.label, 300)));
      marks.append(mark);
    }
    y += rows * LANE + 8;
    names.append(drawn("line", { x1: 0, x2: width, y1: y - 4, y2: y - 4, class: "grid" }));
  }
  const axis = drawn("g", {});
  const every = step(end - start, Math.max(Math.floor((width - NAMES) / 90), 2));
  for (let at = 0; at <= end - start; at += every) {
    const left = x(start + at).toFixed(1);
    axis.append(drawn("line", { x1: left, x2: left, y1: 20, y2: y, class: "grid" }));
    axis.append(drawn("text", { x: left, y: 14, class: "axis", "text-anchor": at ? "middle" : "start" }, `+${duration(at)}`));
  }
  const counts = all.map(([name, bars]) => `${bars.length} ${name}`).join(", ");
  place.replaceChildren(drawn("svg", {
    width, height: y + 4, viewBox: `0 0 ${width} ${y + 4}`, role: "img",
    "aria-label": `${counts} over ${duration(end - start)}; the records below say the same`,
  }, axis, names, marks));
}
