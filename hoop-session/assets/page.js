// Header, denials, conversation, records, keys.

const MAX_TEXT = 1200;

function drawHeader() {
  const who = session.on_behalf_of || session.identity || "An agent";
  const model = session.models.join(", ") || "no model that is known";
  const policy = session.policy ? `policy ${session.policy}` : "no policy";
  const modes = session.modes.length ? ` (${session.modes.join(", then ")})` : "";
  document.title = visible(`Session of ${who}, ${session.start.slice(0, 16).replace("T", " ")}`);
  find("title").textContent = visible(who);
  find("lead").textContent = visible(`An agent ran for ${duration(end - start)} with ${model}, under ${policy}${modes}.`);
  const agent = session.processes[0] ? session.processes[0].cmd_line || session.processes[0].path : "";
  const facts = [
    ["On behalf of", session.on_behalf_of], ["Identity", session.identity], ["Agent", agent],
    ["Policy", session.policy + modes], ["Model", session.models.join(", ")], ["Workload", session.cgroup],
    ["Began (UTC)", session.start.replace("T", " ").slice(0, 23)], ["Ended (UTC)", session.end.replace("T", " ").slice(0, 23)],
    ["Audit records", `${session.records[0]} to ${session.records[1]}`], ["Session", session.uid], ["Trace", session.trace_id],
  ];
  for (const [name, value] of facts) {
    find("facts").append(element("div", {}, element("dt", {}, name), element("dd", {}, cut(value || "not known", 400))));
  }
  const calls = session.turns.reduce((sum, turn) => sum + turn.calls.length, 0);
  const denied = session.denials.filter((denial) => denial.result === "deny").length;
  for (const [text, sort] of [
    [counted(session.turns.length, "turn")], [counted(calls, "tool call")], [counted(session.processes.length, "process", "processes")],
    [counted(session.connections.length, "connection")], [`${denied} denied`, denied ? "deny" : undefined],
  ]) {
    find("counts").append(element("li", { class: sort }, text));
  }
  const missing = [
    ...session.gaps.map((gap) => `${counted(gap.count, "event")} lost on this node at ${clock(gap.time)}: ${gap.cause}`),
    ...session.coverage.map((one) => `Plaintext of ${processName(one.process) || "a process"} was not read: ${one.reason} ${one.libraries.join("; ")}`),
  ];
  find("missing").hidden = missing.length === 0;
  find("missing-list").append(...missing.map((text) => element("li", {}, visible(text))));
}

const link = (text, open) => element("button", { type: "button", class: "link", onclick: open }, cut(text, 400));

function drawDenied() {
  const list = find("denied");
  for (const denial of session.denials) {
    const why = element("span", { class: "why" }, element("b", {}, verdictWord(denial)), ` ${visible(because(denial))}. ${visible(processName(denial.process))}`);
    list.append(element("li", { class: denial.result }, element("time", {}, clock(denial.time)),
      link(`${denial.kind} ${denial.subject}`, () => openRecord(denial.number)), why));
  }
  if (session.denials.length === 0) list.replaceWith(element("p", {}, "Nothing was denied."));
}

function said(who, text) {
  return element("div", { class: "said" }, element("span", {}, visible(who)), element("p", {}, cut(text, MAX_TEXT)));
}

// Whether a process, or one below it, was denied something.
function denials(process) {
  const below = (index) => {
    for (let at = index; at !== null && at !== undefined; at = session.processes[at].parent) if (at === process) return true;
    return false;
  };
  return session.denials.filter((denial) => denial.process !== null && below(denial.process));
}

function drawCall(call) {
  const row = (name, ...children) => element("div", { class: "row" }, element("span", {}, name), element("p", {}, ...children));
  const box = element("div", { class: "call" }, row("calls", link(`${call.tool} ${call.arguments}`, () => openCall(call))));
  for (const one of call.links) {
    const sure = ` (joined by ${one.joined_by}, ${one.confidence.toFixed(2)} sure)`;
    if (one.request !== null) box.append(row("asks", visible(session.requests[one.request].summary), sure));
    else if (one.process !== null) {
      const process = session.processes[one.process];
      box.append(row("runs", link(process.cmd_line || process.path, () => openProcess(one.process)), sure));
      for (const denial of denials(one.process)) {
        const text = element("span", { class: "denied" }, `${denial.kind} ${cut(denial.subject, 200)} ${visible(because(denial))}`);
        box.append(row(denial.result === "deny" ? "denied" : "shadow", text));
      }
    }
  }
  box.append(row("result", call.result ? cut(call.result.text, MAX_TEXT) : "none was sent"));
  return box;
}

