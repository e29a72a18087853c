//! A policy as a person reads it: its rules in the order in which they are asked.

use std::fmt;

use hoop_common::policy::SocketKind;
use hoop_mask::Config;

use super::exec::{ExecRule, Pattern};
use super::model::{
    Action, DEFAULT_BECAUSE, DEFAULT_RULE, Policy, Protocol, Rule, masking_action_name, mode_name,
    socket_name,
};

/// CIDRs or ports listed in one row; more are counted.
const LISTED: usize = 3;

/// Shows a policy with [`fmt::Display`], as `policy show` prints it.
#[derive(Clone, Copy, Debug)]
pub struct Show<'p>(pub &'p Policy);

impl fmt::Display for Show<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policy = self.0;
        writeln!(f, "{} ({})", policy.name, mode_name(policy.mode))?;
        writeln!(
            f,
            "  file      {}:{}",
            policy.file.display(),
            policy.position.line
        )?;
        writeln!(f, "  identity  {}", policy.identity)?;
        if let Some(on_behalf_of) = &policy.on_behalf_of {
            writeln!(f, "  for       {on_behalf_of}")?;
        }
        for cgroup in &policy.cgroups {
            writeln!(f, "  cgroup    {}", cgroup.text)?;
        }
        let allowed = |kind: &SocketKind| policy.sockets & kind.bit() != 0;
        let sockets: Vec<_> = SocketKind::ALL
            .into_iter()
            .filter(allowed)
            .map(socket_name)
            .collect();
        let sockets = if sockets.is_empty() {
            "none".to_owned()
        } else {
            sockets.join(", ")
        };
        let stated = if policy.sockets_stated.is_some() {
            ""
        } else {
            " (not stated)"
        };
        writeln!(f, "  sockets   {sockets}{stated}")?;
        for path in &policy.unix_deny {
            writeln!(f, "  no socket {}", path.text)?;
        }
        match &policy.capture {
            Some(capture) => writeln!(
                f,
                "  capture   TLS{}, {} bytes of a call, {} of a body",
                if capture.stdio { " and stdio" } else { "" },
                capture.max_bytes_per_call,
                capture.max_body_bytes
            )?,
            None => writeln!(f, "  capture   nothing")?,
        }
        masking(f, &policy.masking)?;

        let default = match policy.egress.default {
            Action::Allow => "",
            Action::Deny => DEFAULT_BECAUSE,
        };
        let header = ["", "RULE", "PROTOCOL", "PORTS", "CIDRS", "BECAUSE"].map(str::to_owned);
        let last = [
            policy.egress.default.to_string(),
            DEFAULT_RULE.to_owned(),
            "any".to_owned(),
            "any".to_owned(),
            "any".to_owned(),
            default.to_owned(),
        ];
        let rows = std::iter::once(header)
            .chain(policy.rules_by_precedence().map(row))
            .chain(std::iter::once(last));
        table(f, &rows.collect::<Vec<_>>())?;
        if policy.exec.is_unrestricted() {
            return Ok(());
        }

        let default = match policy.exec.default {
            Action::Allow => "",
            Action::Deny => DEFAULT_BECAUSE,
        };
        let header = ["", "RULE", "PATH", "ARGS", "PARENT", "UID", "BECAUSE"].map(str::to_owned);
        let last = [
            policy.exec.default.to_string(),
            DEFAULT_RULE.to_owned(),
            "any".to_owned(),
            "any".to_owned(),
            "any".to_owned(),
            "any".to_owned(),
            default.to_owned(),
        ];
        let rows = std::iter::once(header)
            .chain(policy.exec.rules().iter().map(exec_row))
            .chain(std::iter::once(last));
        writeln!(f)?;
        table(f, &rows.collect::<Vec<_>>())
    }
}

/// One line for what is looked for, and one for each class with an action of its own.
fn masking(f: &mut fmt::Formatter<'_>, config: &Config) -> fmt::Result {
    let detectors = match config.detectors.as_deref() {
        None => "all that is built in".to_owned(),
        Some([]) => "nothing that is built in".to_owned(),
        Some(classes) => list(classes),
    };
    let rules = match config.rules.len() {
        0 => String::new(),
        1 => ", and 1 rule".to_owned(),
        count => format!(", and {count} rules"),
    };
    writeln!(f, "  masking   {detectors}{rules}")?;
    for (class, action) in &config.actions {
        writeln!(f, "            {class}: {}", masking_action_name(*action))?;
    }
    Ok(())
}

fn table<const N: usize>(f: &mut fmt::Formatter<'_>, rows: &[[String; N]]) -> fmt::Result {
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("  {cell:width$}"));
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}

fn exec_row(rule: &ExecRule) -> [String; 7] {
    let text = |pattern: &Option<Pattern>| {
        let text = pattern.as_ref().map(|pattern| pattern.text.clone());
        text.unwrap_or_else(|| "any".to_owned())
    };
    [
        rule.action.to_string(),
        rule.name.clone(),
        text(&rule.path),
        text(&rule.args),
        text(&rule.parent),
        list(&rule.uids),
        rule.because.clone(),
    ]
}

fn row(rule: &Rule) -> [String; 6] {
    let ports = match rule.protocol {
        Protocol::Icmp => "-".to_owned(),
        _ => list(&rule.ports),
    };
    [
        rule.action.to_string(),
        rule.name.clone(),
        rule.protocol.to_string(),
        ports,
        list(rule.cidrs.as_deref().unwrap_or_default()),
        rule.because.clone(),
    ]
}

/// The first items, and how many more there are. None at all means any.
fn list<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return "any".to_owned();
    }
    let mut texts: Vec<_> = items.iter().take(LISTED).map(ToString::to_string).collect();
    if items.len() > LISTED {
        texts.push(format!("{} more", items.len() - LISTED));
    }
    texts.join(", ")
}
