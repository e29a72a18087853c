//! Policy files to policies, and every problem in them with its place and the next step.

mod capture;
mod exec;
mod gitleaks;

use std::collections::HashMap;
use std::path::Path;

use globset::GlobMatcher;
use hoop_common::policy::{Mode, SocketKind};
use ipnet::IpNet;

use super::dead::dead_rules;
use super::exec::Exec;
use super::fields::{self, StatedProtocol, Wrong};
use super::model::{
    Action, CgroupPattern, DEFAULT_RULE, DEFAULT_SOCKETS, Egress, OBSERVE_RULE, Policy, PortRange,
    Protocol, Rule, UnixPath, has_ports, socket_name,
};
use crate::diagnostic::{Diagnostic, Diagnostics, Position};
use crate::yaml::{self, Node, Value};

const API_VERSION: &str = "hoop.dev/v1alpha1";
const KIND: &str = "WorkloadPolicy";

const ACTIONS: [(&str, Action); 2] = [("allow", Action::Allow), ("deny", Action::Deny)];

/// Problems listed per file; more are only counted.
const MAX_PROBLEMS: usize = 1000;

/// One document of a file. What is there, even when the document as a whole has problems, so that
/// documents can be compared.
#[derive(Default)]
pub(super) struct Document {
    pub(super) name: Option<(String, Position)>,
    pub(super) cgroups: Vec<CgroupPattern>,
    /// Absent if the document has problems.
    pub(super) policy: Option<Policy>,
}

/// Reads the documents of one file.
pub(super) fn read(path: &Path, text: &str) -> (Vec<Document>, Diagnostics) {
    let (nodes, malformed) = yaml::documents(text);
    let mut reader = Reader {
        path,
        problems: Diagnostics::default(),
        count: 0,
        notes: Vec::new(),
    };
    for problem in malformed {
        reader.refuse(problem.position, problem.message, problem.help);
    }
    if nodes.is_empty() && reader.count == 0 {
        let help = "write a policy, or remove the file";
        reader.refuse(
            Position { line: 1, column: 1 },
            "the file has no policy",
            help,
        );
    }
    let documents = nodes.iter().map(|node| reader.document(node)).collect();
    (documents, reader.finish())
}

struct Reader<'p> {
    path: &'p Path,
    problems: Diagnostics,
    count: usize,
    /// [`Policy::notes`] of the document that is being read.
    notes: Vec<String>,
}

/// A mapping whose keys are known.
struct Fields<'n, 'a> {
    position: Position,
    entries: Vec<(&'n str, &'n Node<'a>)>,
}

impl<'n, 'a> Fields<'n, 'a> {
    fn get(&self, key: &str) -> Option<&'n Node<'a>> {
        self.entries
            .iter()
            .find(|entry| entry.0 == key)
            .map(|entry| entry.1)
    }
}

/// The names of rules, which are unique within a policy.
type Names = Vec<(String, Position)>;

impl Reader<'_> {
    fn document(&mut self, node: &Node<'_>) -> Document {
        let before = self.count;
        let mut document = Document::default();
        self.notes.clear();
        let policy = self.policy(node, &mut document);
        if self.count > before {
            return document;
        }
        // Whether a rule can apply is only to be seen once all of them are right.
        if let Some(policy) = &policy {
            self.report_dead_rules(policy);
        }
        if self.count == before {
            document.policy = policy;
        }
        document
    }

