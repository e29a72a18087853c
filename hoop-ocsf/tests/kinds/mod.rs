//! Records of every kind: with everything that they can have, and with nothing.

use hoop_records::{
    Actor, Ancestor, ApiActivity, ApiMessage, Attribute, Body, ConnectionInfo, Coverage, Endpoint,
    Fact, File, Gap, HookStatus, HttpHeader, HttpRequest, HttpResponse, Kind, Lifecycle, Link,
    LogChange, Masked, Namespaces, NetworkActivity, Origin, ParentProcess, Plaintext, Process,
    ProcessActivity, Record, Result as Outcome, Session, SocketActivity, TlsConnection, Trace, Url,
    User, Verdict, Workload,
};

/// All of them.
pub(crate) fn all() -> Vec<Record> {
    let mut all = Vec::new();
    for number in 0..=18 {
        let kind = Kind::try_from(number).unwrap();
        all.push(full(kind));
        // Bare, with and without the fact.
        let bare = Record {
            kind: kind as i32,
            ..Record::default()
        };
        all.push(bare.clone());
        all.push(Record {
            fact: empty_fact(kind),
            ..bare
        });
        for (result, enforcement) in [
            (Outcome::Allow, ""),
            (Outcome::Shadow, ""),
            (Outcome::Deny, "refused"),
            (Outcome::Deny, "failed"),
        ] {
            let verdict = verdict(result as i32, enforcement);
            all.push(Record {
                verdict: Some(verdict),
                ..full(kind)
            });
        }
    }
    let activities = [
        "started", "stopped", "tagged", "untagged", "loaded", "refused", "attached", "degraded",
        "hooks", "opened", "repaired", "removed", "closed", "damaged",
    ];
    for activity in activities {
        for kind in [Kind::Workload, Kind::Policy, Kind::Agent, Kind::Log] {
            let mut record = full(kind);
            match &mut record.fact {
                Some(Fact::Lifecycle(fact)) => fact.activity = activity.into(),
                Some(Fact::Log(fact)) => fact.activity = activity.into(),
                _ => unreachable!(),
            }
            all.push(record);
        }
    }
    for method in ["GET", "PUT", "DELETE", "PATCH", "PROPFIND", ""] {
        let mut record = full(Kind::Api);
        if let Some(Fact::Api(fact)) = &mut record.fact {
            fact.http_request.as_mut().unwrap().http_method = method.into();
            fact.attributes.clear();
        }
        all.push(record);
    }
    let mut move_within = full(Kind::Move);
    if let Some(Fact::Process(fact)) = &mut move_within.fact {
        fact.escaped = false;
    }
    all.push(move_within);
    all
}

/// A connection that was judged so.
pub(crate) fn judged(result: i32, enforcement: &str) -> Record {
    Record {
        verdict: Some(verdict(result, enforcement)),
        ..full(Kind::Connect)
    }
}

fn verdict(result: i32, enforcement: &str) -> Verdict {
    Verdict {
        result,
        rule: "metadata".into(),
        because: "cloud credentials".into(),
        mode: "enforce".into(),
        hook: "connect4".into(),
        epoch: 3,
        enforcement: enforcement.into(),
    }
}

