//! Any bytes for the readers of MCP.

use super::{Http, HttpRequest, Limits, Side, Stdio};

/// Takes bytes as lines that client and server write by turns, over pipes and over HTTP. Panics if
/// the calls over pipes are not the same however the bytes are cut, or if there are more of them
/// than there are braces.
pub fn fuzz(data: &[u8]) {
    let whole = stdio(data, usize::MAX);
    assert_eq!(whole, stdio(data, 3));
    assert!(whole.len() <= data.iter().filter(|byte| **byte == b'{').count());
    for mut call in whole {
        call.texts_mut(|text, _| text.clear());
        assert!(call.attributes().count() > 1);
    }
    http(data);
}

fn stdio(data: &[u8], size: usize) -> Vec<super::Call> {
    let mut stdio = Stdio::new(Limits::default());
    let mut calls = Vec::new();
    for (i, line) in data.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let side = if i % 2 == 0 {
            Side::Client
        } else {
            Side::Server
        };
        for piece in line.chunks(size) {
            stdio.push(side, piece, |call| calls.push(call));
        }
    }
    stdio.end(|call| calls.push(call));
    calls
}

fn http(data: &[u8]) {
    let mut http = Http::new(Limits {
        sessions: 2,
        ..Limits::default()
    });
    let mut lines = data.split(|byte| *byte == b'\n');
    while let (Some(request), Some(response)) = (lines.next(), lines.next()) {
        let id = std::str::from_utf8(&request[..request.len().min(1)]).ok();
        let head = HttpRequest {
            method: "POST",
            authority: "h",
            path: "/",
            content_type: Some("application/json"),
            session_id: id,
            ..HttpRequest::default()
        };
        let Some(mut exchange) = http.begin(&head) else {
            return;
        };
        http.request_bytes(&mut exchange, request);
        http.request_end(&mut exchange, |_| {});
        http.response_head(&mut exchange, 200, None, id);
        http.sse(&mut exchange, "message", response, |_| {});
        http.response_bytes(&mut exchange, response);
        http.end(exchange, true, |_| {});
    }
    http.finish(|_| {});
}
