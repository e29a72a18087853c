use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use hoop_ocsf::Node;
use hoop_records::Record;
use rskafka::BackoffConfig;
use rskafka::chrono::DateTime;
use rskafka::client::error::{Error as KafkaError, ProtocolError};
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, Credentials, SaslConfig};
use rskafka::record::Record as Message;
use tokio::time::timeout;

use super::{Config, Mechanism, partition};
use crate::render;
use crate::runner::{Failure, Sink};
use crate::source::Entry;
use crate::tls::{self, TlsError};

/// The sink. Connects with the first record.
pub(crate) fn sink(config: &Config, node: &Arc<Node>) -> Result<impl Sink + use<>, TlsError> {
    if let Some(config) = &config.tls {
        tls::client(config)?;
    }
    Ok(Kafka {
        config: config.clone(),
        node: Arc::clone(node),
        topic: None,
    })
}

struct Kafka {
    config: Config,
    node: Arc<Node>,
    topic: Option<Topic>,
}

/// The topic's partitions, in the order of their numbers.
struct Topic {
    partitions: Vec<PartitionClient>,
    /// Holds the connections.
    _client: Client,
}

type BoxError = Box<dyn Error + Send + Sync>;

impl Sink for Kafka {
    async fn deliver(&mut self, records: &[Entry]) -> Result<(), Failure> {
        let (decoded, mut rest) = render::decode(records);
        let mut messages = Vec::with_capacity(decoded.len());
        for (at, (record, entry)) in decoded.iter().zip(records).enumerate() {
            let message = self.message(record, entry);
            if message.approximate_size() > self.config.max_message_bytes {
                let cause = format!(
                    "{} bytes are more than max_message_bytes",
                    message.approximate_size()
                );
                rest = Err(Failure::refused(1, cause).after(at));
                break;
            }
            messages.push(message);
        }
        if messages.is_empty() {
            return rest;
        }
        let count = messages.len();
        // Taken: what fails or is dropped half way is not used again.
        let topic = self.topic.take();
        let sent = timeout(self.config.timeout, async {
            let topic = match topic {
                Some(topic) => topic,
                None => self.connect().await?,
            };
            topic.produce(messages).await?;
            Ok::<_, BoxError>(topic)
        });
        match sent.await {
            Ok(Ok(topic)) => self.topic = Some(topic),
            Ok(Err(error)) if is_refusal(&*error) => return Err(Failure::refused(count, error)),
            Ok(Err(error)) => return Err(Failure::retry(error)),
            Err(_) => return Err(Failure::retry("not acknowledged in time")),
        }
        rest
    }
}

impl Kafka {
    async fn connect(&self) -> Result<Topic, BoxError> {
        let mut builder = ClientBuilder::new(self.config.brokers.clone())
            .client_id("hoop")
            // Answers to a producer are short.
            .max_message_size(4 << 20)
            // The runner tries again, with its own back-off.
            .backoff_config(BackoffConfig {
                deadline: Some(self.config.timeout / 2),
                ..BackoffConfig::default()
            });
        if let Some(config) = &self.config.tls {
            builder = builder.tls_config(Arc::new(tls::client(config)?));
        }
        if let Some(sasl) = &self.config.sasl {
            let password = sasl.password_file.read().await?;
            let credentials = Credentials::new(sasl.user.clone(), password.to_owned());
            builder = builder.sasl_config(match sasl.mechanism {
                Mechanism::Plain => SaslConfig::Plain(credentials),
                Mechanism::ScramSha256 => SaslConfig::ScramSha256(credentials),
                Mechanism::ScramSha512 => SaslConfig::ScramSha512(credentials),
            });
        }
        let client = builder.build().await?;
        let name = &self.config.topic;
        let topics = client.list_topics().await?;
        let topic = topics.into_iter().find(|topic| topic.name == *name);
        let numbers = topic.map(|topic| topic.partitions).unwrap_or_default();
        if numbers.is_empty() {
            return Err(format!("there is no topic {name:?}").into());
        }
        let mut partitions = Vec::with_capacity(numbers.len());
        for number in numbers {
            let handling = UnknownTopicHandling::Error;
            partitions.push(
                client
                    .partition_client(name.clone(), number, handling)
                    .await?,
            );
        }
        Ok(Topic {
            partitions,
            _client: client,
        })
    }

    fn message(&self, record: &Record, entry: &Entry) -> Message {
        let value = render::encode(record, entry, self.config.format, &self.node);
        let id = render::id(&self.node, record.number).into_bytes();
        Message {
            key: key(record),
            value: Some(value.into()),
            headers: BTreeMap::from([("hoop-record-id".to_owned(), id)]),
            timestamp: DateTime::from_timestamp_nanos(record.time_dt),
        }
    }
}

impl Topic {
    /// Produces each partition's messages in their order.
    async fn produce(&self, messages: Vec<Message>) -> Result<(), KafkaError> {
        let mut batches: BTreeMap<usize, Vec<Message>> = BTreeMap::new();
        for message in messages {
            let key = message.key.as_deref().unwrap_or_default();
            let place = partition::place(key, self.partitions.len());
            batches.entry(place).or_default().push(message);
        }
        let produced = batches.into_iter().map(|(place, messages)| {
            self.partitions[place].produce(messages, Compression::NoCompression)
        });
        futures_util::future::try_join_all(produced).await?;
        Ok(())
    }
}

/// The session, or the workload's cgroup.
fn key(record: &Record) -> Option<Vec<u8>> {
    let session = record
        .actor
        .as_ref()
        .and_then(|actor| actor.session.as_ref());
    let session = session
        .map(|session| &session.uid)
        .filter(|uid| !uid.is_empty());
    let key = session.or_else(|| record.workload.as_ref().map(|workload| &workload.cgroup));
    key.map(|key| key.clone().into_bytes())
}

/// Whether the broker will never take these messages as they are.
fn is_refusal(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    let refused = [
        ProtocolError::MessageTooLarge,
        ProtocolError::RecordListTooLarge,
        ProtocolError::InvalidRecord,
    ];
    matches!(
        error.downcast_ref(),
        Some(KafkaError::ServerError { protocol_error, .. }) if refused.contains(protocol_error)
    )
}