    fn policy(&mut self, node: &Node<'_>, document: &mut Document) -> Option<Policy> {
        let root = self.fields(
            node,
            "a policy",
            &["apiVersion", "kind", "metadata", "spec"],
        )?;
        self.constant(&root, "apiVersion", API_VERSION);
        self.constant(&root, "kind", KIND);

        if let Some(metadata) = self.required(&root, "metadata", "metadata: { name: NAME }")
            && let Some(metadata) = self.fields(metadata, "`metadata`", &["name"])
            && let Some(node) = self.required(&metadata, "name", "name: NAME")
        {
            document.name = self
                .checked(node, "`name`", fields::name)
                .map(|name| (name.to_owned(), node.position));
        }

        let spec = self.required(&root, "spec", "spec: with identity, mode and egress")?;
        let spec = self.fields(
            spec,
            "`spec`",
            &[
                "identity",
                "onBehalfOf",
                "workloads",
                "mode",
                "egress",
                "exec",
                "sockets",
                "capture",
                "masking",
                "allowDegraded",
            ],
        )?;
        let identity = self
            .required(
                &spec,
                "identity",
                "identity: spiffe://example.org/agents/NAME",
            )
            .and_then(|node| self.checked(node, "`identity`", fields::spiffe_id));
        let on_behalf_of = spec
            .get("onBehalfOf")
            .and_then(|node| self.checked(node, "`onBehalfOf`", fields::line));
        document.cgroups = self.workloads(&spec);
        let mode = self
            .required(
                &spec,
                "mode",
                "mode: enforce, or shadow or observe; it is never assumed",
            )
            .and_then(|node| {
                const MODES: [(&str, Mode); 3] = [
                    ("observe", Mode::Observe),
                    ("shadow", Mode::Shadow),
                    ("enforce", Mode::Enforce),
                ];
                self.word(node, "mode", &MODES)
            });
        let mut names = Names::new();
        let egress = match spec.get("egress") {
            Some(node) => self.egress(node, &mut names),
            None => Some(Egress {
                default: Action::Deny,
                rules: Vec::new(),
            }),
        };
        let exec = match spec.get("exec") {
            Some(node) => self.exec(node, &mut names),
            None => Some(Exec::unrestricted()),
        };
        self.compare_names(names);
        let sockets = spec.get("sockets").map(|node| self.sockets(node));
        let (sockets, unix_deny) = sockets.unwrap_or_default();
        let capture = spec.get("capture").and_then(|node| self.capture(node));
        let masking = spec.get("masking").and_then(|node| self.masking(node));
        let allow_degraded = spec
            .get("allowDegraded")
            .and_then(|node| self.word(node, "value", &[("true", true), ("false", false)]));

        let (name, position) = document.name.clone()?;
        Some(Policy {
            name,
            identity: identity?.to_owned(),
            on_behalf_of: on_behalf_of.map(str::to_owned),
            cgroups: document.cgroups.clone(),
            mode: mode?,
            egress: egress?,
            exec: exec?,
            sockets: sockets.unwrap_or(DEFAULT_SOCKETS),
            sockets_stated: spec.get("sockets").map(|node| node.position),
            unix_deny,
            capture,
            masking: masking.unwrap_or_default(),
            notes: std::mem::take(&mut self.notes),
            allow_degraded: allow_degraded.unwrap_or(false),
            file: self.path.to_owned(),
            position,
        })
    }

    fn workloads(&mut self, spec: &Fields<'_, '_>) -> Vec<CgroupPattern> {
        let mut patterns = Vec::new();
        let Some(node) = spec.get("workloads") else {
            return patterns;
        };
        for item in self.list(node, "`workloads`", "`- cgroup: /hoop/NAME-*`") {
            if let Some(item) = self.fields(item, "a workload", &["cgroup"])
                && let Some(node) = self.required(&item, "cgroup", "cgroup: /hoop/NAME-*")
                && let Some((text, matcher)) = self.cgroup(node)
            {
                patterns.push(CgroupPattern {
                    text,
                    matcher,
                    position: node.position,
                });
            }
        }
        patterns
    }

    fn cgroup(&mut self, node: &Node<'_>) -> Option<(String, GlobMatcher)> {
        let text = self.text(node, "`cgroup`")?;
        let matcher = self.sound(node, fields::cgroup_glob(text))?;
        Some((text.to_owned(), matcher))
    }

    /// The kinds that are allowed, if that is stated, and the Unix sockets that are denied.
    fn sockets(&mut self, node: &Node<'_>) -> (Option<u32>, Vec<UnixPath>) {
        let Some(fields) = self.fields(node, "`sockets`", &["allow", "unix"]) else {
            return (None, Vec::new());
        };
        if fields.entries.is_empty() {
            let help = "add `allow: [tcp, udp, unix]`, or remove the key";
            self.refuse(fields.position, "`sockets` is empty", help);
        }
        let allow = fields.get("allow").map(|allow| self.socket_kinds(allow));
        let deny = fields.get("unix").map(|unix| self.unix(unix));
        (allow, deny.unwrap_or_default())
    }

