//! `spec.exec` of a policy file.

use super::{ACTIONS, Names, Reader};
use crate::policy::exec::{Exec, ExecRule, Pattern, UidRange};
use crate::policy::fields::{self, Wrong};
use crate::policy::model::Action;
use crate::yaml::Node;

impl Reader<'_> {
    pub(super) fn exec(&mut self, node: &Node<'_>, names: &mut Names) -> Option<Exec> {
        let before = self.count;
        let fields = self.fields(node, "`exec`", &["default", "allow", "deny"])?;
        let default = match fields.get("default") {
            Some(node) => self.word(node, "default", &ACTIONS),
            None => Some(Action::Allow),
        };
        let mut rules = Vec::new();
        for &(key, node) in &fields.entries {
            let Some(&(_, action)) = ACTIONS.iter().find(|action| action.0 == key) else {
                continue;
            };
            let example = r"`- { name: NAME, path: '**/kubectl', args: '\bdelete\b' }`";
            for item in self.list(node, &format!("`{key}`"), example) {
                rules.extend(self.exec_rule(item, action, names));
            }
        }
        if self.count > before {
            return None;
        }
        match Exec::new(default?, rules) {
            Ok(exec) => Some(exec),
            Err(unfit) => {
                for rule in unfit {
                    self.refuse(rule.position, rule.message, rule.help);
                }
                None
            }
        }
    }

    fn exec_rule(
        &mut self,
        node: &Node<'_>,
        action: Action,
        names: &mut Names,
    ) -> Option<ExecRule> {
        let known = ["name", "path", "args", "parent", "uid", "because"];
        let before = self.count;
        let fields = self.fields(node, "an exec rule", &known)?;
        let (name, position) = self.name_of_rule(&fields, names);
        let because = self.because(&fields, action, position);
        let path = fields
            .get("path")
            .map(|node| self.pattern(node, "`path`", Pattern::glob));
        let args = fields
            .get("args")
            .map(|node| self.pattern(node, "`args`", Pattern::regex));
        let parent = fields
            .get("parent")
            .map(|node| self.pattern(node, "`parent`", Pattern::glob));
        let uids = fields.get("uid").map(|node| self.uids(node));
        if path.is_none() && args.is_none() && parent.is_none() && uids.is_none() {
            self.refuse(
                position,
                "the rule names no command",
                "add `path`, `args`, `parent` or `uid`; for everything, set `default`",
            );
        }
        if self.count > before {
            return None;
        }
        Some(ExecRule {
            name: name?,
            action,
            because: because?,
            path: path.flatten(),
            args: args.flatten(),
            parent: parent.flatten(),
            uids: uids.unwrap_or_default(),
            position,
        })
    }

    fn pattern(
        &mut self,
        node: &Node<'_>,
        what: &str,
        parse: impl Fn(&str) -> Result<Pattern, Wrong>,
    ) -> Option<Pattern> {
        let text = self.text(node, what)?;
        self.sound(node, parse(text))
    }

    fn uids(&mut self, node: &Node<'_>) -> Vec<UidRange> {
        let mut uids = Vec::new();
        for item in self.filled(node, "`uid`", "[0, \"1000-1999\"]") {
            if let Some(text) = self.text(item, "a user id") {
                uids.extend(self.sound(item, fields::uids(text)));
            }
        }
        uids
    }
}