/// One that has everything but a verdict.
pub(crate) fn full(kind: Kind) -> Record {
    let fact = match kind {
        Kind::Unspecified => None,
        Kind::Fork | Kind::Exec | Kind::Exit | Kind::Move | Kind::Tamper => {
            Some(Fact::Process(process_activity(kind)))
        }
        Kind::Connect | Kind::Packet | Kind::Reset => Some(Fact::Network(NetworkActivity {
            dst_endpoint: Some(endpoint("169.254.169.254", 443)),
            src_endpoint: Some(endpoint("fd00::1", 50_000)),
            connection_info: Some(ConnectionInfo {
                uid: u64::MAX,
                protocol_num: 6,
                protocol_name: "tcp".into(),
                direction: "Outbound".into(),
                netns: 4_026_531_840,
            }),
        })),
        Kind::Socket => Some(Fact::Socket(SocketActivity {
            kind: "raw".into(),
            family: 2,
            r#type: 3,
            protocol: 255,
        })),
        Kind::Gap => Some(Fact::Gap(Gap {
            cpu: 1,
            first: 10,
            last: 20,
            count: 11,
            cause: "ring full".into(),
        })),
        Kind::Workload | Kind::Policy | Kind::Agent => Some(Fact::Lifecycle(Lifecycle {
            activity: "started".into(),
            subject: "copilots".into(),
            detail: "a detail".into(),
            hooks: vec![HookStatus {
                name: "connect4".into(),
                place: "/sys/fs/cgroup/hoop".into(),
                state: "refused".into(),
                reason: "no BTF".into(),
                lost: "nothing".into(),
            }],
        })),
        Kind::Api => Some(Fact::Api(Box::new(api()))),
        Kind::Plaintext => Some(Fact::Plaintext(Box::new(Plaintext {
            connection: Some(connection()),
            format: "text".into(),
            sent: Some(body()),
            received: Some(body()),
            incomplete: vec!["its end is lost".into()],
            masked: masked(),
        }))),
        Kind::Coverage => Some(Fact::Coverage(Coverage {
            dst_endpoint: Some(endpoint("2001:db8::1", 443)),
            socket: 7,
            covered: vec!["libssl".into()],
            uncovered: vec!["static".into()],
            reason: "no symbols".into(),
        })),
        Kind::Link => Some(Fact::Link(Link {
            tool: "bash".into(),
            call_id: "call-1".into(),
            call_span_id: vec![3; 8],
            span_id: vec![4; 8],
            process: "77-1234567890".into(),
            joined_by: "command".into(),
            confidence: 0.9,
        })),
        Kind::Log => Some(Fact::Log(LogChange {
            activity: "opened".into(),
            through: 40,
            detail: "another key".into(),
            checkpoint: "log\n40\nroot\n".into(),
        })),
    };
    Record {
        number: 42,
        time_dt: 1_795_597_886_123_456_789,
        boot_time_ns: 5_000_000_000,
        kind: kind as i32,
        class_uid: 1007,
        activity_id: 1,
        origin: Some(Origin {
            cpu: 3,
            sequence: 99,
        }),
        workload: Some(
            Workload {
                cgroup_id: 77,
                cgroup: "/hoop/copilot-1".into(),
                policy: "copilots".into(),
                identity: "spiffe://example.org/agents/copilot".into(),
                on_behalf_of: "user:alice@example.org".into(),
            }
            .into(),
        ),
        actor: Some(
            Actor {
                process: Some(process()),
                session: Some(Session {
                    uid: "70-1000000000".into(),
                }),
                ancestry: vec![Ancestor {
                    pid: 70,
                    name: "agent".into(),
                }],
            }
            .into(),
        ),
        attribution: "seen late".into(),
        trace: Some(Trace {
            trace_id: (1..=16).collect(),
            span_id: vec![2; 8],
            parent_span_id: vec![1; 8],
        }),
        fact,
        ..Record::default()
    }
}

fn empty_fact(kind: Kind) -> Option<Fact> {
    Some(match full(kind).fact? {
        Fact::Process(_) => Fact::Process(ProcessActivity::default()),
        Fact::Network(_) => Fact::Network(NetworkActivity::default()),
        Fact::Socket(_) => Fact::Socket(SocketActivity::default()),
        Fact::Gap(_) => Fact::Gap(Gap::default()),
        Fact::Lifecycle(_) => Fact::Lifecycle(Lifecycle::default()),
        Fact::Api(_) => Fact::Api(Box::default()),
        Fact::Plaintext(_) => Fact::Plaintext(Box::default()),
        Fact::Coverage(_) => Fact::Coverage(Coverage::default()),
        Fact::Link(_) => Fact::Link(Link::default()),
        Fact::Log(_) => Fact::Log(LogChange::default()),
    })
}