    fn socket_kinds(&mut self, node: &Node<'_>) -> u32 {
        let kinds = SocketKind::ALL.map(|kind| (socket_name(kind), kind));
        let mut sockets = 0;
        for item in self.list(node, "`allow`", "[tcp, udp, unix]") {
            if let Some(kind) = self.word(item, "kind of socket", &kinds) {
                sockets |= kind.bit();
            }
        }
        sockets
    }

    fn unix(&mut self, node: &Node<'_>) -> Vec<UnixPath> {
        let mut paths = Vec::new();
        if let Some(fields) = self.fields(node, "`unix`", &["deny"])
            && let Some(deny) = self.required(&fields, "deny", "deny: [/run/docker.sock]")
        {
            for item in self.filled(deny, "`deny`", "[/run/docker.sock]") {
                if let Some(text) = self.checked(item, "a path", fields::socket_path) {
                    paths.push(UnixPath {
                        text: text.to_owned(),
                        resolved: None,
                        position: item.position,
                    });
                }
            }
        }
        paths
    }

    fn egress(&mut self, node: &Node<'_>, names: &mut Names) -> Option<Egress> {
        let fields = self.fields(node, "`egress`", &["default", "allow", "deny"])?;
        let default = self
            .required(&fields, "default", "default: deny")
            .and_then(|node| self.word(node, "default", &ACTIONS));
        let mut rules: Vec<Rule> = Vec::new();
        // In file order, whichever list stands first.
        for &(key, node) in &fields.entries {
            let Some(&(_, action)) = ACTIONS.iter().find(|action| action.0 == key) else {
                continue;
            };
            let example = "`- { name: NAME, cidrs: [192.0.2.0/24], ports: [443] }`";
            for item in self.list(node, &format!("`{key}`"), example) {
                rules.extend(self.rule(item, action, names));
            }
        }
        Some(Egress {
            default: default?,
            rules,
        })
    }

    fn rule(&mut self, node: &Node<'_>, action: Action, names: &mut Names) -> Option<Rule> {
        let known = ["name", "cidrs", "hosts", "ports", "protocol", "because"];
        let fields = self.fields(node, "a rule", &known)?;
        let (name, position) = self.name_of_rule(&fields, names);
        if let Some(node) = fields.get("hosts") {
            let help = "name the addresses in `cidrs`";
            self.refuse(node.position, "`hosts` is not supported yet", help);
        }
        let because = self.because(&fields, action, position);
        let cidrs = fields.get("cidrs").map(|node| self.cidrs(node));
        let ports = fields.get("ports").map(|node| self.ports(node));
        let protocol = fields.get("protocol").map(|node| {
            let text = self.text(node, "`protocol`")?;
            self.sound(node, fields::protocol(text))
        });

        if cidrs.is_none() && ports.is_none() && protocol.is_none() && fields.get("hosts").is_none()
        {
            self.refuse(
                position,
                "the rule names no destination",
                "add `cidrs`, `ports` or `protocol`; for everything, set `default`",
            );
        }
        let protocol = match (protocol, ports.is_some()) {
            (Some(None), _) => None,
            (None | Some(Some(StatedProtocol::Any)), true) => Some(Protocol::Transport),
            (None, false) if action == Action::Allow => Some(Protocol::Transport),
            (None | Some(Some(StatedProtocol::Any)), false) => Some(Protocol::Any),
            (Some(Some(StatedProtocol::Icmp)), false) => Some(Protocol::Icmp),
            (Some(Some(StatedProtocol::Number(number))), has_port_list)
                if has_ports(number) || !has_port_list =>
            {
                Some(Protocol::Number(number))
            }
            (Some(Some(_)), _) => {
                let at = fields.get("ports").map_or(position, |node| node.position);
                let help = "remove `ports`, or use protocol tcp or udp";
                self.refuse(at, "the rule has ports, and its protocol has none", help);
                None
            }
        };
        Some(Rule {
            name: name?,
            action,
            because: because?,
            cidrs,
            ports: ports.unwrap_or_default(),
            protocol: protocol?,
            position,
        })
    }

