use std::collections::VecDeque;
use std::future::IntoFuture as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, Context};
use async_nats::{Auth, AuthError, ConnectOptions, ServerAddr};
use hoop_ocsf::Node;
use tokio::time::timeout;

use super::Config;
use crate::config::TlsConfig;
use crate::render;
use crate::runner::{Failure, Sink};
use crate::source::Entry;
use crate::tls::{self, TlsError};

/// So many messages may be without their acknowledgement.
const IN_FLIGHT: usize = 256;

/// The sink. Connects with the first record.
pub(crate) fn sink(config: &Config, node: &Arc<Node>) -> Result<impl Sink + use<>, TlsError> {
    if config.wants_tls() {
        tls::client(&config.tls)?;
    }
    Ok(Nats {
        config: config.clone(),
        node: Arc::clone(node),
        context: None,
    })
}

struct Nats {
    config: Config,
    node: Arc<Node>,
    context: Option<Context>,
}

impl Config {
    fn wants_tls(&self) -> bool {
        let tls = |server: &String| server.starts_with("tls://");
        self.tls != TlsConfig::default() || self.servers.iter().any(tls)
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Sink for Nats {
    async fn deliver(&mut self, records: &[Entry]) -> Result<(), Failure> {
        // Taken: what fails is not used again, and what it still has on its way goes with it.
        let (context, is_new) = match self.context.take() {
            Some(context) => (context, false),
            None => match timeout(self.config.timeout, self.connect()).await {
                Ok(context) => (context.map_err(Failure::retry)?, true),
                Err(_) => return Err(Failure::retry("not connected in time")),
            },
        };
        self.publish(&context, is_new, records).await?;
        self.context = Some(context);
        Ok(())
    }
}

impl Nats {
    async fn connect(&self) -> Result<Context, BoxError> {
        let auth = self.auth().await?;
        let connected = Arc::new(AtomicBool::new(false));
        let again = Arc::clone(&connected);
        // The client would connect anew by itself, and then send what was still to be sent while what was on its
        // way is lost: out of order. So it may not: the runner connects anew, from the first that is lost.
        let once = move |_| {
            let answer = if again.load(Ordering::Acquire) {
                Err(AuthError::new("connected before"))
            } else {
                Ok(auth.clone())
            };
            std::future::ready(answer)
        };
        let mut options = ConnectOptions::with_auth_callback(once)
            .name("hoop")
            .connection_timeout(self.config.timeout)
            .max_reconnects(self.config.servers.len())
            .ignore_discovered_servers()
            .event_callback(|event| async move {
                tracing::debug!(%event, "NATS");
            });
        if self.config.wants_tls() {
            options = options
                .require_tls(true)
                .tls_client_config(tls::client(&self.config.tls)?);
        }
        let servers: Result<Vec<ServerAddr>, _> = self
            .config
            .servers
            .iter()
            .map(|server| server.parse())
            .collect();
        let client = options.connect(servers?).await?;
        connected.store(true, Ordering::Release);
        let context = jetstream::ContextBuilder::new()
            .timeout(self.config.timeout)
            .ack_timeout(self.config.timeout)
            .max_ack_inflight(2 * IN_FLIGHT)
            .build(client);
        Ok(context)
    }

    async fn auth(&self) -> io::Result<Auth> {
        let mut auth = Auth::new();
        if let Some((user, password)) = &self.config.user {
            auth.username = Some(user.clone());
            auth.password = Some(password.read().await?.to_owned());
        }
        if let Some(token) = &self.config.token_file {
            auth.token = Some(token.read().await?.to_owned());
        }
        Ok(auth)
    }

    /// Publishes the records, so many at once; each is delivered when its acknowledgement is there. On a new
    /// connection the first goes alone: a stream that is created meanwhile must not begin with a later one.
    async fn publish(
        &self,
        context: &Context,
        is_new: bool,
        records: &[Entry],
    ) -> Result<(), Failure> {
        let (decoded, rest) = render::decode(records);
        let mut sent: VecDeque<PublishAckFuture> = VecDeque::with_capacity(IN_FLIGHT);
        let mut acknowledged = 0;
        for (at, (record, entry)) in decoded.iter().zip(records).enumerate() {
            let payload = render::encode(record, entry, self.config.format, &self.node);
            let message = PublishMessage::build()
                .payload(payload)
                .message_id(render::id(&self.node, record.number));
            let subject = format!("{}.{}", self.config.subject, record.kind().word());
            match context.send_publish(subject, message).await {
                Ok(acknowledgement) => sent.push_back(acknowledgement),
                Err(error) => {
                    let too_large = error.kind() == PublishErrorKind::MaxPayloadExceeded;
                    acknowledge(&mut sent, &mut acknowledged, 0).await?;
                    return Err(if too_large {
                        Failure::refused(1, error).after(at)
                    } else {
                        Failure::retry(error).after(at)
                    });
                }
            }
            let most = if is_new && at == 0 { 0 } else { IN_FLIGHT };
            acknowledge(&mut sent, &mut acknowledged, most).await?;
        }
        acknowledge(&mut sent, &mut acknowledged, 0).await?;
        rest
    }
}

/// Waits until no more than `most` are without their acknowledgement.
async fn acknowledge(
    sent: &mut VecDeque<PublishAckFuture>,
    acknowledged: &mut usize,
    most: usize,
) -> Result<(), Failure> {
    while sent.len() > most
        && let Some(next) = sent.pop_front()
    {
        // A duplicate is acknowledged as well.
        let next = next.into_future().await;
        next.map_err(|error| Failure::retry(error).after(*acknowledged))?;
        *acknowledged += 1;
    }
    Ok(())
}
