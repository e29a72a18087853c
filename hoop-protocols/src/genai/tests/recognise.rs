//! Which requests may be calls.

use super::super::{Kind, recognise};

fn post(authority: &str, path: &str) -> Option<(Kind, &'static str, Option<String>)> {
    let api = recognise("POST", authority, path, Some("application/json"))?;
    Some((api.kind, api.provider, api.model))
}

#[test]
fn by_path_and_host() {
    let model = |model: &str| Some(model.to_owned());
    for (authority, path, expected) in [
        (
            "api.openai.com:443",
            "/v1/chat/completions",
            (Kind::OpenAiChat, "openai", None),
        ),
        (
            "API.X.AI",
            "/v1/chat/completions",
            (Kind::OpenAiChat, "x_ai", None),
        ),
        (
            "[::1]:8000",
            "/v1/chat/completions",
            (Kind::OpenAiChat, "openai", None),
        ),
        (
            "api.groq.com",
            "/openai/v1/chat/completions",
            (Kind::OpenAiChat, "groq", None),
        ),
        (
            "a.openai.azure.com",
            "/openai/v1/responses",
            (Kind::OpenAiResponses, "azure.ai.openai", None),
        ),
        (
            "gateway.corp",
            "/openai/deployments/d1/embeddings?api-version=1",
            (Kind::OpenAiEmbeddings, "azure.ai.openai", model("d1")),
        ),
        (
            "r.services.ai.azure.com",
            "/models/chat/completions",
            (Kind::OpenAiChat, "azure.ai.inference", None),
        ),
        (
            "api.anthropic.com",
            "/v1/messages?beta=true",
            (Kind::AnthropicMessages, "anthropic", None),
        ),
        (
            "proxy",
            "/anthropic/v1/messages",
            (Kind::AnthropicMessages, "anthropic", None),
        ),
        (
            "generativelanguage.googleapis.com",
            "/v1beta/models/gemini-2.0:embedContent",
            (Kind::GeminiEmbeddings, "gcp.gemini", model("gemini-2.0")),
        ),
        (
            "proxy",
            "/v1beta/models/gemini-2.0:generateContent",
            (
                Kind::GeminiGenerateContent,
                "gcp.gen_ai",
                model("gemini-2.0"),
            ),
        ),
        (
            "vllm",
            "//v1/chat/completion%73/",
            (Kind::OpenAiChat, "openai", None),
        ),
        (
            "vllm",
            "http://vllm/v1%2fchat/completions",
            (Kind::OpenAiChat, "openai", None),
        ),
        (
            "localhost:11434",
            "/api/embed",
            (Kind::OllamaEmbeddings, "ollama", None),
        ),
        (
            "localhost:11434",
            "/api/generate",
            (Kind::OllamaGenerate, "ollama", None),
        ),
    ] {
        assert_eq!(post(authority, path), Some(expected), "{authority}{path}");
    }
}

#[test]
fn what_is_none() {
    for path in [
        "/",
        "/v1/models",
        "/v1/messages/count_tokens",
        "/v1/threads/t/messages",
        "*",
        "",
    ] {
        assert_eq!(post("api.openai.com", path), None, "{path}");
    }
    assert!(recognise("GET", "h", "/v1/chat/completions", None).is_none());
    let form = Some("multipart/form-data; boundary=x");
    assert!(recognise("POST", "h", "/v1/responses", form).is_none());
    assert!(
        post("notopenai.com", "/v1/responses").is_some_and(|(_, provider, _)| provider == "openai")
    );
    let api = recognise("POST", "notopenai.com", "/v1/responses", None).unwrap();
    assert!(!api.known_host);
}

#[test]
fn websockets() {
    let path = "/v1/realtime?model=gpt-realtime&x=1";
    let api = recognise("GET", "api.openai.com", path, None).unwrap();
    assert_eq!(
        (api.kind, api.model.as_deref()),
        (Kind::OpenAiRealtime, Some("gpt-realtime"))
    );
    let api = recognise("CONNECT", "api.openai.com", "/v1/responses", None).unwrap();
    assert_eq!(api.kind, Kind::OpenAiResponses);
}