function drawTalk() {
  const list = find("talk");
  const answered = new Set(session.turns.flatMap((turn) => turn.calls.filter((call) => call.result).map((call) => call.id)));
  session.turns.forEach((turn, index) => {
    const tokens = turn.input_tokens === null ? "" : `, ${turn.input_tokens} tokens in, ${turn.output_tokens} out`;
    const history = turn.history ? `, ${counted(turn.history, "earlier message")}` : "";
    const body = element("div", {}, element("div", { class: "meta" },
      visible(`Turn ${index + 1}: ${turn.model} (${turn.provider}) at ${turn.destination}${tokens}${history}`)));
    for (const one of turn.input) {
      if (!(one.kind === "tool_call_response" && answered.has(one.call))) body.append(said(one.role, one.text));
    }
    for (const one of turn.output) body.append(said(one.kind === "text" ? "model" : one.kind, one.text));
    body.append(...turn.calls.map(drawCall));
    if (turn.error) body.append(said("error", turn.error));
    if (turn.incomplete.length) body.append(said("not whole", turn.incomplete.join("; ")));
    list.append(element("li", {}, element("time", {}, clock(turn.start)), body));
  });
  if (session.turns.length === 0) list.replaceWith(element("p", {}, "No model was asked, as far as is known."));
}

// Details.

function openDetails(title, rows) {
  find("details-title").textContent = cut(title, 300);
  const list = find("details-list");
  list.replaceChildren();
  for (const [name, value] of rows) {
    if (value === "" || value === null || value === undefined) continue;
    list.append(element("dt", {}, visible(name)), element("dd", {}, visible(value)));
  }
  const dialog = find("details");
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

function openRecord(number) {
  const event = eventsByNumber.get(number);
  if (!event) return;
  openDetails(`${event.kind}: ${event.text}`, [
    ["record", event.number], ["time", event.time], ["took", event.duration_ns ? duration(event.duration_ns / 1e6) : ""],
    ["verdict", event.result], ["process", processName(event.process)], ...event.details,
  ]);
}

function openProcess(index) {
  const process = session.processes[index];
  openDetails(process.cmd_line || process.path || processName(index), [
    ["pid", process.pid], ["program", process.path], ["directory", process.working_directory], ["user", process.user],
    ["parent", processName(process.parent)], ["began", process.start], ["ended", process.end], ["how", process.ended],
    ["ran", process.programs.map((program) => program.cmd_line).join("\n")], ["key", process.uid], ["span", process.span],
    ...denials(index).map((denial) => [verdictWord(denial), `${denial.kind} ${denial.subject} ${because(denial)}`]),
  ]);
}

function openCall(call) {
  openDetails(`${call.tool}`, [
    ["arguments", call.arguments], ["result", call.result ? call.result.text : "none was sent"], ["id", call.id], ["span", call.span],
    ...call.links.map((one) => ["carried out by", `${processName(one.process)} (joined by ${one.joined_by}, ${one.confidence.toFixed(2)} sure)`]),
  ]);
}

// Records: a list of which only what can be seen is in the document.

const FILTERS = [["all", "All"], ["deny", "Denied"], ["calls", "Calls"], ["processes", "Processes"], ["network", "Network"], ["other", "Other"]];
const texts = session.events.map((event) =>
  `${event.kind} ${event.text} ${processName(event.process)} ${event.result} ${event.details.map((detail) => detail[1]).join(" ")}`.toLowerCase());
const records = { filter: "all", shown: [], at: 0, height: 32, all: false };

function drawRecords() {
  const list = find("records");
  const space = list.firstChild;
  const first = records.all ? 0 : Math.max(Math.floor(list.scrollTop / records.height) - 6, 0);
  const last = records.all ? records.shown.length : Math.min(first + Math.ceil(list.clientHeight / records.height) + 12, records.shown.length);
  const rows = [];
  for (let place = first; place < last; place++) {
    const event = session.events[records.shown[place]];
    const row = element("div", {
      class: "row", role: "option", id: `record-${place}`, "aria-selected": place === records.at,
      "aria-posinset": place + 1, "aria-setsize": records.shown.length, onclick: () => { select(place); open(); },
    },
    element("time", {}, clock(event.time)), element("span", { class: "kind" }, event.kind),
    element("span", { class: event.result }, event.result || "·"), element("span", { class: "who" }, visible(processName(event.process))),
    element("span", { class: "text" }, cut(event.text, 300)));
    row.style.top = `${place * records.height}px`;
    rows.push(row);
  }
  space.replaceChildren(...rows);
  list.setAttribute("aria-activedescendant", records.shown.length ? `record-${records.at}` : "");
}

function refilter() {
  const wanted = find("search").value.trim().toLowerCase();
  records.shown = session.events.map((_, index) => index).filter((index) => {
    const event = session.events[index];
    const fits = records.filter === "all" || (records.filter === "deny" ? event.result === "deny" || event.result === "shadow" : event.category === records.filter);
    return fits && (!wanted || texts[index].includes(wanted));
  });
  records.at = 0;
  find("records").scrollTop = 0;
  find("shown").textContent = `${records.shown.length} of ${session.events.length}`;
  resize();
}

function resize() {
  records.height = window.matchMedia("(max-width: 44rem)").matches ? 56 : 32;
  find("records").firstChild.style.height = `${records.shown.length * records.height}px`;
  drawRecords();
}

function select(place) {
  const list = find("records");
  records.at = Math.min(Math.max(place, 0), Math.max(records.shown.length - 1, 0));
  const top = records.at * records.height;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + records.height > list.scrollTop + list.clientHeight) list.scrollTop = top + records.height - list.clientHeight;
  drawRecords();
}

