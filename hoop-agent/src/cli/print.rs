//! What people see.

use std::io::{IsTerminal, Write, stderr, stdout};

use anyhow::{Context, Result};
use serde_json::Value;

use super::{DONE, Format};

const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const GREEN: &str = "\x1b[32m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

/// Prints an error.
pub(super) fn error(message: &str) {
    let label = if stderr().is_terminal() {
        "\x1b[31merror:\x1b[0m"
    } else {
        "error:"
    };
    // Nobody is left to tell if this fails.
    let _ = writeln!(stderr(), "{label} {message}");
}

/// Prints an answer in one of the two formats.
pub(super) fn show(value: &Value, format: Format, table: impl Fn(&Value) -> String) -> Result<u8> {
    let mut out = stdout().lock();
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(value)?)?,
        Format::Table => write!(out, "{}", table(value))?,
    }
    Ok(DONE)
}

/// `status`
pub(super) fn status(status: &Value) -> String {
    let number = |path: &str| status.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let failing = status
        .pointer("/records/failing")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    format!(
        "{} since {} s (pid {}, version {})\n\
         policies   {} in force, epoch {}\n\
         workloads  {}\n\
         verdicts   {} allowed, {} denied, {} shadow (would be denied)\n\
         events     {} numbered in the kernel, {} recorded, {} lost and counted in gaps\n\
         plaintext  {} bytes read, {} lost and counted in gaps\n\
         records    {} written{}\n\
         hooks      {}\n{}{}",
        text(status, "state"),
        number("/uptime_seconds"),
        number("/pid"),
        text(status, "version"),
        number("/policies"),
        number("/epoch"),
        number("/workloads"),
        number("/verdicts/allow"),
        number("/verdicts/deny"),
        number("/verdicts/shadow"),
        number("/events/numbered"),
        number("/events/recorded"),
        number("/events/lost"),
        number("/plaintext/read/bytes"),
        number("/plaintext/lost/bytes"),
        number("/records/last"),
        if failing {
            ", FAILING: see the daemon's diagnostics"
        } else {
            ""
        },
        hook_summary(status),
        refused_hooks(status),
        degraded(status),
    )
}

fn hook_summary(status: &Value) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for hook in list(status, "hooks") {
        let state = text(hook, "state");
        match counts.iter_mut().find(|(word, _)| *word == state) {
            Some((_, count)) => *count += 1,
            None => counts.push((state, 1)),
        }
    }
    let counts: Vec<String> = counts
        .into_iter()
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    counts.join(", ")
}

fn refused_hooks(status: &Value) -> String {
    list(status, "hooks")
        .filter(|hook| hook["state"] == "refused")
        .map(|hook| {
            let reason = text(hook, "reason");
            format!(
                "           {} refused: {}; without it, {}\n",
                text(hook, "name"),
                reason.lines().next().unwrap_or_default(),
                text(hook, "lost"),
            )
        })
        .collect()
}

