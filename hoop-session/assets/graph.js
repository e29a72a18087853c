// The lineage: session, turns, calls of tools, processes, connections, from left to right.

const COLUMN = 292;
const BOX = { width: 216, height: 38, gap: 10 };
const MAX_CHILDREN = 24;
const MAX_NODES = 1500;

function node(sort, title, text, open) {
  return { sort, title, text, open, children: [], join: null };
}

// What was judged of a process, each destination and verdict once.
function judged(index) {
  const groups = new Map();
  const add = (key, make) => {
    const known = groups.get(key);
    if (known) known.count += 1;
    else groups.set(key, Object.assign(make(), { count: 1 }));
  };
  for (const connection of session.connections.filter((one) => one.process === index && one.denial === null)) {
    add(`c ${connection.destination} ${connection.rule}`, () =>
      node("network", `${connection.kind}, ${connection.result} by ${connection.rule}`, connection.destination, () => openRecord(connection.number)));
  }
  for (const denial of session.denials.filter((one) => one.process === index)) {
    add(`d ${denial.kind} ${denial.subject} ${denial.rule}`, () =>
      node(denial.result, `${verdictWord(denial)} ${because(denial)}`, denial.subject, () => openRecord(denial.number)));
  }
  return [...groups.values()].map((one) => {
    if (one.count > 1) one.title += ` ×${one.count}`;
    return one;
  });
}

function lineage() {
  const root = node("session", session.on_behalf_of || "session", session.identity || session.uid, null);
  const childrenOf = new Map();
  session.processes.forEach((process, index) => {
    if (process.parent !== null) childrenOf.set(process.parent, [...(childrenOf.get(process.parent) || []), index]);
  });
  const carriers = new Set(session.turns.flatMap((turn) => turn.calls.flatMap((call) =>
    call.links.filter((link) => link.request === null).map((link) => link.process))));
  const told = new Set();
  function processNode(index) {
    const process = session.processes[index];
    told.add(index);
    const made = node("process", process.ended ? `pid ${process.pid}, ${process.ended}` : `pid ${process.pid}`,
      process.cmd_line || process.path || process.name, () => openProcess(index));
    made.children = judged(index);
    for (const child of childrenOf.get(index) || []) {
      if (!told.has(child) && !carriers.has(child)) made.children.push(processNode(child));
    }
    return made;
  }
  const first = session.processes.findIndex((process) => process.parent === null);
  if (first >= 0 && !carriers.has(first)) root.children.push(processNode(first));
  session.turns.forEach((turn, index) => {
    const asked = turn.input.filter((said) => said.kind === "text").map((said) => said.text).pop();
    const answered = turn.output.map((said) => said.text).join(" ");
    const made = node("model", `turn ${index + 1}, ${turn.model}`, answered || asked || "", () => openRecord(turn.number));
    for (const call of turn.calls) {
      const of = node("call", `calls ${call.tool}`, call.arguments, () => openCall(call));
      for (const link of call.links) {
        let target = null;
        if (link.request !== null) {
          const request = session.requests[link.request];
          target = node("network", "MCP request", request.summary, () => openRecord(request.number));
        } else if (link.process !== null && !told.has(link.process)) {
          target = processNode(link.process);
        }
        if (target) {
          target.join = `${link.joined_by} ${link.confidence.toFixed(2)}`;
          of.children.push(target);
        }
      }
      made.children.push(of);
    }
    root.children.push(made);
  });
  session.processes.forEach((process, index) => {
    if (!told.has(index) && (process.parent === null || told.has(process.parent))) root.children.push(processNode(index));
  });
  return root;
}

// Places: a column for each step from the root, a row for each leaf, a parent in the middle of its children.
function layOut(root) {
  const nodes = [];
  let row = 0;
  (function place(one, depth, parent) {
    Object.assign(one, { depth, parent });
    nodes.push(one);
    const most = nodes.length > MAX_NODES ? 0 : MAX_CHILDREN;
    if (one.children.length > most) {
      const rest = one.children.length - most;
      one.children = one.children.slice(0, most);
      one.children.push(node("other", "not drawn", `${rest} more: see the records`, null));
    }
    for (const child of one.children) place(child, depth + 1, one);
    const [first, last] = [one.children[0], one.children[one.children.length - 1]];
    one.row = first ? (first.row + last.row) / 2 : row++;
  })(root, 0, null);
  for (const one of nodes) {
    one.x = 10 + one.depth * COLUMN;
    one.y = 10 + one.row * (BOX.height + BOX.gap);
  }
  return { nodes, width: 30 + BOX.width + COLUMN * Math.max(...nodes.map((one) => one.depth)), height: 20 + row * (BOX.height + BOX.gap) };
}

function drawGraph() {
  const { nodes, width, height } = layOut(lineage());
  const edges = drawn("g", { "aria-hidden": "true" });
  const boxes = drawn("g", {});
  const short = (text, max) => {
    const one = visible(text).replace(/\s+/g, " ");
    return one.length > max ? one.slice(0, max - 1) + "…" : one;
  };
  for (const one of nodes) {
    if (one.parent) {
      const [x1, y1] = [one.parent.x + BOX.width, one.parent.y + BOX.height / 2];
      const [x2, y2] = [one.x, one.y + BOX.height / 2];
      const middle = (x1 + x2) / 2;
      edges.append(drawn("path", { class: one.join ? "edge join" : "edge", d: `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}` }));
      if (one.join) boxes.append(drawn("text", { class: "sure", x: x2 - 4, y: y2 - 6, "text-anchor": "end" }, short(one.join, 14)));
    }
    const label = `${one.title}: ${one.text}`;
    one.box = drawn("g", {
      class: `node ${one.sort}`, tabindex: one.parent ? -1 : 0, transform: `translate(${one.x} ${one.y})`,
      role: "treeitem", "aria-level": one.depth + 1, "aria-label": cut(label, 300), onclick: () => one.open && one.open(),
    },
    drawn("title", {}, cut(label, 600)),
    drawn("rect", { width: BOX.width, height: BOX.height, rx: 4 }),
    drawn("text", { class: "sort", x: 8, y: 14 }, short(one.title, 40)),
    drawn("text", { x: 8, y: 29 }, short(one.text, 32)));
    boxes.append(one.box);
  }
  const graph = drawn("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "tree", "aria-label": "Lineage" }, edges, boxes);
  graph.addEventListener("keydown", (event) => {
    const at = nodes.find((one) => one.box === document.activeElement);
    if (!at) return;
    const siblings = at.parent ? at.parent.children : [at];
    const beside = (by) => siblings[siblings.indexOf(at) + by] || nodes.filter((one) => one.depth === at.depth)[
      nodes.filter((one) => one.depth === at.depth).indexOf(at) + by];
    const to = {
      ArrowLeft: () => at.parent, ArrowRight: () => at.children[0], ArrowUp: () => beside(-1), ArrowDown: () => beside(1),
      Home: () => nodes[0], End: () => nodes[nodes.length - 1],
    }[event.key];
    if (to) {
      const next = to();
      if (next) {
        at.box.setAttribute("tabindex", -1);
        next.box.setAttribute("tabindex", 0);
        next.box.focus();
        next.box.scrollIntoView({ block: "nearest", inline: "nearest" });
      }
    } else if (event.key === "Enter" || event.key === " ") {
      if (at.open) at.open();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  });
  find("graph").replaceChildren(graph);
}