function open() {
  const index = records.shown[records.at];
  if (index !== undefined) openRecord(session.events[index].number);
}

function drawFilters() {
  const group = find("filters");
  const choose = (wanted, focus) => {
    records.filter = wanted;
    for (const button of group.children) {
      const chosen = button.dataset.filter === wanted;
      button.setAttribute("aria-checked", chosen);
      button.tabIndex = chosen ? 0 : -1;
      if (chosen && focus) button.focus();
    }
    refilter();
  };
  for (const [name, text] of FILTERS) {
    group.append(element("button", { type: "button", role: "radio", "data-filter": name, onclick: () => choose(name, false) }, text));
  }
  group.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by) return;
    const at = FILTERS.findIndex(([name]) => name === records.filter);
    choose(FILTERS[(at + by + FILTERS.length) % FILTERS.length][0], true);
    event.preventDefault();
    event.stopPropagation();
  });
  choose("all", false);
}

function onKey(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  const [search, list, target] = [find("search"), find("records"), event.target];
  if (find("details").open) return;
  if (target === search) {
    if (event.key === "Escape") { search.value = ""; refilter(); list.focus(); }
    else if (event.key === "Enter" || event.key === "ArrowDown") list.focus();
    else return;
    event.preventDefault();
    return;
  }
  const inList = target === list;
  const page = Math.max(Math.floor(list.clientHeight / records.height) - 1, 1);
  const moves = { j: 1, k: -1 };
  if (inList) Object.assign(moves, { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity });
  else if (target === document.body) Object.assign(moves, { ArrowDown: 1, ArrowUp: -1 });
  if (event.key === "/") search.focus();
  else if (event.key in moves) { list.focus({ preventScroll: inList }); select(records.at + moves[event.key]); }
  else if (event.key === "Enter" && (inList || target === document.body)) open();
  else return;
  event.preventDefault();
}

function begin() {
  find("records").append(element("div", { class: "space" }));
  drawHeader();
  drawDenied();
  drawTalk();
  drawTimeline();
  drawGraph();
  drawFilters();
  find("records").addEventListener("scroll", () => requestAnimationFrame(drawRecords), { passive: true });
  find("search").addEventListener("input", refilter);
  find("close").addEventListener("click", () => find("details").close());
  find("details").addEventListener("click", (event) => { if (event.target === find("details")) find("details").close(); });
  document.addEventListener("keydown", onKey);
  window.addEventListener("resize", () => { drawTimeline(); resize(); });
  window.addEventListener("beforeprint", () => { records.all = true; drawRecords(); });
  window.addEventListener("afterprint", () => { records.all = false; drawRecords(); });
}

begin();