fn degraded(status: &Value) -> String {
    list(status, "degraded")
        .map(|policy| {
            format!(
                "DEGRADED   {}: {}\n",
                text(policy, "policy"),
                text(policy, "why")
            )
        })
        .collect()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

/// `workload list`
pub(super) fn workloads(list: &Value) -> String {
    let rows = list.as_array().into_iter().flatten().map(|workload| {
        [
            text(workload, "cgroup"),
            text(workload, "policy"),
            text(workload, "mode"),
            text(workload, "identity"),
            text(workload, "origin"),
            workload["processes"].to_string(),
        ]
    });
    table(
        [
            "CGROUP",
            "POLICY",
            "MODE",
            "IDENTITY",
            "TAGGED BY",
            "PROCESSES",
        ],
        rows,
    )
}

/// `policy show`
pub(super) fn policies(list: &Value) -> String {
    list.as_array()
        .into_iter()
        .flatten()
        .map(|policy| text(policy, "text"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// `policy explain`
pub(super) fn explanation(explanation: &Value) -> String {
    let mut text = text(explanation, "text");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// One record, from its JSON line.
pub(super) fn event(line: &str, format: Format) -> Result<()> {
    let mut out = stdout().lock();
    match format {
        Format::Json => out.write_all(line.as_bytes())?,
        Format::Table => {
            let record: Value = serde_json::from_str(line).context("a record is not JSON")?;
            writeln!(out, "{}", compact(&record, stdout().is_terminal()))?;
        }
    }
    Ok(out.flush()?)
}

/// One line for a person: when, verdict, who, what, why.
pub(super) fn compact(record: &Value, colour: bool) -> String {
    let paint = |code: &str, text: &str| {
        if colour && !text.is_empty() {
            format!("{code}{text}{RESET}")
        } else {
            text.to_owned()
        }
    };
    let at = |path: &str| {
        record
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let time = at("/time_dt").get(11..23).unwrap_or_default();
    let result = match at("/verdict/result") {
        "deny" => paint(RED, "DENY  "),
        "shadow" => paint(YELLOW, "SHADOW"),
        "allow" => paint(GREEN, "allow "),
        _ => "      ".to_owned(),
    };
    let pid = record.pointer("/actor/process/pid").and_then(Value::as_u64);
    // What a workload chose must not drive the terminal.
    let plain = |text: &str| text.replace(char::is_control, "\u{fffd}");
    let who = match (at("/actor/process/name"), pid) {
        (name, Some(pid)) => format!("{}[{pid}]", plain(name)),
        _ => String::new(),
    };
    let kind = at("/kind");
    let what = plain(&what(record, kind));
    let mut line = format!("{} {result} {kind:<8} ", paint(DIM, time));
    for part in [at("/workload/policy"), who.as_str(), what.as_str()] {
        if !part.is_empty() {
            line.push_str(part);
            line.push(' ');
        }
    }
    let (rule, because) = (at("/verdict/rule"), at("/verdict/because"));
    if !rule.is_empty() {
        line.push_str(&paint(DIM, &format!("by {rule}")));
        if !because.is_empty() {
            line.push_str(&paint(DIM, &format!(": {because}")));
        }
    }
    line.trim_end().to_owned()
}

fn what(record: &Value, kind: &str) -> String {
    let at = |path: &str| {
        record
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let number = |path: &str| record.pointer(path).and_then(Value::as_i64);
    match kind {
        "connect" | "packet" | "reset" => {
            let ip = at("/network/dst_endpoint/ip");
            let host = if ip.contains(':') {
                format!("[{ip}]")
            } else {
                ip.to_owned()
            };
            let port = number("/network/dst_endpoint/port")
                .map_or(String::new(), |port| format!(":{port}"));
            format!(
                "{}/{host}{port}",
                at("/network/connection_info/protocol_name")
            )
        }
        "exec" => match at("/process/program/path") {
            "" => at("/actor/process/cmd_line").to_owned(),
            refused => format!("not started: {refused}"),
        },
        "tamper" => {
            let target = number("/process/target/pid")
                .map_or(String::new(), |pid| format!(" process {pid}"));
            format!("{}{target}", at("/process/operation"))
        }
        "fork" => format!("from {}", at("/actor/process/parent_process/name")),
        "exit" => match (number("/process/exit_code"), number("/process/signal")) {
            (_, Some(signal)) => format!("by signal {signal}"),
            (code, _) => format!("code {}", code.unwrap_or(0)),
        },
        "socket" => format!("{} socket", at("/socket/kind")),
        "move" => {
            let escaped = record.pointer("/process/escaped").and_then(Value::as_bool) == Some(true);
            format!(
                "{} {}",
                if escaped { "ESCAPED to" } else { "entered" },
                at("/process/cgroup")
            )
        }
        "api" => api(&record["api"]),
        "plaintext" => format!("{} that is not read further", at("/plaintext/format")),
        "coverage" => at("/coverage/reason").to_owned(),
        "link" => format!(
            "{} carried out by {}, by {} ({} sure)",
            at("/link/tool"),
            at("/link/process"),
            at("/link/joined_by"),
            record["link"]["confidence"]
        ),
        "log" => format!("{} {}", at("/log/activity"), at("/log/detail")),
        "gap" => format!(
            "{} events lost: {}",
            number("/gap/count").unwrap_or(0),
            at("/gap/cause")
        ),
        _ => {
            let parts = [
                at("/lifecycle/activity"),
                at("/lifecycle/subject"),
                at("/lifecycle/detail"),
            ];
            parts
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join(" ")
        }
    }
}

/// A call: of a model, of a tool, or else as HTTP has it.
fn api(api: &Value) -> String {
    let attribute = |key: &str| api["attributes"][key].as_str().unwrap_or_default();
    let (model, method) = (
        attribute("gen_ai.request.model"),
        attribute("mcp.method.name"),
    );
    if !model.is_empty() {
        return format!("{} {model}", attribute("gen_ai.operation.name"));
    }
    if !method.is_empty() {
        return format!("{method} {}", attribute("gen_ai.tool.name"));
    }
    let request = &api["http_request"];
    let url = &request["url"];
    let code = api["http_response"]["code"]
        .as_u64()
        .map_or(String::new(), |code| format!(" -> {code}"));
    format!(
        "{} {}{}{code}",
        text(request, "http_method"),
        text(url, "hostname"),
        text(url, "path")
    )
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// Columns as wide as their widest cell.
pub(super) fn table<const N: usize>(
    head: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> String {
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned))
        .chain(rows)
        .collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    });
    let mut text = String::new();
    for row in &rows {
        let line: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_says_what_it_is_about_in_one_line() {
        for (record, expected) in [
            (
                json!({"kind": "api", "api": {"attributes": {
                    "gen_ai.operation.name": "chat", "gen_ai.request.model": "demo-1"}}}),
                "chat demo-1",
            ),
            (
                json!({"kind": "api", "api": {"attributes": {
                    "mcp.method.name": "tools/call", "gen_ai.tool.name": "read\u{1b}[2Jfile"}}}),
                "tools/call read\u{fffd}[2Jfile",
            ),
            (
                json!({"kind": "api", "api": {"http_request": {"http_method": "GET", "url": {
                    "hostname": "api.test", "path": "/v1"}}, "http_response": {"code": 404}}}),
                "GET api.test/v1 -> 404",
            ),
            (
                json!({"kind": "link", "link": {"tool": "bash", "process": "7-1",
                    "joined_by": "command", "confidence": 0.95}}),
                "bash carried out by 7-1, by command (0.95 sure)",
            ),
            (
                json!({"kind": "log", "log": {"activity": "repaired", "detail": "3 bytes"}}),
                "repaired 3 bytes",
            ),
            (
                json!({"kind": "coverage", "coverage": {"reason": "no probe"}}),
                "no probe",
            ),
        ] {
            let line = compact(&record, false);
            assert!(line.ends_with(expected), "{line}");
            assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
}
