//! Realtime, and responses over a WebSocket.

use serde_json::{Value, json};

use super::attribute;
use crate::genai::{Call, Issue, Limits, Part, WebSocket, recognise};

/// `>` is from the client, `<` from the server.
fn calls(path: &str, messages: &[(char, Value)]) -> Vec<Call> {
    let api = recognise("GET", "api.openai.com", path, None).unwrap();
    let mut socket = WebSocket::new(api, Limits::default());
    let mut calls = Vec::new();
    for (way, message) in messages {
        let text = message.to_string();
        let known = match way {
            '>' => socket.sent(text.as_bytes()),
            _ => socket.received(text.as_bytes(), |call| calls.push(call)),
        };
        assert!(known, "{text}");
    }
    calls.extend(socket.end());
    calls
}

fn realtime() -> Vec<(char, Value)> {
    vec![
        (
            '<',
            json!({"type": "session.created", "session": {"id": "sess_1", "model": "gpt-realtime"}}),
        ),
        (
            '>',
            json!({"type": "session.update", "session": {"instructions": "Be kind.",
            "tools": [{"type": "function", "name": "look", "parameters": {}}]}}),
        ),
        (
            '>',
            json!({"type": "input_audio_buffer.append", "audio": "AAAAAAAA"}),
        ),
        (
            '<',
            json!({"type": "input_audio_buffer.committed", "item_id": "i1"}),
        ),
        (
            '<',
            json!({"type": "conversation.item.input_audio_transcription.completed",
            "item_id": "i1", "transcript": "Hello."}),
        ),
        (
            '>',
            json!({"type": "conversation.item.create", "item": {"type": "message",
            "role": "user", "content": [{"type": "input_text", "text": "And hi."}]}}),
        ),
        ('>', json!({"type": "response.create"})),
        (
            '<',
            json!({"type": "response.created", "response": {"id": "resp_1",
            "object": "realtime.response", "status": "in_progress", "output": []}}),
        ),
        (
            '<',
            json!({"type": "response.output_audio_transcript.delta", "output_index": 0,
            "content_index": 0, "delta": "Good "}),
        ),
        (
            '<',
            json!({"type": "response.output_audio_transcript.delta", "output_index": 0,
            "content_index": 0, "delta": "day."}),
        ),
        (
            '<',
            json!({"type": "response.function_call_arguments.delta", "output_index": 1,
            "call_id": "call_1", "delta": "{}"}),
        ),
        (
            '<',
            json!({"type": "response.output_item.done", "output_index": 1, "item":
            {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}}),
        ),
        (
            '<',
            json!({"type": "response.done", "response": {"id": "resp_1",
            "object": "realtime.response", "status": "completed", "conversation_id": "conv_1",
            "output": [
                {"type": "message", "role": "assistant", "content":
                    [{"type": "output_audio", "transcript": "Good day."}]},
                {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}],
            "usage": {"input_tokens": 4, "output_tokens": 5}}}),
        ),
        (
            '>',
            json!({"type": "conversation.item.create", "item":
            {"type": "function_call_output", "call_id": "call_1", "output": "seen"}}),
        ),
        ('>', json!({"type": "response.create"})),
        (
            '<',
            json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0,
            "delta": "I s"}),
        ),
    ]
}

#[test]
fn a_session_is_many_calls() {
    let calls = calls("/v1/realtime?model=gpt-realtime", &realtime());
    let [first, second] = calls.as_slice() else {
        panic!("{}", calls.len())
    };
    assert!(first.is_complete(), "{:?}", first.issues);
    assert_eq!(first.request.model.as_deref(), Some("gpt-realtime"));
    assert_eq!(first.system_prompts().collect::<Vec<_>>(), ["Be kind."]);
    assert_eq!(first.user_prompts().collect::<Vec<_>>(), ["And hi."]);
    let spoken = Part::Blob {
        modality: "audio",
        mime_type: None,
        size: 6,
        transcript: Some("Hello.".to_owned()),
    };
    assert_eq!(first.request.messages[0].parts, [spoken]);
    assert_eq!(first.request.tools.len(), 1);
    assert_eq!(first.tool_calls().next().unwrap().name, "look");
    let parts = &attribute(first, "gen_ai.output.messages")[0]["parts"];
    assert_eq!(parts[0]["transcript"], "Good day.");
    assert_eq!(first.response.usage.output, Some(5));
    assert_eq!(second.tool_results().next().unwrap().content, "seen");
    assert_eq!(second.replies().collect::<Vec<_>>(), ["I s\u{fdd0}"]);
    assert!(second.issues.contains(&Issue::Incomplete));
}

#[test]
fn responses_over_a_websocket() {
    let messages = [
        (
            '>',
            json!({"type": "response.create", "model": "gpt-5", "input": "Hi",
            "previous_response_id": "resp_0"}),
        ),
        (
            '<',
            json!({"type": "response.created", "response": {"id": "resp_1", "model": "gpt-5-1"}}),
        ),
        (
            '<',
            json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0,
            "delta": "Hello"}),
        ),
        (
            '<',
            json!({"type": "response.completed", "response": {"id": "resp_1",
            "object": "response", "status": "completed", "output": []}}),
        ),
    ];
    let calls = calls("/v1/responses", &messages);
    let [call] = calls.as_slice() else {
        panic!("{}", calls.len())
    };
    assert!(call.is_complete(), "{:?}", call.issues);
    assert_eq!(call.request.previous_response_id.as_deref(), Some("resp_0"));
    assert_eq!(call.user_prompts().collect::<Vec<_>>(), ["Hi"]);
    assert_eq!(call.replies().collect::<Vec<_>>(), ["Hello"]);
}

#[test]
fn what_is_said_is_bounded() {
    let api = recognise("GET", "api.openai.com", "/v1/realtime", None).unwrap();
    let mut socket = WebSocket::new(
        api,
        Limits {
            request: 1000,
            response: 1000,
        },
    );
    let say = json!({"type": "conversation.item.create", "item": {"type": "message",
        "role": "user", "content": [{"type": "input_text", "text": "x".repeat(300)}]}});
    for _ in 0..10 {
        socket.sent(say.to_string().as_bytes());
    }
    let mut calls = Vec::new();
    for _ in 0..10 {
        let delta = json!({"type": "response.output_text.delta", "delta": "y".repeat(300)});
        socket.received(delta.to_string().as_bytes(), |call| calls.push(call));
    }
    let call = socket.end().unwrap();
    assert_eq!(call.request.messages.len(), 2);
    assert!(call.replies().next().unwrap().len() < 1000);
    for issue in [
        Issue::RequestTruncated,
        Issue::ResponseTruncated,
        Issue::Incomplete,
    ] {
        assert!(call.issues.contains(&issue), "{issue:?}");
    }
}
