//! A call by the names of OpenTelemetry's semantic conventions for MCP
//! (`open-telemetry/semantic-conventions-genai`, `model/mcp`). What the conventions have no name
//! for is under `hoop.mcp`.

use serde_json::{Value, json};

use super::call::{Call, Implementation, Outcome, Transport};
use crate::genai::Issue;
use crate::genai::attributes::{Attributes, definition, part, structured};

impl Call {
    /// The attributes that are known of this call, in a fixed order.
    ///
    /// Strings are as they are now: call [`texts_mut`](Self::texts_mut) first.
    pub fn attributes(&self) -> impl Iterator<Item = (&'static str, Value)> + use<> {
        let mut out = Attributes::default();
        let is_tool = self.method.as_deref() == Some("tools/call");
        out.put("mcp.method.name", self.method.as_deref());
        out.put("gen_ai.operation.name", is_tool.then_some("execute_tool"));
        out.put("mcp.session.id", self.session_id.as_deref());
        out.put("mcp.protocol.version", self.protocol_version.as_deref());
        out.put("jsonrpc.request.id", self.id.as_deref());
        out.put("gen_ai.tool.name", self.tool.as_deref());
        out.put("gen_ai.prompt.name", self.prompt.as_deref());
        out.put("mcp.resource.uri", self.uri.as_deref());
        let arguments = self.arguments.as_deref().map(structured);
        out.put(
            if is_tool {
                "gen_ai.tool.call.arguments"
            } else {
                "hoop.mcp.prompt.arguments"
            },
            arguments,
        );
        out.put("hoop.mcp.params", self.params.as_deref().map(structured));
        let name = match self.transport {
            Transport::Pipe => "pipe",
            Transport::Http => "tcp",
        };
        out.put("network.transport", Some(name));
        out.put(
            "network.protocol.name",
            (self.transport == Transport::Http).then_some("http"),
        );
        out.put(
            "hoop.mcp.caller",
            Some(format!("{:?}", self.caller).to_lowercase()),
        );
        self.answer(is_tool, &mut out);
        end(
            "hoop.mcp.client.name",
            "hoop.mcp.client.version",
            self.client.as_ref(),
            &mut out,
        );
        end(
            "hoop.mcp.server.name",
            "hoop.mcp.server.version",
            self.server.as_ref(),
            &mut out,
        );
        out.list("gen_ai.tool.definitions", &self.tools, definition);
        out.list("hoop.mcp.listed", &self.listed, |name| json!(name));
        out.put("hoop.mcp.cancelled", self.cancelled.as_deref());
        let issues: Vec<_> = self
            .issues
            .iter()
            .map(|issue: &Issue| issue.as_str())
            .collect();
        out.put("hoop.mcp.issues", (!issues.is_empty()).then_some(issues));
        out.into_iter()
    }

    fn answer(&self, is_tool: bool, out: &mut Attributes) {
        match &self.outcome {
            Outcome::Notification => {}
            Outcome::Result { is_error } => {
                let result = self.told_result();
                let failed = *is_error == Some(true);
                // The conventions' result is that of a call that succeeded.
                let name = if !is_tool {
                    "hoop.mcp.result"
                } else if failed {
                    "hoop.mcp.tool_error"
                } else {
                    "gen_ai.tool.call.result"
                };
                out.put(name, result);
                out.put("error.type", failed.then_some("tool_error"));
            }
            Outcome::Error(error) => {
                let code = error.code.map(|code| code.to_string());
                out.put("rpc.response.status_code", code.clone());
                out.put(
                    "error.type",
                    Some(code.unwrap_or_else(|| "_OTHER".to_owned())),
                );
                out.put("error.message", error.message.as_deref());
                out.put("hoop.mcp.error.data", error.data.as_deref().map(structured));
            }
            Outcome::Unanswered => out.put("hoop.mcp.unanswered", Some(true)),
        }
        out.put("http.response.status_code", self.http_status);
    }

    fn told_result(&self) -> Option<Value> {
        let structured = self.result.as_deref().map(structured);
        let content: Vec<_> = self.content.iter().map(part).collect();
        match (structured, content.is_empty()) {
            (structured, true) => structured,
            (None, false) => Some(json!({"content": content})),
            (Some(structured), false) => {
                Some(json!({"content": content, "structured_content": structured}))
            }
        }
    }
}

fn end(
    name: &'static str,
    version: &'static str,
    end: Option<&Implementation>,
    out: &mut Attributes,
) {
    let Some(end) = end else { return };
    out.put(name, Some(end.name.as_str()));
    out.put(version, end.version.as_deref());
}
