//! Which interface of which provider a request is for, by its path.

/// An interface, and what the request's address says of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Which one.
    pub kind: Kind,
    /// `gen_ai.provider.name`: by the host where that is a provider's own, else by the interface.
    pub provider: &'static str,
    /// Whether the host is a provider's own; if not, only the shape of the body tells an API call
    /// from any other that happens to have this path.
    pub known_host: bool,
    /// The model, where the path names it: Gemini, Vertex, Azure's deployments. From the wire.
    pub model: Option<String>,
    /// Whether the path asks for a stream.
    pub stream: bool,
}

/// An interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// OpenAI `POST /v1/chat/completions`.
    OpenAiChat,
    /// OpenAI `POST /v1/completions`.
    OpenAiCompletions,
    /// OpenAI `POST /v1/responses`, or a WebSocket at that path.
    OpenAiResponses,
    /// OpenAI WebSocket `/v1/realtime`.
    OpenAiRealtime,
    /// OpenAI `POST /v1/embeddings`.
    OpenAiEmbeddings,
    /// Anthropic `POST /v1/messages`, or Vertex `:rawPredict`.
    AnthropicMessages,
    /// Gemini and Vertex `:generateContent` and `:streamGenerateContent`.
    GeminiGenerateContent,
    /// Gemini `:embedContent` and `:batchEmbedContents`.
    GeminiEmbeddings,
    /// Ollama `POST /api/chat`.
    OllamaChat,
    /// Ollama `POST /api/generate`.
    OllamaGenerate,
    /// Ollama `POST /api/embed` and `/api/embeddings`.
    OllamaEmbeddings,
}

impl Kind {
    /// `gen_ai.operation.name`.
    #[must_use]
    pub fn operation(self) -> &'static str {
        match self {
            Self::OpenAiChat
            | Self::OpenAiResponses
            | Self::OpenAiRealtime
            | Self::AnthropicMessages
            | Self::OllamaChat => "chat",
            Self::OpenAiCompletions | Self::OllamaGenerate => "text_completion",
            Self::GeminiGenerateContent => "generate_content",
            Self::OpenAiEmbeddings | Self::GeminiEmbeddings | Self::OllamaEmbeddings => {
                "embeddings"
            }
        }
    }

    fn provider(self) -> &'static str {
        match self {
            Self::OpenAiChat
            | Self::OpenAiCompletions
            | Self::OpenAiResponses
            | Self::OpenAiRealtime
            | Self::OpenAiEmbeddings => "openai",
            Self::AnthropicMessages => "anthropic",
            Self::GeminiGenerateContent | Self::GeminiEmbeddings => "gcp.gen_ai",
            Self::OllamaChat | Self::OllamaGenerate | Self::OllamaEmbeddings => "ollama",
        }
    }
}

/// What a request may be, by its method, authority (host, perhaps with a port), path with query,
/// and content type. `None`: no call that is read here.
///
/// A `GET` or `CONNECT` is taken for the opening of a WebSocket; the caller knows whether it is.
/// The path alone proves nothing, the shape of the body decides: [`Exchange::end`] gives no call if
/// it is of no such shape.
///
/// [`Exchange::end`]: crate::genai::Exchange::end
#[must_use]
pub fn recognise(
    method: &str,
    authority: &str,
    path: &str,
    content_type: Option<&str>,
) -> Option<Api> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let path = &normal(path);
    let kind = match method {
        "POST" if content_type.is_none_or(may_be_json) => by_path(path)?,
        "GET" | "CONNECT" => by_websocket_path(path)?,
        _ => return None,
    };
    let host = by_host(authority, path);
    Some(Api {
        kind,
        provider: host.unwrap_or(kind.provider()),
        known_host: host.is_some(),
        model: model(kind, path, query),
        stream: path.ends_with(":streamGenerateContent") || path.ends_with(":streamRawPredict"),
    })
}

