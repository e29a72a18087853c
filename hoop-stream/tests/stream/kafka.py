"""A Kafka cluster for one test: librdkafka's mock, and a consumer of it.

Prints its brokers. Then each line of standard input says how many messages to read; they are printed as JSON, one a line.
"""

import json
import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition

TOPIC = "audit"

cluster = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 3})
metadata = cluster.list_topics(TOPIC, timeout=20)
brokers = ",".join(f"{b.host}:{b.port}" for b in metadata.brokers.values())
print(brokers, flush=True)

consumer = Consumer({"bootstrap.servers": brokers, "group.id": "test", "enable.auto.commit": False})
partitions = metadata.topics[TOPIC].partitions
consumer.assign([TopicPartition(TOPIC, partition, 0) for partition in partitions])
for line in sys.stdin:
    left = int(line)
    deadline = time.monotonic() + 25
    while left and time.monotonic() < deadline:
        for message in consumer.consume(min(left, 500), timeout=1):
            if message.error():
                continue
            value = json.loads(message.value())
            print(
                json.dumps(
                    {
                        "partition": message.partition(),
                        "key": message.key().decode(),
                        "id": dict(message.headers())["hoop-record-id"].decode(),
                        "number": value["number"],
                    }
                )
            )
            left -= 1
    sys.stdout.flush()