    /// The name of a rule, if it is right, and its place.
    fn name_of_rule(
        &mut self,
        fields: &Fields<'_, '_>,
        names: &mut Names,
    ) -> (Option<String>, Position) {
        let node = self.required(fields, "name", "name: NAME");
        let position = node.map_or(fields.position, |node| node.position);
        let name = node
            .and_then(|node| self.rule_name(node))
            .map(str::to_owned);
        names.extend(name.clone().map(|name| (name, position)));
        (name, position)
    }

    /// Why a rule does what it does, if that is right: every deny rule says it.
    fn because(
        &mut self,
        fields: &Fields<'_, '_>,
        action: Action,
        position: Position,
    ) -> Option<String> {
        match fields.get("because") {
            Some(node) => self
                .checked(node, "`because`", fields::line)
                .map(str::to_owned),
            None if action == Action::Deny => {
                let help = "add `because: REASON`; whoever is denied is told it";
                self.refuse(position, "a deny rule has no `because`", help);
                None
            }
            None => Some(String::new()),
        }
    }

    fn compare_names(&mut self, mut names: Names) {
        names.sort_by_key(|name| name.1);
        let mut seen = HashMap::new();
        for (name, position) in names {
            if let Some(&first) = seen.get(&name) {
                self.refuse(
                    position,
                    format!("a second rule has the name `{name}`"),
                    format!("rename one of them; the first is at {first}"),
                );
            } else {
                seen.insert(name, position);
            }
        }
    }

    fn rule_name<'n>(&mut self, node: &'n Node<'_>) -> Option<&'n str> {
        let text = self.text(node, "`name`")?;
        if [DEFAULT_RULE, OBSERVE_RULE].contains(&text) || text.starts_with("builtin/") {
            let help = "use another name; records use this one for what no rule decides";
            self.refuse(
                node.position,
                format!("the rule name `{text}` is reserved"),
                help,
            );
            return None;
        }
        self.sound(node, fields::name(text))?;
        Some(text)
    }

    fn cidrs(&mut self, node: &Node<'_>) -> Vec<IpNet> {
        let items = self.filled(node, "`cidrs`", "[192.0.2.0/24]");
        let mut cidrs = Vec::with_capacity(items.len());
        for item in items {
            if let Some(text) = self.text(item, "a CIDR") {
                cidrs.extend(self.sound(item, fields::cidr(text)));
            }
        }
        cidrs
    }

    fn ports(&mut self, node: &Node<'_>) -> Vec<PortRange> {
        let mut ports = Vec::new();
        for item in self.filled(node, "`ports`", "[443, \"8000-8999\"]") {
            if let Some(text) = self.text(item, "a port") {
                ports.extend(self.sound(item, fields::ports(text)));
            }
        }
        ports
    }

    fn report_dead_rules(&mut self, policy: &Policy) {
        const NAMED: usize = 3;
        for dead in dead_rules(policy, MAX_PROBLEMS) {
            let name = |rule: &&Rule| format!("`{}` (line {})", rule.name, rule.position.line);
            let mut names: Vec<_> = dead.shadowed_by.iter().take(NAMED).map(name).collect();
            let more = dead.shadowed_by.len().saturating_sub(NAMED);
            if more > 0 {
                names.push(format!("{more} more"));
            }
            let decides = if dead.shadowed_by.len() == 1 {
                "decides"
            } else {
                "decide"
            };
            self.refuse(
                dead.rule.position,
                format!(
                    "the rule `{}` can never apply: {} {decides} every destination of it",
                    dead.rule.name,
                    names.join(", "),
                ),
                "remove it, or narrow what stands before it; deny goes before allow, \
                 and earlier rules before later ones",
            );
        }
    }
}