fn process() -> Process {
    Process {
        pid: 77,
        uid: "77-1234567890".into(),
        name: "kubectl".into(),
        file: Some(File {
            path: "/usr/bin/kubectl".into(),
            truncated: false,
        }),
        cmd_line: "kubectl delete 'a b'".into(),
        cmd_line_truncated: true,
        working_directory: "/work".into(),
        user: Some(User {
            uid: Some(0),
            gid: Some(1000),
            euid: Some(0),
            egid: Some(1000),
        }),
        parent_process: Some(ParentProcess {
            pid: 70,
            uid: "70-1000000000".into(),
            name: "agent".into(),
        }),
        namespaces: Some(Namespaces {
            pid: 4_026_531_836,
            ..Namespaces::default()
        }),
    }
}

fn process_activity(kind: Kind) -> ProcessActivity {
    let other = ParentProcess {
        pid: 1,
        uid: "1-0".into(),
        name: "init".into(),
    };
    match kind {
        Kind::Exit => ProcessActivity {
            exit_code: Some(-1),
            signal: Some(9),
            ..ProcessActivity::default()
        },
        Kind::Move => ProcessActivity {
            cgroup: "/user.slice".into(),
            escaped: true,
            moved_by: Some(other),
            ..ProcessActivity::default()
        },
        Kind::Tamper => ProcessActivity {
            operation: "ptrace".into(),
            target: Some(other),
            operation_detail: 16,
            ..ProcessActivity::default()
        },
        _ => ProcessActivity {
            program: Some(File {
                path: "/usr/bin/kubectl".into(),
                truncated: true,
            }),
            ..ProcessActivity::default()
        },
    }
}

fn api() -> ApiActivity {
    let header = |name: &str, value: &str| HttpHeader {
        name: name.into(),
        value: value.into(),
    };
    let attribute = |key: &str, value: &str| Attribute {
        key: key.into(),
        value: value.into(),
    };
    ApiActivity {
        protocol: "h2".into(),
        http_request: Some(HttpRequest {
            http_method: "POST".into(),
            url: Some(Url {
                scheme: "https".into(),
                hostname: "api.llm.test".into(),
                path: "/v1/chat/completions?v=1".into(),
            }),
            http_headers: vec![header("User-Agent", "agent/1"), header("x", "?")],
            body: Some(body()),
        }),
        http_response: Some(HttpResponse {
            code: 200,
            http_headers: vec![header("content-type", "application/json")],
            body: Some(body()),
        }),
        message: Some(ApiMessage {
            direction: "sent".into(),
            r#type: "text".into(),
            body: Some(body()),
        }),
        connection: Some(connection()),
        attributes: vec![
            attribute("gen_ai.operation.name", r#""chat""#),
            attribute("gen_ai.provider.name", r#""openai""#),
            attribute("gen_ai.request.model", r#""m-large""#),
            attribute("gen_ai.response.model", r#""m-large-2""#),
            attribute("gen_ai.usage.input_tokens", "100"),
            attribute("gen_ai.usage.output_tokens", "30"),
            attribute("gen_ai.input.messages", r#"[{"role":"user"}]"#),
            attribute("broken", "{"),
        ],
        incomplete: vec!["the connection ended first".into()],
        masked: masked(),
        duration_ns: 1_500_000_000,
    }
}

fn connection() -> TlsConnection {
    TlsConnection {
        uid: "77-1".into(),
        function: "SSL_write".into(),
        dst_endpoint: Some(endpoint("203.0.113.7", 443)),
        src_endpoint: Some(endpoint("10.0.0.1", 50_000)),
        socket: 9,
        joined_by: "nested".into(),
        confidence: 1.0,
    }
}

fn endpoint(ip: &str, port: u32) -> Endpoint {
    Endpoint {
        ip: ip.into(),
        port: Some(port),
    }
}

fn body() -> Body {
    Body {
        text: "[EMAIL]".into(),
        size: 7,
        truncated: true,
    }
}

fn masked() -> Vec<Masked> {
    vec![Masked {
        class: "EMAIL".into(),
        count: 1,
    }]
}
