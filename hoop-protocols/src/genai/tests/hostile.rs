//! What an adversary sends, and cuts anywhere.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Case, Reply, all, attribute};
use crate::genai::json::{self, Json};
use crate::genai::{CUT, Exchange, Issue, Limits, recognise};

fn chat(request: &str) -> crate::genai::Call {
    let case = Case {
        request: request.to_owned(),
        ..Case::json(
            "api.openai.com",
            "/v1/chat/completions",
            &Value::Null,
            &json!({"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]}),
        )
    };
    case.call()
}

/// Every string of every case comes to the visitor: after it has changed all, none of the wire's
/// is left.
#[test]
fn the_visitor_forgets_no_text() {
    for case in all() {
        let mut call = case.call();
        let mut fields = 0;
        call.texts_mut(|text, _| {
            fields += 1;
            "#".clone_into(text);
        });
        assert!(fields > 4);
        let left = format!("{call:?}");
        let mut quoted = left.split('"').skip(1).step_by(2);
        let constants = ["image", "audio", "video", "document", call.provider];
        assert_eq!(
            quoted.find(|text| *text != "#" && !constants.contains(text)),
            None
        );
        let mut strings = Vec::new();
        for name in [
            "gen_ai.input.messages",
            "gen_ai.output.messages",
            "gen_ai.system_instructions",
            "gen_ai.tool.definitions",
        ] {
            collect(&attribute(&call, name), &mut strings);
        }
        let constants = [
            "#",
            "text",
            "reasoning",
            "refusal",
            "tool_call",
            "tool_call_response",
            "blob",
            "file",
            "uri",
            "server_tool_call",
            "server_tool_call_response",
            "",
            "image",
            "audio",
            "video",
            "document",
            "unknown",
            "error",
        ];
        strings.retain(|text| !constants.contains(&text.as_str()));
        assert_eq!(strings, Vec::<String>::new());
    }
}

fn collect(value: &Value, strings: &mut Vec<String>) {
    match value {
        Value::String(text) => strings.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, strings)),
        Value::Object(members) => members.values().for_each(|item| collect(item, strings)),
        _ => {}
    }
}

#[test]
fn how_bodies_are_cut_means_nothing() {
    for case in all() {
        let whole = case.call();
        for size in [1, 2, 3, 7, 64, 1000] {
            assert_eq!(case.cut(size, true).as_ref(), Some(&whole), "{size}");
        }
    }
}

/// A request that ends anywhere: no panic, what came is read, and it is said.
#[test]
fn a_request_cut_anywhere_is_read_so_far() {
    for case in all() {
        let whole = case.call();
        for end in 0..case.request.len() {
            let request = case.request.chars().take(end).collect();
            let cut = Case {
                request,
                response: Reply::Body(String::new()),
                ..case_like(&case)
            };
            let Some(call) = cut.cut(64, false) else {
                continue;
            };
            assert!(!call.issues.is_empty());
            assert!(call.request.messages.len() <= whole.request.messages.len());
        }
    }
}

fn case_like(case: &Case) -> Case {
    Case {
        host: case.host,
        path: case.path,
        request: String::new(),
        status: case.status,
        content_type: case.content_type,
        response: Reply::Body(String::new()),
    }
}