/// Nodes of every kind.
impl Reader<'_> {
    fn fields<'n, 'a>(
        &mut self,
        node: &'n Node<'a>,
        what: &str,
        known: &[&str],
    ) -> Option<Fields<'n, 'a>> {
        let Value::Mapping(items) = &node.value else {
            self.refuse(
                node.position,
                format!("{what} must be a mapping, found {}", node.describe()),
                format!("write keys and values; the keys are {}", known.join(", ")),
            );
            return None;
        };
        let mut fields = Fields {
            position: node.position,
            entries: Vec::new(),
        };
        for pair in items.chunks_exact(2) {
            let (key, value) = (&pair[0], &pair[1]);
            let text = match &key.value {
                Value::Scalar { text, .. } => &**text,
                _ => "",
            };
            if !known.contains(&text) {
                self.refuse(
                    key.position,
                    format!("unknown key `{}` in {what}", text.escape_debug()),
                    format!("the keys are {}", known.join(", ")),
                );
            } else if fields.get(text).is_some() {
                self.refuse(
                    key.position,
                    format!("duplicate key `{text}` in {what}"),
                    "keep one of the two",
                );
            } else {
                fields.entries.push((text, value));
            }
        }
        Some(fields)
    }

    fn required<'n, 'a>(
        &mut self,
        fields: &Fields<'n, 'a>,
        key: &str,
        example: &str,
    ) -> Option<&'n Node<'a>> {
        let node = fields.get(key);
        if node.is_none() {
            self.refuse(
                fields.position,
                format!("missing `{key}`"),
                format!("add `{example}`"),
            );
        }
        node
    }

    fn list<'n, 'a>(&mut self, node: &'n Node<'a>, what: &str, example: &str) -> &'n [Node<'a>] {
        if let Value::Sequence(items) = &node.value {
            return items;
        }
        self.refuse(
            node.position,
            format!("{what} must be a list, found {}", node.describe()),
            format!("write it like {example}, or remove the key"),
        );
        &[]
    }

    fn filled<'n, 'a>(&mut self, node: &'n Node<'a>, what: &str, example: &str) -> &'n [Node<'a>] {
        if matches!(&node.value, Value::Sequence(items) if items.is_empty()) {
            self.refuse(
                node.position,
                format!("{what} is empty, so the rule can never apply"),
                format!("write it like {example}, or remove the rule"),
            );
        }
        self.list(node, what, example)
    }

    fn text<'n>(&mut self, node: &'n Node<'_>, what: &str) -> Option<&'n str> {
        match &node.value {
            Value::Scalar { text, .. } if !node.is_null() => Some(text),
            _ => {
                self.refuse(
                    node.position,
                    format!("{what} must be text, found {}", node.describe()),
                    "write it on one line, in quotes if it ends with `:`",
                );
                None
            }
        }
    }

    fn checked<'n>(
        &mut self,
        node: &'n Node<'_>,
        what: &str,
        check: impl Fn(&str) -> Result<(), Wrong>,
    ) -> Option<&'n str> {
        let text = self.text(node, what)?;
        self.sound(node, check(text))?;
        Some(text)
    }

    fn word<T: Copy>(&mut self, node: &Node<'_>, what: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(node, &format!("the {what}"))?;
        let found = words.iter().find(|word| word.0 == text);
        if found.is_none() {
            let names: Vec<_> = words.iter().map(|word| word.0).collect();
            self.refuse(
                node.position,
                format!("unknown {what} `{}`", text.escape_debug()),
                format!("write one of {}", names.join(", ")),
            );
        }
        found.map(|word| word.1)
    }

    fn constant(&mut self, fields: &Fields<'_, '_>, key: &str, expected: &str) {
        let example = format!("{key}: {expected}");
        if let Some(node) = self.required(fields, key, &example) {
            self.word(node, key, &[(expected, ())]);
        }
    }

    fn sound<T>(&mut self, node: &Node<'_>, result: Result<T, Wrong>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err((message, help)) => {
                self.refuse(node.position, message, help);
                None
            }
        }
    }

    fn refuse(&mut self, position: Position, message: impl Into<String>, help: impl Into<String>) {
        self.count += 1;
        if self.count <= MAX_PROBLEMS {
            self.problems.push(Diagnostic {
                path: self.path.to_owned(),
                position: Some(position),
                message: message.into(),
                help: help.into(),
            });
        }
    }

    fn finish(mut self) -> Diagnostics {
        if let Some(more) = self
            .count
            .checked_sub(MAX_PROBLEMS)
            .filter(|&more| more > 0)
        {
            self.problems.push(Diagnostic {
                path: self.path.to_owned(),
                position: None,
                message: format!("{more} more problems, not listed"),
                help: "solve those that are listed, then check again".to_owned(),
            });
        }
        self.problems
    }
}
