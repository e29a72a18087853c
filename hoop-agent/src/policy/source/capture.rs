//! `capture` and `masking`: what is taken of plaintext, and what is masked in it.

use hoop_common::limits::MAX_CALL_BYTES;
use hoop_mask::{Action, Config, Key, Masker, Rule, Validator};

use super::super::model::{Capture, masking_action_name};
use super::{Node, Reader};

/// The word that stands for every detector that is built in.
const ALL_DETECTORS: &str = "default";

const ACTIONS: [Action; 5] = [
    Action::Placeholder,
    Action::Full,
    Action::KeepLast4,
    Action::Drop,
    Action::Allow,
];

impl Reader<'_> {
    pub(super) fn capture(&mut self, node: &Node<'_>) -> Option<Capture> {
        let fields = self.fields(
            node,
            "`capture`",
            &["tls", "stdio", "maxBytesPerCall", "maxBodyBytes"],
        )?;
        let tls = self.required(&fields, "tls", "tls: true")?;
        let tls = self.word(tls, "value", &[("true", true), ("false", false)])?;
        let stdio = match fields.get("stdio") {
            Some(node) => self.word(node, "value", &[("true", true), ("false", false)])?,
            None => false,
        };
        let per_call = self.bytes(
            fields.get("maxBytesPerCall"),
            Capture::DEFAULT_BYTES_PER_CALL,
            MAX_CALL_BYTES,
        );
        let body = self.bytes(
            fields.get("maxBodyBytes"),
            Capture::DEFAULT_BODY_BYTES,
            Capture::LARGEST_BODY_BYTES,
        );
        tls.then_some(Capture {
            stdio,
            max_bytes_per_call: per_call?,
            max_body_bytes: body?,
            position: node.position,
        })
    }

    pub(super) fn masking(&mut self, node: &Node<'_>) -> Option<Config> {
        let known = ["detectors", "rules", "gitleaks", "actions"];
        let fields = self.fields(node, "`masking`", &known)?;
        let mut config = Config::default();
        if let Some(node) = fields.get("detectors") {
            let mut classes = Vec::new();
            let mut all = false;
            for item in self.list(node, "`detectors`", "[default]") {
                match self.text(item, "a detector") {
                    Some(ALL_DETECTORS) => all = true,
                    Some(class) => classes.push(class.to_owned()),
                    None => {}
                }
            }
            config.detectors = (!all).then_some(classes);
        }
        if let Some(node) = fields.get("rules") {
            for item in self.list(
                node,
                "`rules`",
                "[{ name: NAME, class: CLASS, pattern: REGEX }]",
            ) {
                config.rules.extend(self.masking_rule(item));
            }
        }
        if let Some(node) = fields.get("gitleaks") {
            config.rules.extend(self.gitleaks(node)?);
        }
        if let Some(node) = fields.get("actions") {
            let mut classes: Vec<String> =
                hoop_mask::classes().into_iter().map(String::from).collect();
            classes.extend(config.rules.iter().map(|rule| rule.class.clone()));
            // Rules may share a class with each other, and with what is built in.
            classes.sort_unstable();
            classes.dedup();
            let classes: Vec<&str> = classes.iter().map(String::as_str).collect();
            let actions = self.fields(node, "`actions`", &classes)?;
            for class in classes {
                if let Some(node) = actions.get(class)
                    && let Some(action) = self.masking_action(node)
                {
                    config.actions.push((class.to_owned(), action));
                }
            }
        }
        match Masker::new(&config, Key::new("check", &[0; 32])) {
            Ok(_) => Some(config),
            Err(error) => {
                let help = "`hoop-agent mask --policy FILE` tries it on standard input";
                self.refuse(node.position, error.to_string(), help);
                None
            }
        }
    }

    fn masking_rule(&mut self, node: &Node<'_>) -> Option<Rule> {
        let known = [
            "name",
            "class",
            "pattern",
            "group",
            "keywords",
            "validator",
            "entropy",
            "fields",
            "allow",
            "action",
        ];
        let fields = self.fields(node, "a masking rule", &known)?;
        let mut needed = |key: &str, example: &str| {
            let node = self.required(&fields, key, example)?;
            self.text(node, &format!("`{key}`")).map(str::to_owned)
        };
        let name = needed("name", "name: NAME");
        let class = needed("class", "class: EMPLOYEE_ID");
        let pattern = needed("pattern", "pattern: REGEX");
        let group = fields.get("group").map(|node| self.number(node, "`group`"));
        let entropy = fields
            .get("entropy")
            .map(|node| self.number(node, "`entropy`"));
        let validator = fields.get("validator").map(|node| self.validator(node));
        let action = fields.get("action").map(|node| self.masking_action(node));
        let mut texts = |key: &str| {
            let Some(node) = fields.get(key) else {
                return Vec::new();
            };
            let what = format!("`{key}`");
            self.list(node, &what, "[TEXT]")
                .iter()
                .filter_map(|item| self.text(item, &what).map(str::to_owned))
                .collect()
        };
        Some(Rule {
            keywords: texts("keywords"),
            fields: texts("fields"),
            allow: texts("allow"),
            name: name?,
            class: class?,
            pattern: pattern?,
            group: group.unwrap_or(Some(0))?,
            validator: validator.map_or(Some(None), |validator| validator.map(Some))?,
            entropy: entropy.map_or(Some(None), |entropy| entropy.map(Some))?,
            action: action.map_or(Some(None), |action| action.map(Some))?,
        })
    }

    fn masking_action(&mut self, node: &Node<'_>) -> Option<Action> {
        let words = ACTIONS.map(|action| (masking_action_name(action), action));
        self.word(node, "action", &words)
    }

    fn validator(&mut self, node: &Node<'_>) -> Option<Validator> {
        let name = self.text(node, "`validator`")?;
        let validator = Validator::named(name);
        if validator.is_none() {
            let message = format!("unknown validator `{}`", name.escape_debug());
            self.refuse(node.position, message, "write for example `luhn` or `iban`");
        }
        validator
    }

    fn bytes(&mut self, node: Option<&Node<'_>>, default: u32, most: u32) -> Option<u32> {
        let Some(node) = node else {
            return Some(default);
        };
        let bytes: u32 = self.number(node, "a number of bytes")?;
        if bytes == 0 || bytes > most {
            let help = format!("write a number from 1 to {most}");
            self.refuse(
                node.position,
                format!("{bytes} bytes cannot be taken"),
                help,
            );
            return None;
        }
        Some(bytes)
    }

    fn number<T: std::str::FromStr>(&mut self, node: &Node<'_>, what: &str) -> Option<T> {
        let text = self.text(node, what)?;
        let number = text.parse().ok();
        if number.is_none() {
            let message = format!("{what} must be a number, found `{}`", text.escape_debug());
            self.refuse(node.position, message, "write digits");
        }
        number
    }
}
