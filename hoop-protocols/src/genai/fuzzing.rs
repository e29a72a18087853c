//! Any bytes for every reader of this module.

use super::{Exchange, Limits, WebSocket, recognise};

const PATHS: [&str; 8] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1beta/models/m:streamGenerateContent",
    "/api/chat",
    "/api/generate",
    "/v1/embeddings",
];

const TYPES: [&str; 3] = [
    "application/json",
    "application/x-ndjson",
    "text/event-stream",
];

/// Takes bytes apart into an exchange: its first says which interface, its second which form the
/// response has, and the rest are pieces of the request and the response by turns, each ended by
/// NUL. Panics if the call is not the same however the bodies are cut, if the visitor or the
/// attributes do, or if more comes out than [`Limits`] allow.
pub fn fuzz(data: &[u8]) {
    let [path, form, data @ ..] = data else {
        return;
    };
    let path = PATHS[usize::from(*path) % PATHS.len()];
    let form = TYPES[usize::from(*form) % TYPES.len()];
    websocket(data);
    let whole = exchange(path, form, data, usize::MAX);
    assert_eq!(whole, exchange(path, form, data, 3));
    let Some(mut call) = whole else { return };
    let mut kept = 0;
    call.texts_mut(|text, _| kept += text.len());
    // Text may grow threefold where U+FFFD replaces a byte, and sixfold where an object is written
    // as JSON again.
    assert!(kept <= data.len() * 8 + 4096, "{kept} of {}", data.len());
    assert!(call.attributes().count() > 2);
}

fn exchange(path: &str, form: &str, data: &[u8], size: usize) -> Option<super::Call> {
    let api = recognise("POST", "api.openai.com", path, None)?;
    let mut exchange = Exchange::new(api, Limits::default());
    let mut pieces = data.split(|byte| *byte == 0);
    for piece in pieces.next()?.chunks(size) {
        exchange.request_bytes(piece);
    }
    exchange.request_end();
    exchange.response_head(200, Some(form));
    for piece in pieces {
        if form == "text/event-stream" {
            exchange.sse("message", piece);
        } else {
            piece
                .chunks(size)
                .for_each(|piece| exchange.response_bytes(piece));
        }
    }
    exchange.end(true)
}

fn websocket(data: &[u8]) {
    let Some(api) = recognise("GET", "api.openai.com", "/v1/realtime", None) else {
        return;
    };
    let mut socket = WebSocket::new(
        api,
        Limits {
            request: 4096,
            response: 4096,
        },
    );
    for (i, message) in data.split(|byte| *byte == 0).enumerate() {
        if i % 2 == 0 {
            socket.sent(message);
        } else {
            socket.received(message, |call| assert!(call.attributes().count() > 2));
        }
    }
    let _ = socket.end();
}
