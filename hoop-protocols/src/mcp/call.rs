//! What a call of MCP said.

use std::collections::BTreeSet;

use crate::genai::{Issue, Part, ToolDefinition};

/// A request with its response, or a notification.
///
/// Every string is as it came from the wire: mask each by [`texts_mut`](Self::texts_mut) before it
/// is kept anywhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// What carried it.
    pub transport: Transport,
    /// `Mcp-Session-Id`.
    pub session_id: Option<String>,
    /// The protocol's revision, as `initialize` or a header told.
    pub protocol_version: Option<String>,
    /// The client's name, as `initialize` told.
    pub client: Option<Implementation>,
    /// The server's name, as `initialize` told.
    pub server: Option<Implementation>,
    /// Who sent the request, or the notification.
    pub caller: Side,
    /// The method; `None` for a response whose request was not seen.
    pub method: Option<String>,
    /// The request's identifier; `None` for a notification.
    pub id: Option<String>,
    /// The tool that is called.
    pub tool: Option<String>,
    /// The prompt that is asked for.
    pub prompt: Option<String>,
    /// The resource that is meant.
    pub uri: Option<String>,
    /// The arguments of a tool or a prompt, as JSON.
    pub arguments: Option<String>,
    /// The parameters of any other method, as JSON, without data.
    pub params: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why the caller no longer wants it, if it said so; empty if it gave no reason.
    pub cancelled: Option<String>,
    /// A tool's, prompt's or resource's content.
    pub content: Vec<Part>,
    /// The result of any other method, or a tool's structured result, as JSON, without data.
    pub result: Option<String>,
    /// The tools that `tools/list` told of.
    pub tools: Vec<ToolDefinition>,
    /// Names of prompts, or addresses of resources, that a list told of.
    pub listed: Vec<String>,
    /// The status of the HTTP response that carries the answer, if it is an error.
    pub http_status: Option<u16>,
    /// Why this is not all that was said; empty if it is.
    pub issues: BTreeSet<Issue>,
}

/// What carries messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A pipe to a process and one from it, a message a line.
    Pipe,
    /// HTTP, with or without server-sent events.
    Http,
}

/// One end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Which opened the session; the program with the model.
    Client,
    /// Which has the tools.
    Server,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is a notification: there is no answer.
    Notification,
    /// With a result.
    Result {
        /// What `isError` of a tool's result says.
        is_error: Option<bool>,
    },
    /// With an error.
    Error(RpcError),
    /// No answer was seen before the session, or its capture, ended.
    Unanswered,
}

/// A JSON-RPC error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RpcError {
    /// Its code.
    pub code: Option<i64>,
    /// Its message.
    pub message: Option<String>,
    /// Whatever else it tells, as JSON.
    pub data: Option<String>,
}

/// A program's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Implementation {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Option<String>,
}

impl Side {
    /// The other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

impl Call {
    pub(super) fn new(transport: Transport, caller: Side) -> Self {
        Self {
            transport,
            session_id: None,
            protocol_version: None,
            client: None,
            server: None,
            caller,
            method: None,
            id: None,
            tool: None,
            prompt: None,
            uri: None,
            arguments: None,
            params: None,
            outcome: Outcome::Unanswered,
            cancelled: None,
            content: Vec::new(),
            result: None,
            tools: Vec::new(),
            listed: Vec::new(),
            http_status: None,
            issues: BTreeSet::new(),
        }
    }

    /// Calls `f` with every string that came from the wire, and the name of its field: the
    /// attribute of the conventions that it is told in, with the member behind it.
    pub fn texts_mut(&mut self, mut f: impl FnMut(&mut String, &str)) {
        // Without `..`: a new field does not compile until it is visited here.
        let Self {
            transport: _,
            session_id,
            protocol_version,
            client,
            server,
            caller: _,
            method,
            id,
            tool,
            prompt,
            uri,
            arguments,
            params,
            outcome,
            cancelled,
            content,
            result,
            tools,
            listed,
            http_status: _,
            issues: _,
        } = self;
        let mut fields = vec![
            (session_id, "mcp.session.id"),
            (protocol_version, "mcp.protocol.version"),
            (method, "mcp.method.name"),
            (id, "jsonrpc.request.id"),
            (tool, "gen_ai.tool.name"),
            (prompt, "gen_ai.prompt.name"),
            (uri, "mcp.resource.uri"),
            (arguments, "gen_ai.tool.call.arguments"),
            (params, "hoop.mcp.params"),
            (cancelled, "hoop.mcp.cancelled"),
            (result, "gen_ai.tool.call.result"),
        ];
        if let Outcome::Error(RpcError {
            code: _,
            message,
            data,
        }) = outcome
        {
            fields.extend([(message, "error.message"), (data, "hoop.mcp.error.data")]);
        }
        for (text, field) in fields {
            if let Some(text) = text {
                f(text, field);
            }
        }
        let ends = [(client, "hoop.mcp.client"), (server, "hoop.mcp.server")];
        for (end, field) in ends {
            let Some(Implementation { name, version }) = end else {
                continue;
            };
            f(name, &format!("{field}.name"));
            if let Some(version) = version {
                f(version, &format!("{field}.version"));
            }
        }
        for part in content {
            part.visit("gen_ai.tool.call.result", &mut f);
        }
        for tool in tools {
            tool.visit(&mut f);
        }
        for name in listed {
            f(name, "hoop.mcp.listed");
        }
    }

    /// Whether this is all that was said.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.issues.is_empty() && self.outcome != Outcome::Unanswered
    }
}
