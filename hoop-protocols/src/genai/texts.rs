//! A visitor of every string of a call, so that whoever masks cannot forget one.
//!
//! Structs are taken apart without `..`: a new field does not compile until it is visited here.

use super::CUT;
use super::call::{
    Call, Choice, Error, Message, Part, Request, Response, ToolCall, ToolDefinition, ToolResult,
};

impl Call {
    /// Calls `f` with every string that came from the wire, and the name of its field: the
    /// attribute of the conventions that it is told in, with the member behind it.
    pub fn texts_mut(&mut self, mut f: impl FnMut(&mut String, &str)) {
        let f: Visit<'_> = &mut f;
        let Self {
            provider: _,
            kind: _,
            request,
            response,
            issues: _,
        } = self;
        request.visit(f);
        response.visit(f);
    }
}

pub(crate) type Visit<'a> = &'a mut dyn FnMut(&mut String, &str);

impl Request {
    fn visit(&mut self, f: Visit<'_>) {
        let Self {
            model,
            instructions,
            messages,
            tools,
            conversation_id,
            previous_response_id,
            stream: _,
            max_tokens: _,
            choices: _,
            temperature: _,
            top_p: _,
            top_k: _,
            frequency_penalty: _,
            presence_penalty: _,
            seed: _,
            stop_sequences,
            output_type: _,
            reasoning_effort,
        } = self;
        visit(model, "gen_ai.request.model", f);
        for part in instructions {
            part.visit("gen_ai.system_instructions", f);
        }
        for message in messages {
            message.visit("gen_ai.input.messages", f);
        }
        for tool in tools {
            tool.visit(f);
        }
        visit(conversation_id, "gen_ai.conversation.id", f);
        visit(
            previous_response_id,
            "hoop.gen_ai.request.previous_response_id",
            f,
        );
        for sequence in stop_sequences {
            f(sequence, "gen_ai.request.stop_sequences");
        }
        visit(reasoning_effort, "hoop.gen_ai.request.reasoning_effort", f);
    }
}

impl Response {
    fn visit(&mut self, f: Visit<'_>) {
        let Self {
            http_status: _,
            id,
            model,
            conversation_id,
            choices,
            usage: _,
            streamed: _,
            error,
        } = self;
        visit(id, "gen_ai.response.id", f);
        visit(model, "gen_ai.response.model", f);
        visit(conversation_id, "gen_ai.conversation.id", f);
        for Choice {
            message,
            finish_reason,
        } in choices
        {
            message.visit("gen_ai.output.messages", f);
            visit(finish_reason, "gen_ai.response.finish_reasons", f);
        }
        if let Some(Error { kind, message }) = error {
            visit(kind, "error.type", f);
            visit(message, "error.message", f);
        }
    }
}

impl Response {
    /// Marks what was said as cut, where it did not end: nobody knows which of its parts would have gone on.
    /// `truncated`: also where it did, since not all of it is kept.
    pub(crate) fn cut(&mut self, truncated: bool) {
        let choices = self.choices.iter_mut();
        let open = choices.filter(|choice| truncated || choice.finish_reason.is_none());
        for part in open.flat_map(|choice| &mut choice.message.parts) {
            match part {
                Part::Text(text) | Part::Reasoning(text) | Part::Refusal(text) => cut(text),
                Part::ToolCall(call) | Part::ServerToolCall { call, .. } => {
                    cut(&mut call.arguments);
                }
                Part::Blob {
                    transcript: Some(transcript),
                    ..
                } => cut(transcript),
                _ => {}
            }
        }
    }
}

impl Message {
    fn visit(&mut self, within: &str, f: Visit<'_>) {
        let Self { role, name, parts } = self;
        f(role, &format!("{within}.role"));
        visit(name, &format!("{within}.name"), f);
        for part in parts {
            part.visit(within, f);
        }
    }
}

impl Part {
    pub(crate) fn visit(&mut self, within: &str, f: Visit<'_>) {
        let field = |name: &str| format!("{within}.{name}");
        match self {
            Self::Text(text) => f(text, &field("text")),
            Self::Reasoning(text) => f(text, &field("reasoning")),
            Self::Refusal(text) => f(text, &field("refusal")),
            Self::ToolCall(call) => call.visit(&field("tool_call"), f),
            Self::ToolResult(result) => result.visit(&field("tool_call_response"), f),
            Self::ServerToolCall { kind, call } => {
                f(kind, &field("server_tool_call.type"));
                call.visit(&field("server_tool_call"), f);
            }
            Self::ServerToolResult { kind, result } => {
                f(kind, &field("server_tool_call_response.type"));
                result.visit(&field("server_tool_call_response"), f);
            }
            Self::Blob {
                modality: _,
                mime_type,
                size: _,
                transcript,
            } => {
                visit(mime_type, &field("blob.mime_type"), f);
                visit(transcript, &field("blob.transcript"), f);
            }
            Self::File {
                modality: _,
                mime_type,
                id,
            } => {
                visit(mime_type, &field("file.mime_type"), f);
                f(id, &field("file.file_id"));
            }
            Self::Uri {
                modality: _,
                mime_type,
                uri,
            } => {
                visit(mime_type, &field("uri.mime_type"), f);
                f(uri, &field("uri.uri"));
            }
            Self::Other { kind, content } => {
                f(kind, &field("type"));
                f(content, &field("content"));
            }
        }
    }
}

impl ToolCall {
    fn visit(&mut self, within: &str, f: Visit<'_>) {
        let Self {
            id,
            name,
            arguments,
        } = self;
        visit(id, &format!("{within}.id"), f);
        f(name, &format!("{within}.name"));
        f(arguments, &format!("{within}.arguments"));
    }
}

impl ToolResult {
    fn visit(&mut self, within: &str, f: Visit<'_>) {
        let Self {
            id,
            name,
            content,
            is_error: _,
        } = self;
        visit(id, &format!("{within}.id"), f);
        visit(name, &format!("{within}.name"), f);
        f(content, &format!("{within}.response"));
    }
}

impl ToolDefinition {
    pub(crate) fn visit(&mut self, f: Visit<'_>) {
        let Self {
            kind,
            name,
            description,
            parameters_size: _,
        } = self;
        f(kind, "gen_ai.tool.definitions.type");
        f(name, "gen_ai.tool.definitions.name");
        visit(description, "gen_ai.tool.definitions.description", f);
    }
}

fn cut(text: &mut String) {
    if !text.ends_with(CUT) {
        text.push(CUT);
    }
}

fn visit(text: &mut Option<String>, field: &str, f: Visit<'_>) {
    if let Some(text) = text {
        f(text, field);
    }
}
