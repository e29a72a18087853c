//! Gemini and Vertex.

use serde_json::{Value, json};

use super::{Case, Reply, attribute};
use crate::genai::{Part, Usage};

const HOST: &str = "generativelanguage.googleapis.com";
const PATH: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";

pub(super) fn cases() -> Vec<Case> {
    vec![whole(), stream(), array(), blocked()]
}

fn request() -> Value {
    json!({
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Lights?"},
                {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
                {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://bucket/a.mp4"}}]},
            {"role": "model", "parts": [{"functionCall": {"name": "dim", "args": {"to": 5}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "dim",
                "response": {"ok": true}}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "dim", "description": "Dims",
            "parameters": {"type": "OBJECT"}}]}, {"googleSearch": {}}],
        "generationConfig": {"temperature": 0.2, "topP": 0.8, "topK": 10, "maxOutputTokens": 64,
            "candidateCount": 2, "stopSequences": ["x"], "responseMimeType": "application/json"},
    })
}

fn tail() -> Value {
    json!({"usageMetadata": {"promptTokenCount": 20, "candidatesTokenCount": 10,
            "thoughtsTokenCount": 4, "cachedContentTokenCount": 8, "totalTokenCount": 34},
        "modelVersion": "gemini-2.5-flash-001", "responseId": "r1"})
}

fn with(mut json: Value, candidates: &Value) -> Value {
    json["candidates"] = candidates.clone();
    json
}

fn whole() -> Case {
    let candidates = json!([
        {"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [
            {"text": "Hm, dim.", "thought": true},
            {"text": "Both lights."},
            {"functionCall": {"name": "dim", "args": {"to": 1}}, "thoughtSignature": "AAAA"},
            {"functionCall": {"id": "f2", "name": "dim", "args": {"to": 2}}},
            {"executableCode": {"language": "PYTHON", "code": "print(1)"}},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
        ]}},
        {"index": 1, "finishReason": "MAX_TOKENS", "content": {"parts": [{"text": "Or not."}]}},
    ]);
    Case::json(HOST, PATH, &request(), &with(tail(), &candidates))
}

fn chunks() -> Vec<Value> {
    let one = |index: u64, part: Value| {
        json!({"candidates": [{"index": index, "content": {"role": "model", "parts": [part]}}],
            "modelVersion": "gemini-2.5-flash-001", "responseId": "r1"})
    };
    vec![
        one(0, json!({"text": "Hm, ", "thought": true})),
        one(0, json!({"text": "dim.", "thought": true})),
        one(0, json!({"text": "Both "})),
        one(1, json!({"text": "Or"})),
        one(0, json!({"text": "lights."})),
        one(
            0,
            json!({"functionCall": {"name": "dim", "args": {"to": 1}}}),
        ),
        one(
            0,
            json!({"functionCall": {"id": "f2", "name": "dim", "args": {"to": 2}}}),
        ),
        one(
            0,
            json!({"executableCode": {"language": "PYTHON", "code": "print(1)"}}),
        ),
        one(
            0,
            json!({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}),
        ),
        with(
            tail(),
            &json!([{"index": 1, "content": {"parts": [{"text": " not."}]},
                "finishReason": "MAX_TOKENS"}, {"index": 0, "finishReason": "STOP"}]),
        ),
    ]
}

fn stream() -> Case {
    Case::events(HOST, STREAM, &request(), &chunks())
}

/// Without `alt=sse` a stream is one array.
fn array() -> Case {
    let path = "/v1/projects/p/locations/global/publishers/google/models/gemini-2.5-flash:\
        streamGenerateContent";
    let chunks: Vec<_> = chunks().iter().map(Value::to_string).collect();
    Case {
        response: Reply::Body(format!("[{}\n]", chunks.join("\n,\r\n"))),
        ..Case::json("aiplatform.googleapis.com", path, &request(), &Value::Null)
    }
}

fn blocked() -> Case {
    let response = json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
        "usageMetadata": {"promptTokenCount": 9}, "modelVersion": "gemini-2.5-flash-001"});
    Case::json(HOST, PATH, &request(), &response)
}

#[test]
fn parts_are_read() {
    let call = whole().call();
    assert!(call.is_complete());
    assert_eq!(
        call.replies().collect::<Vec<_>>(),
        ["Both lights.", "Or not."]
    );
    let calls: Vec<_> = call
        .tool_calls()
        .map(|c| (c.id.as_deref(), &*c.arguments))
        .collect();
    let expected = [
        (None, r#"{"to":1}"#),
        (Some("f2"), r#"{"to":2}"#),
        (None, "print(1)"),
    ];
    assert_eq!(calls, expected);
    let usage = Usage {
        input: Some(20),
        output: Some(14),
        cache_read: Some(8),
        cache_creation: None,
        reasoning: Some(4),
    };
    assert_eq!(call.response.usage, usage);
    for (name, value) in [
        ("gen_ai.operation.name", json!("generate_content")),
        ("gen_ai.provider.name", json!("gcp.gemini")),
        ("gen_ai.request.model", json!("gemini-2.5-flash")),
        ("gen_ai.response.model", json!("gemini-2.5-flash-001")),
        (
            "gen_ai.response.finish_reasons",
            json!(["STOP", "MAX_TOKENS"]),
        ),
        ("gen_ai.request.choice.count", json!(2)),
        ("gen_ai.output.type", json!("json")),
    ] {
        assert_eq!(attribute(&call, name), value, "{name}");
    }
    let finish = attribute(&call, "gen_ai.output.messages");
    assert_eq!(
        (&finish[0]["finish_reason"], &finish[1]["finish_reason"]),
        (&json!("tool_call"), &json!("length"))
    );
}

#[test]
fn the_request_is_read() {
    let call = whole().call();
    assert_eq!(call.system_prompts().collect::<Vec<_>>(), ["Be brief."]);
    assert_eq!(call.user_prompts().collect::<Vec<_>>(), ["Lights?"]);
    let parts = &call.request.messages[0].parts;
    assert!(matches!(
        parts[1],
        Part::Blob {
            modality: "image",
            size: 3,
            ..
        }
    ));
    assert!(
        matches!(&parts[2], Part::Uri { modality: "video", uri, .. } if uri == "gs://bucket/a.mp4")
    );
    let result = call.tool_results().next().unwrap();
    assert_eq!(
        (result.name.as_deref(), &*result.content),
        (Some("dim"), r#"{"ok":true}"#)
    );
    let roles: Vec<_> = call
        .request
        .messages
        .iter()
        .map(|message| &*message.role)
        .collect();
    assert_eq!(roles, ["user", "assistant", "tool"]);
    let tools: Vec<_> = call.request.tools.iter().map(|tool| &*tool.name).collect();
    assert_eq!(tools, ["dim", "googleSearch"]);
}

#[test]
fn streams_say_what_the_whole_says() {
    let whole = whole().call();
    for case in [stream(), array()] {
        let mut streamed = case.call();
        assert!(streamed.is_complete(), "{:?}", streamed.issues);
        assert!(std::mem::replace(&mut streamed.response.streamed, false));
        assert_eq!(streamed.request.stream, Some(true));
        assert_eq!(streamed.response, whole.response);
    }
}

#[test]
fn a_blocked_prompt_is_an_answer() {
    let call = blocked().call();
    assert!(call.is_complete());
    assert_eq!(
        attribute(&call, "gen_ai.output.messages")[0]["finish_reason"],
        "content_filter"
    );
}