fn by_path(path: &str) -> Option<Kind> {
    let last = path.rsplit('/').next()?;
    if let Some((_, verb)) = last.rsplit_once(':') {
        return match verb {
            "generateContent" | "streamGenerateContent" => Some(Kind::GeminiGenerateContent),
            "embedContent" | "batchEmbedContents" => Some(Kind::GeminiEmbeddings),
            "rawPredict" | "streamRawPredict" if path.contains("/publishers/anthropic/") => {
                Some(Kind::AnthropicMessages)
            }
            _ => None,
        };
    }
    let ends = |suffix: &str| path.ends_with(suffix);
    if ends("/chat/completions") {
        Some(Kind::OpenAiChat)
    } else if ends("/completions") {
        Some(Kind::OpenAiCompletions)
    } else if ends("/responses") {
        Some(Kind::OpenAiResponses)
    } else if ends("/v1/messages") {
        Some(Kind::AnthropicMessages)
    } else if ends("/api/chat") {
        Some(Kind::OllamaChat)
    } else if ends("/api/generate") {
        Some(Kind::OllamaGenerate)
    } else if ends("/api/embed") || ends("/api/embeddings") {
        Some(Kind::OllamaEmbeddings)
    } else if ends("/embeddings") {
        Some(Kind::OpenAiEmbeddings)
    } else {
        None
    }
}

fn by_websocket_path(path: &str) -> Option<Kind> {
    if path.ends_with("/realtime") {
        Some(Kind::OpenAiRealtime)
    } else if path.ends_with("/responses") {
        Some(Kind::OpenAiResponses)
    } else {
        None
    }
}

/// The provider whose host this is, by the values that the conventions list.
fn by_host(authority: &str, path: &str) -> Option<&'static str> {
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, port)| {
            if port.bytes().all(|byte| byte.is_ascii_digit()) {
                host
            } else {
                authority
            }
        });
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let within = |domain: &str| {
        host.strip_suffix(domain)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    if within("openai.azure.com")
        || within("cognitiveservices.azure.com")
        || path.contains("/openai/deployments/")
    {
        return Some("azure.ai.openai");
    }
    if within("services.ai.azure.com") {
        let openai = path.starts_with("/openai/");
        return Some(if openai {
            "azure.ai.openai"
        } else {
            "azure.ai.inference"
        });
    }
    if host == "aiplatform.googleapis.com" || host.ends_with("-aiplatform.googleapis.com") {
        return Some("gcp.vertex_ai");
    }
    if host.starts_with("bedrock-runtime.") && within("amazonaws.com") {
        return Some("aws.bedrock");
    }
    const HOSTS: [(&str, &str); 13] = [
        ("openai.com", "openai"),
        ("anthropic.com", "anthropic"),
        ("generativelanguage.googleapis.com", "gcp.gemini"),
        ("models.ai.azure.com", "azure.ai.inference"),
        ("x.ai", "x_ai"),
        ("deepseek.com", "deepseek"),
        ("groq.com", "groq"),
        ("mistral.ai", "mistral_ai"),
        ("perplexity.ai", "perplexity"),
        ("cohere.com", "cohere"),
        ("cohere.ai", "cohere"),
        ("moonshot.ai", "moonshot_ai"),
        ("moonshot.cn", "moonshot_ai"),
    ];
    HOSTS
        .iter()
        .find(|(domain, _)| within(domain))
        .map(|(_, provider)| *provider)
}

/// The model or deployment in the address.
fn model(kind: Kind, path: &str, query: &str) -> Option<String> {
    let mut segments = path.split('/');
    let named = match kind {
        Kind::GeminiGenerateContent | Kind::GeminiEmbeddings | Kind::AnthropicMessages => segments
            .next_back()?
            .rsplit_once(':')
            .map(|(model, _)| model),
        Kind::OpenAiRealtime => query.split('&').find_map(|pair| {
            pair.strip_prefix("model=")
                .or_else(|| pair.strip_prefix("deployment="))
        }),
        _ => segments
            .skip_while(|segment| *segment != "deployments")
            .nth(1),
    };
    named.filter(|model| !model.is_empty()).map(str::to_owned)
}

/// A path as servers take it before they compare it: percent-encoding undone (RFC 3986 section
/// 2.1), empty segments left out.
fn normal(path: &str) -> String {
    let hex = |digit: u8| char::from(digit).to_digit(16);
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let encoded = match *after {
            [high, low, ..] if byte == b'%' => hex(high).zip(hex(low)),
            _ => None,
        };
        if let Some((high, low)) = encoded {
            rest = &after[2..];
            bytes.push((high * 16 + low) as u8);
        } else {
            bytes.push(byte);
        }
    }
    let decoded = String::from_utf8_lossy(&bytes);
    let segments = decoded.split('/').filter(|segment| !segment.is_empty());
    segments.fold(String::new(), |path, segment| path + "/" + segment)
}

/// Whether a body of this content type may be JSON. Many servers do not look at it, and the shape of
/// the body decides; a form with parts is never JSON.
fn may_be_json(content_type: &str) -> bool {
    !content_type
        .trim_start()
        .to_ascii_lowercase()
        .starts_with("multipart/")
}