#[test]
fn one_fault_hides_nothing() {
    let say = r#"{"role":"user","content":"secret plan"}"#;
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    for (fault, issue) in [
        (r#""x":"\ud800""#.to_owned(), Issue::TextReplaced),
        (r#""temperature":1e999"#.to_owned(), Issue::Incomplete),
        (r#""temperature":NaN"#.to_owned(), Issue::RequestMalformed),
        (r#""temperature":01"#.to_owned(), Issue::RequestMalformed),
        (r#""x":"\q""#.to_owned(), Issue::RequestMalformed),
        (format!(r#""x":{deep}"#), Issue::Skipped),
        (r#""model":"a","model":"b""#.to_owned(), Issue::RepeatedKey),
        (
            r#""tools":7,"stop":{},"n":"two","max_tokens":-1,"stream":"yes""#.to_owned(),
            Issue::Incomplete,
        ),
    ] {
        let call = chat(&format!(r#"{{{fault},"messages":[{say}]}}"#));
        assert_eq!(
            call.user_prompts().collect::<Vec<_>>(),
            ["secret plan"],
            "{fault:.40}"
        );
        let expected = issue != Issue::Incomplete;
        assert_eq!(call.issues.contains(&issue), expected, "{fault:.40}");
    }
}

#[test]
fn what_follows_a_syntax_error_is_not_read_and_it_is_said() {
    let call = chat(r#"{"messages":[{"role":"user","content":"a"}] "model":"b"}"#);
    assert_eq!(call.user_prompts().collect::<Vec<_>>(), ["a"]);
    assert!(call.issues.contains(&Issue::RequestMalformed));
    let call = chat("not json at all");
    assert!(call.issues.contains(&Issue::RequestMalformed));
}

#[test]
fn wrong_types_anywhere_are_no_panic_and_the_rest_is_read() {
    for case in all() {
        for wrong in [
            json!(null),
            json!(7),
            json!("x"),
            json!([]),
            json!({}),
            json!([[{}]]),
        ] {
            let request: Value = serde_json::from_str(&case.request).unwrap();
            for key in request.as_object().unwrap().keys() {
                let mut request = request.clone();
                request[key] = wrong.clone();
                let changed = Case {
                    request: request.to_string(),
                    ..case_like(&case)
                };
                let _ = changed.cut(100, true);
            }
        }
    }
}

#[test]
fn a_request_beyond_the_limit_is_read_to_it() {
    let api = recognise("POST", "api.openai.com", "/v1/chat/completions", None).unwrap();
    let mut exchange = Exchange::new(
        api,
        Limits {
            request: 100,
            response: 60,
        },
    );
    let text = "x".repeat(1000);
    exchange.request_bytes(
        format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{text}"}}]}}"#).as_bytes(),
    );
    exchange.response_head(200, Some("application/json"));
    exchange.response_bytes(
        format!(r#"{{"choices":[{{"message":{{"content":"{text}"}}}}]}}"#).as_bytes(),
    );
    let call = exchange.end(true).unwrap();
    let told = call.user_prompts().next().unwrap();
    assert_eq!(told.strip_suffix(CUT), Some(&text[..49]));
    assert_eq!(
        call.issues.iter().collect::<Vec<_>>(),
        [&Issue::RequestTruncated, &Issue::ResponseTruncated]
    );
}

/// Indexes from the wire make no memory: a million calls with an empty argument each.
#[test]
fn a_stream_is_kept_to_its_budget() {
    let api = recognise("POST", "api.openai.com", "/v1/chat/completions", None).unwrap();
    let mut exchange = Exchange::new(
        api,
        Limits {
            request: 1000,
            response: 10_000,
        },
    );
    for index in 0..1000_u64 {
        let index = index * (u64::MAX / 1000);
        let data = format!(
            r#"{{"choices":[{{"index":{index},"delta":{{"content":"a","tool_calls":[{{"index":{index}}}]}}}}]}}"#
        );
        exchange.sse("message", data.as_bytes());
    }
    let call = exchange.end(true).unwrap();
    assert!(call.issues.contains(&Issue::ResponseTruncated));
    assert!(call.response.choices.len() < 100);
}

/// Names and roles cost too.
#[test]
fn long_labels_are_kept_to_the_budget() {
    let api = recognise("POST", "api.openai.com", "/v1/chat/completions", None).unwrap();
    let mut exchange = Exchange::new(
        api,
        Limits {
            request: 1000,
            response: 10_000,
        },
    );
    for index in 0..100 {
        let long = "x".repeat(4000);
        let event = json!({"choices": [{"index": index, "finish_reason": long,
            "delta": {"role": long, "tool_calls": [{"index": index, "id": long,
                "function": {"name": long}}]}}]});
        exchange.sse("message", event.to_string().as_bytes());
    }
    let mut call = exchange.end(true).unwrap();
    let mut kept = 0;
    call.texts_mut(|text, _| kept += text.len());
    assert!(kept < 11_000, "{kept}");
    assert!(call.issues.contains(&Issue::ResponseTruncated));
}

/// Time grows with the size of the input and not with its square: each of these takes a minute and
/// more if it does.
#[test]
fn large_bodies_are_read_in_linear_time() {
    let many = |open: &str, one: &str, close: &str| {
        let count = (1 << 20) / one.len();
        format!("{open}{}{close}", vec![one; count].join(","))
    };
    for request in [
        "[".repeat(1 << 18),
        "{\"a\":".repeat(1 << 18),
        many("[", "[]", "]"),
        many("{", "\"a\":1", "}"),
        many(
            "{\"messages\":[",
            "{\"role\":\"user\",\"content\":\"a\"}",
            "]}",
        ),
        format!("{{\"x\":\"{}\"}}", "\\ud800".repeat(200_000)),
        format!("{{\"x\":\"{}\"}}", "\\".repeat(1 << 20)),
        format!("{{\"x\":{}}}", "1".repeat(1 << 20)),
    ] {
        let _ = chat(&request);
    }
}

#[test]
fn one_member_of_a_part_hides_no_other() {
    let path = "/v1beta/models/g:generateContent";
    let part = json!({"text": "hi", "videoMetadata": {}, "functionCall": {"name": "rm"}});
    let request = json!({"contents": [{"role": "model", "parts": [part]}]});
    let call = Case::json("h", path, &request, &json!({"candidates": []})).call();
    let parts = &attribute(&call, "gen_ai.input.messages")[0]["parts"];
    assert_eq!(
        (&parts[0]["content"], &parts[1]["name"]),
        (&json!("hi"), &json!("rm"))
    );
}

#[test]
fn an_error_in_another_shape_is_told() {
    let request = json!({"model": "m", "messages": []});
    for (body, kind, message) in [
        (
            json!({"detail": "Not found"}),
            json!("404"),
            json!("{\"detail\":\"Not found\"}"),
        ),
        (
            json!({"object": "error", "message": "no model", "type": "NotFound"}),
            json!("NotFound"),
            json!("no model"),
        ),
        (
            json!([{"error": {"code": 404, "message": "m"}}]),
            json!("404"),
            json!("m"),
        ),
    ] {
        let call = Case::json("h", "/v1/chat/completions", &request, &body)
            .status(404)
            .call();
        assert_eq!(attribute(&call, "error.type"), kind);
        assert_eq!(attribute(&call, "error.message"), message);
    }
    let page = Case {
        content_type: "text/html",
        response: Reply::Body("<html>Bad gateway</html>".to_owned()),
        ..Case::json("h", "/v1/chat/completions", &request, &Value::Null).status(502)
    };
    let call = page.call();
    assert_eq!(attribute(&call, "error.type"), json!("502"));
    assert!(call.issues.contains(&Issue::ResponseMalformed));
}

/// One of two choices ended, then the stream did.
#[test]
fn every_choice_has_to_end() {
    let events = [
        json!({"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}),
        json!({"choices": [{"index": 1, "delta": {"content": "b"}}]}),
    ];
    let request = json!({"model": "m", "messages": [], "stream": true, "n": 2});
    let call = Case::events("h", "/v1/chat/completions", &request, &events).call();
    assert!(call.issues.contains(&Issue::Incomplete));
}

#[test]
fn arguments_keep_what_json_values_lose() {
    for arguments in [
        r#"{"cmd":"ls","cmd":"rm"}"#,
        r#"{"card":123456789012345678901234567890}"#,
        r#"{"x":0.1234567890123456789}"#,
    ] {
        let call = json!({"model": "m", "messages": [{"role": "assistant", "tool_calls": [
            {"id": "c", "function": {"name": "f", "arguments": arguments}}]}]});
        let call = chat(&call.to_string());
        let told = &attribute(&call, "gen_ai.input.messages")[0]["parts"][0]["arguments"];
        assert_eq!(told, &json!(arguments));
    }
}

#[test]
fn unlabelled_events_are_read() {
    let body =
        "event: x\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\r\n\r\ndata: [DONE]";
    let case = Case {
        content_type: "text/plain",
        response: Reply::Body(body.to_owned()),
        ..Case::json(
            "h",
            "/v1/chat/completions",
            &json!({"model": "m", "messages": []}),
            &Value::Null,
        )
    };
    let call = case.call();
    assert!(call.is_complete() && call.response.streamed);
    assert_eq!(call.replies().collect::<Vec<_>>(), ["a"]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map("[a-z\"\\\\é]{0,3}", inner, 0..5)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    /// Whatever `serde_json` reads is read here, and the same.
    #[test]
    fn the_reader_agrees_with_serde(value in any_json(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let (read, notes) = json::read(text.unwrap().as_bytes());
        prop_assert!(notes.is_clean());
        prop_assert_eq!(serde_json::from_str::<Value>(&read.to_json()).unwrap(), value);
    }

    /// Of what ends early, what was there is there, and it is noted.
    #[test]
    fn the_reader_tells_that_it_was_cut(value in any_json(), at: prop::sample::Index) {
        let text = json!([value, "end"]).to_string();
        let cut = &text.as_bytes()[..at.index(text.len())];
        let (read, notes) = json::read(cut);
        prop_assert!(notes.cut && !notes.malformed && !notes.replaced, "{:?}", notes);
        let written = read.to_json();
        prop_assert!(serde_json::from_str::<Value>(&written).is_ok(), "{}", written);
    }

    #[test]
    fn the_reader_takes_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (read, _) = json::read(&bytes);
        prop_assert!(serde_json::from_str::<Value>(&read.to_json()).is_ok());
    }

    #[test]
    fn the_reader_takes_any_brackets(text in "[\\[\\]{}\",:\\\\ua1e.\\-d8]{0,60}") {
        let (read, notes) = json::read(text.as_bytes());
        prop_assert!(serde_json::from_str::<Value>(&read.to_json()).is_ok());
        let strict = serde_json::from_str::<Value>(&text);
        // What is clean here is JSON. The other way round a number may be out of serde's range.
        if notes.is_clean() && !text.contains('e') {
            prop_assert!(strict.is_ok(), "{}", text);
        }
        prop_assert!(strict.is_err() || !notes.cut && !notes.malformed, "{}", text);
    }

    /// Any bytes as request and response of any interface.
    #[test]
    fn any_bytes_are_no_panic(
        which in 0_usize..5,
        request in prop::collection::vec(any::<u8>(), 0..100),
        event in any_json(),
    ) {
        let paths = ["/v1/chat/completions", "/v1/responses", "/v1/messages",
            "/models/g:streamGenerateContent", "/api/chat"];
        let api = recognise("POST", "api.openai.com", paths[which], None).unwrap();
        let mut exchange = Exchange::new(api, Limits::default());
        exchange.request_bytes(&request);
        exchange.sse("", event.to_string().as_bytes());
        prop_assert!(exchange.end(true).is_some());
    }
}

#[test]
fn a_value_is_written_as_it_was() {
    let text = r#"{"b":1,"a":[1.50,-0,1E5,"\u0001é"],"b":{}}"#;
    let (json, notes) = json::read(text.as_bytes());
    assert!(notes.repeated_key);
    assert_eq!(json.to_json(), text);
    assert_eq!(json.get("b"), &Json::Object(Vec::new()));
}
