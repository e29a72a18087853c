//! Ollama.

use serde_json::{Value, json};

use super::{Case, Reply, attribute};
use crate::genai::{Issue, Part};

const HOST: &str = "localhost:11434";

pub(super) fn cases() -> Vec<Case> {
    vec![chat(), whole(), generate()]
}

fn request() -> Value {
    json!({
        "model": "llama3.2", "think": "high",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is it?", "images": ["AAAA"]},
            {"role": "assistant", "content": "", "tool_calls": [
                {"function": {"name": "look", "arguments": {"at": "it"}}}]},
            {"role": "tool", "tool_name": "look", "content": "a cat"},
        ],
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {}}}],
        "options": {"temperature": 0, "num_predict": 9, "seed": 1, "stop": ["x"]},
        "format": {"type": "object"},
    })
}

fn lines(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn end() -> Value {
    json!({"model": "llama3.2", "done": true, "done_reason": "stop", "prompt_eval_count": 11,
        "eval_count": 7, "message": {"role": "assistant", "content": ""}})
}

fn chat() -> Case {
    let one = |message: Value| json!({"model": "llama3.2", "message": message, "done": false});
    let body = lines(&[
        one(json!({"role": "assistant", "content": "", "thinking": "A c"})),
        one(json!({"role": "assistant", "content": "", "thinking": "at."})),
        one(json!({"role": "assistant", "content": "A "})),
        one(json!({"role": "assistant", "content": "cat."})),
        one(json!({"role": "assistant", "content": "", "tool_calls": [
            {"function": {"name": "look", "arguments": {"at": "cat"}}},
            {"function": {"name": "look", "arguments": {"at": "dog"}}}]})),
        end(),
    ]);
    Case {
        content_type: "application/x-ndjson",
        response: Reply::Body(body),
        ..Case::json(HOST, "/api/chat", &request(), &Value::Null)
    }
}

fn whole() -> Case {
    let mut request = request();
    request["stream"] = json!(false);
    let mut response = end();
    response["message"] = json!({"role": "assistant", "content": "A cat.", "thinking": "A cat.",
        "tool_calls": [{"function": {"name": "look", "arguments": {"at": "cat"}}},
            {"function": {"name": "look", "arguments": {"at": "dog"}}}]});
    Case::json(HOST, "/api/chat", &request, &response)
}

fn generate() -> Case {
    let request = json!({"model": "llama3.2", "prompt": "Why?", "system": "Be brief."});
    let body = lines(&[
        json!({"model": "llama3.2", "response": "Be", "done": false}),
        json!({"model": "llama3.2", "response": "cause.", "done": false}),
        json!({"model": "llama3.2", "response": "", "done": true, "done_reason": "length",
            "context": [1, 2], "prompt_eval_count": 3, "eval_count": 4}),
    ]);
    Case {
        content_type: "application/x-ndjson",
        response: Reply::Body(body),
        ..Case::json(HOST, "/api/generate", &request, &Value::Null)
    }
}

#[test]
fn a_chat_is_read() {
    let call = chat().call();
    assert!(call.is_complete(), "{:?}", call.issues);
    assert_eq!(call.provider, "ollama");
    assert_eq!(call.system_prompts().collect::<Vec<_>>(), ["Be brief."]);
    assert_eq!(call.user_prompts().collect::<Vec<_>>(), ["What is it?"]);
    assert_eq!(call.replies().collect::<Vec<_>>(), ["A cat."]);
    assert_eq!(
        call.response.choices[0].message.parts[0],
        Part::Reasoning("A cat.".to_owned())
    );
    let calls: Vec<_> = call.tool_calls().map(|c| &*c.arguments).collect();
    assert_eq!(calls, [r#"{"at":"cat"}"#, r#"{"at":"dog"}"#]);
    assert_eq!(
        call.tool_results().next().unwrap().name.as_deref(),
        Some("look")
    );
    assert_eq!(
        (call.response.usage.input, call.response.usage.output),
        (Some(11), Some(7))
    );
    for (name, value) in [
        ("gen_ai.request.max_tokens", json!(9)),
        ("gen_ai.request.stop_sequences", json!(["x"])),
        ("gen_ai.request.stream", json!(true)),
        ("gen_ai.output.type", json!("json")),
        ("hoop.gen_ai.request.reasoning_effort", json!("high")),
    ] {
        assert_eq!(attribute(&call, name), value, "{name}");
    }
}

#[test]
fn a_stream_says_what_the_whole_says() {
    let mut streamed = chat().call();
    assert!(std::mem::replace(&mut streamed.response.streamed, false));
    assert_eq!(streamed.response, whole().call().response);
}

#[test]
fn a_stream_that_is_labelled_json_is_read_too() {
    let mut case = chat();
    case.content_type = "application/json";
    assert_eq!(case.call(), chat().call());
}

#[test]
fn generated_text_is_read() {
    let call = generate().call();
    assert!(call.is_complete());
    assert_eq!(
        attribute(&call, "gen_ai.operation.name"),
        json!("text_completion")
    );
    assert_eq!(call.system_prompts().collect::<Vec<_>>(), ["Be brief."]);
    assert_eq!(call.replies().collect::<Vec<_>>(), ["Because."]);
    assert_eq!(
        attribute(&call, "gen_ai.response.finish_reasons"),
        json!(["length"])
    );
}

#[test]
fn a_cut_stream_says_so() {
    let mut case = generate();
    let Reply::Body(body) = &mut case.response else {
        unreachable!()
    };
    body.truncate(body.find("cause").unwrap() + 2);
    let call = case.cut(7, false).unwrap();
    assert_eq!(call.replies().collect::<Vec<_>>(), ["Beca\u{fdd0}"]);
    let expected = [&Issue::Incomplete, &Issue::ResponseMalformed];
    assert_eq!(call.issues.iter().collect::<Vec<_>>(), expected);
}

#[test]
fn another_programs_chat_is_none() {
    let request = json!({"id": "c1", "messages": [{"role": "user", "parts": []}]});
    assert!(
        Case::json("shop.example", "/api/chat", &request, &json!({}))
            .cut(9, true)
            .is_none()
    );
}

#[test]
fn an_error_is_a_text() {
    let error = json!({"error": "model 'x' not found"});
    let call = Case::json(HOST, "/api/chat", &request(), &error)
        .status(404)
        .call();
    assert_eq!(attribute(&call, "error.type"), json!("404"));
    assert_eq!(
        attribute(&call, "error.message"),
        json!("model 'x' not found")
    );
}
